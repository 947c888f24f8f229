// SPDX-License-Identifier: GPL-2.0-or-later
//! The first three descriptors and the terminal. systemd.exec(5), "Logging and Standard Input/Output".

use super::Slot;
use serde::{Deserialize, Serialize};

/// Standard input, output and error, and the terminal that they may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// `StandardInput=`.
    pub input: Input,
    /// `StandardOutput=`.
    pub output: Output,
    /// `StandardError=`.
    pub error: Output,
    /// The connection an `Accept=yes` socket unit took, or the one socket of the unit, for [`Input::Socket`] and
    /// [`Output::Socket`].
    pub socket: Option<Slot>,
    /// The terminal, for whatever of it the unit asks for.
    pub tty: Tty,
    /// What the journal is told of the stream.
    pub log: LogStream,
}

/// `StandardInput=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Input {
    /// /dev/null.
    #[default]
    Null,
    /// The terminal, as controlling terminal.
    Tty(TerminalAcquire),
    /// A file, device or AF_UNIX socket.
    File(String),
    /// `StandardInputText=`, `StandardInputData=`.
    Bytes(Vec<u8>),
    /// The socket of [`Streams::socket`].
    Socket,
    /// `fd:name`: a descriptor of a socket unit, or one handed in over D-Bus.
    Fd(Slot),
    /// What the manager has. For programs that the manager itself runs.
    Parent,
}

/// How to get a terminal that another process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TerminalAcquire {
    /// `tty`: wait until it is free.
    #[default]
    Wait,
    /// `tty-force`: take it away.
    Force,
    /// `tty-fail`: fail.
    Fail,
}

/// `StandardOutput=`, `StandardError=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Output {
    /// Output: what input is, or /dev/null. Error: what output is.
    #[default]
    Inherit,
    /// /dev/null.
    Null,
    /// The terminal.
    Tty,
    /// A stream to the journal; `kmsg` and the `+console` forms are flags that journald acts on.
    Journal {
        /// Pass on to the kernel's log.
        kmsg: bool,
        /// Pass on to the console.
        console: bool,
    },
    /// The socket of [`Streams::socket`].
    Socket,
    /// `fd:name`.
    Fd(Slot),
    /// A file or AF_UNIX socket.
    File {
        /// Where.
        path: String,
        /// `file:`, `append:` or `truncate:`.
        mode: FileMode,
    },
    /// What the manager has.
    Parent,
}

/// How an output file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileMode {
    /// `file:`: over what is there, from its beginning.
    Write,
    /// `append:`.
    Append,
    /// `truncate:`.
    Truncate,
}

/// `TTYPath=` and what is done to the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tty {
    /// The device; /dev/console unless told.
    pub path: Option<String>,
    /// `TTYReset=`.
    pub reset: bool,
    /// `TTYVHangup=`.
    pub vhangup: bool,
    /// `TTYVTDisallocate=`.
    pub disallocate: bool,
    /// `TTYRows=`.
    pub rows: Option<u16>,
    /// `TTYColumns=`.
    pub columns: Option<u16>,
}

impl Tty {
    /// The device's path.
    pub fn device(&self) -> &str {
        self.path.as_deref().unwrap_or("/dev/console")
    }
}

/// What a stream to the journal says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStream {
    /// `SyslogIdentifier=`; the program's base name unless told.
    pub identifier: Option<String>,
    /// `SyslogFacility=` and `SyslogLevel=`: facility << 3 | level.
    pub priority: u32,
    /// `SyslogLevelPrefix=`.
    pub level_prefix: bool,
    /// `LogNamespace=`.
    pub namespace: Option<String>,
}

impl Default for LogStream {
    fn default() -> Self {
        // daemon.info, as systemd.exec(5) has it.
        LogStream { identifier: None, priority: (3 << 3) | 6, level_prefix: true, namespace: None }
    }
}
