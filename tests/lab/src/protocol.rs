// SPDX-License-Identifier: GPL-2.0-or-later
//! What travels between a caller, the keeper and the agents. Pure: bytes in, bytes out.
//!
//! A *call* is a stream of frames in both directions that share an id. The caller opens it with one
//! of the opening messages, may go on with [`Message::Input`], [`Message::InputEnd`] and
//! [`Message::Resize`], and the callee answers with any number of [`Message::Output`] and
//! [`Message::ErrorOutput`] and, last, exactly one [`Message::Done`].
//!
//! ```text
//!   0        4        8                8+H          8+H+B
//!   +--------+--------+----------------+------------+
//!   | H (BE) | B (BE) | header, JSON   | body, raw  |
//!   +--------+--------+----------------+------------+
//! ```
//!
//! The same frames go over a unix socket, a socket pair and a virtio-serial port: a byte stream that
//! keeps order is all that is asked for, no network.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::spec::NodeNumber;

/// The longest header, in bytes, that is read; a longer one is a broken stream.
pub const MAX_HEADER: usize = 1 << 20;
/// The longest body, in bytes, that is read; files and output travel in pieces of [`PIECE`].
pub const MAX_BODY: usize = 1 << 20;
/// How many bytes of a file or of a process's output go into one frame: small enough that a long
/// transfer does not hold up the other calls on the same channel.
pub const PIECE: usize = 64 << 10;
/// The id that belongs to no call: what an agent says of its own accord.
pub const NO_CALL: u64 = 0;

/// Whom a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The keeper itself.
    Keeper,
    /// The agent of this node; number 0 is the client.
    Node(NodeNumber),
}

/// The JSON part of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The call this frame belongs to.
    pub id: u64,
    /// Whom it is for.
    pub to: Target,
    /// What it says.
    pub message: Message,
}

/// One unit of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Addressing and meaning.
    pub header: Header,
    /// Raw bytes that go with it: a piece of a file, of output, of input.
    pub body: Vec<u8>,
}

/// A program to run to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is looked up in the node's `PATH`.
    pub argv: Vec<String>,
    /// Environment added to the agent's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory; the root directory when absent.
    #[serde(default)]
    pub directory: Option<String>,
    /// Milliseconds after which the program and its process group are killed.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Whether [`Message::Input`] follows; without it, standard input is /dev/null.
    #[serde(default)]
    pub input: bool,
}

/// A program that the agent keeps in the background under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The name it is stopped, killed and asked after by.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment added to the agent's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether to start it again when it ends unasked.
    #[serde(default)]
    pub respawn: bool,
}

/// What to do with a background program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessAction {
    /// SIGTERM, then SIGKILL after this many milliseconds; no respawn.
    Stop {
        /// How long it has to end by itself.
        patience_ms: u64,
    },
    /// This signal to the program itself; a respawning one comes back.
    Signal(i32),
    /// Only its status.
    Status,
}

/// Where a background program stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its process number in the node while it runs.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<Exit>,
    /// The file in the node that takes its standard output and error.
    pub log: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was killed because its time was up.
    TimedOut,
}

/// A change of a node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockChange {
    /// Forward (or back) by this many nanoseconds.
    Shift(i64),
    /// To this time, nanoseconds since 1970.
    Set(i64),
}

/// What one frame says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Opens a call to an agent: run this program.
    Exec(Exec),
    /// Opens a call to an agent: a shell on a pseudo terminal of this size.
    Shell {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
    /// Opens a call to an agent: start and keep this program.
    Spawn(Spawn),
    /// Opens a call to an agent: do this with the background program of this name.
    Process {
        /// The name given to [`Spawn`].
        name: String,
        /// What to do.
        action: ProcessAction,
    },
    /// Opens a call to an agent: write a file; its bytes follow as [`Message::Input`].
    Put {
        /// Path in the node; missing parent directories are made.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Opens a call to an agent: send a file as [`Message::Output`].
    Get {
        /// Path in the node.
        path: String,
    },
    /// Opens a call to an agent: change the clock.
    Clock(ClockChange),
    /// Opens a call to an agent: take all free space of the file system under this directory.
    Fill {
        /// A directory in the node.
        path: String,
    },
    /// Opens a call to an agent: give the space taken by [`Message::Fill`] back.
    Unfill {
        /// The same directory.
        path: String,
    },
    /// Opens a call to an agent: mount the drive with the project's files and copy them into place.
    Install,
    /// Opens a call to an agent: are you there?
    Ping,
    /// Opens a call to the keeper: do this to the cluster.
    Fault(Fault),
    /// Opens a call to the keeper: how is the lab?
    Status,
    /// Opens a call to the keeper: tear everything down.
    Down,

    /// Caller to callee: bytes for standard input or for a file.
    Input,
    /// Caller to callee: there is no more input.
    InputEnd,
    /// Caller to callee: the terminal has a new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
    /// Caller to callee: give up; what runs for this call is killed.
    Cancel,

    /// Callee to caller: standard output, terminal output or a file's bytes.
    Output,
    /// Callee to caller: standard error.
    ErrorOutput,
    /// Callee to caller: the call is over.
    Done(Outcome),

    /// An agent has started and listens (id [`NO_CALL`]).
    Hello,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; there is nothing more to say.
    Nothing,
    /// A program ended.
    Exited(Exit),
    /// Where a background program stands.
    Process(ProcessStatus),
    /// The lab's state.
    Status(crate::status::LabStatus),
    /// It could not be done; a sentence for people.
    Failed(String),
}

/// Writes one frame and flushes.
///
/// # Errors
/// What the writer says; `InvalidInput` when header or body are longer than the reader would take.
pub fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let header = serde_json::to_vec(&frame.header)?;
    if header.len() > MAX_HEADER || frame.body.len() > MAX_BODY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame with {} + {} bytes is too long", header.len(), frame.body.len()),
        ));
    }
    // One write for everything: on a virtio-serial port each write is an exit to the emulator.
    let mut bytes = Vec::with_capacity(8 + header.len() + frame.body.len());
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&(frame.body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&frame.body);
    out.write_all(&bytes)?;
    out.flush()
}

/// Reads one frame; `None` when the stream ends between two frames.
///
/// # Errors
/// What the reader says; `UnexpectedEof` inside a frame; `InvalidData` for lengths over the limits
/// and for a header that is not the protocol's.
pub fn read_frame(input: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut lengths = [0u8; 8];
    let mut have = 0;
    while have < lengths.len() {
        match input.read(&mut lengths[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let header_length = u32::from_be_bytes([a, b, c, d]) as usize;
    let body_length = u32::from_be_bytes([e, f, g, h]) as usize;
    if header_length > MAX_HEADER || body_length > MAX_BODY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame claims {header_length} + {body_length} bytes: this is not the lab's protocol"),
        ));
    }
    let mut header = vec![0; header_length];
    input.read_exact(&mut header)?;
    let mut body = vec![0; body_length];
    input.read_exact(&mut body)?;
    let header = serde_json::from_slice(&header).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a frame's header is not understood: {error}"))
    })?;
    Ok(Some(Frame { header, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            (prop::collection::vec(".{0,20}", 0..5), any::<Option<u64>>(), any::<bool>()).prop_map(
                |(argv, timeout_ms, input)| { Message::Exec(Exec { argv, timeout_ms, input, ..Exec::default() }) }
            ),
            (".{0,30}", any::<u32>()).prop_map(|(path, mode)| Message::Put { path, mode }),
            any::<i64>().prop_map(|n| Message::Clock(ClockChange::Shift(n))),
            Just(Message::Input),
            any::<i32>().prop_map(|n| Message::Done(Outcome::Exited(Exit::Code(n)))),
            ".{0,60}".prop_map(|text| Message::Done(Outcome::Failed(text))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u64, node in 0u32..70, message in message(), body in prop::collection::vec(any::<u8>(), 0..3000)) {
            let frame = Frame { header: Header { id, to: Target::Node(node), message }, body };
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &frame)?;
            write_frame(&mut bytes, &frame)?;
            let mut input = bytes.as_slice();
            prop_assert_eq!(read_frame(&mut input)?, Some(frame.clone()));
            prop_assert_eq!(read_frame(&mut input)?, Some(frame));
            prop_assert_eq!(read_frame(&mut input)?, None);
        }

        #[test]
        fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let mut input = bytes.as_slice();
            // Eight random bytes that are valid lengths are followed by JSON with a probability of nil.
            prop_assert!(read_frame(&mut input).is_err());
        }
    }

    #[test]
    fn a_frame_cut_short_is_an_error() -> io::Result<()> {
        let frame =
            Frame { header: Header { id: 1, to: Target::Keeper, message: Message::Ping }, body: b"abc".to_vec() };
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &frame)?;
        for end in 1..bytes.len() {
            assert!(read_frame(&mut &bytes[..end]).is_err(), "cut at {end}");
        }
        Ok(())
    }

    #[test]
    fn a_body_over_the_limit_is_not_sent() {
        let frame = Frame {
            header: Header { id: 1, to: Target::Keeper, message: Message::Input },
            body: vec![0; MAX_BODY + 1],
        };
        assert!(write_frame(&mut Vec::new(), &frame).is_err());
    }
}
