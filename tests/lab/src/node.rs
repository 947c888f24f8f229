// SPDX-License-Identifier: GPL-2.0-or-later
//! A node as a test holds it: run, keep, put, get.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::control::{Call, Control};
use crate::error::Error;
use crate::protocol::{ClockChange, Exec, Exit, Message, Outcome, ProcessAction, ProcessStatus, Spawn, Target};
use crate::spec::NodeNumber;

/// How long an answer to a short question may take: what a busy guest under emulation needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a program may take when nothing else is said.
const EXEC_TIMEOUT: Duration = Duration::from_secs(120);
/// How much longer than its program a call waits, for the way.
const GRACE: Duration = Duration::from_secs(15);

/// A node, or the client.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) control: Control,
    pub(crate) number: NodeNumber,
    pub(crate) name: String,
}

/// What a program gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it returned 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Exit::Code(0)
    }

    /// Its standard output as text, without blanks at both ends.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Its standard error as text, without blanks at both ends.
    #[must_use]
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// How a program is run, where it differs from the usual: no input, 120 s.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Environment added to the node's.
    pub env: BTreeMap<String, String>,
    /// Standard input.
    pub stdin: Option<Vec<u8>>,
    /// After this long it is killed; 120 s when absent.
    pub timeout: Option<Duration>,
    /// Working directory.
    pub directory: Option<String>,
}

/// How a background program is kept.
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// Whether it is started again when it ends unasked.
    pub respawn: bool,
    /// Environment added to the node's.
    pub env: BTreeMap<String, String>,
}

impl Node {
    /// Its number; 0 is the client.
    #[must_use]
    pub fn number(&self) -> NodeNumber {
        self.number
    }

    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it could not be started, or the node is off or silent. A program that fails is no error:
    /// see [`Output::status`], or use [`Node::check`].
    pub fn exec<S: AsRef<str>>(&self, argv: &[S]) -> Result<Output, Error> {
        self.exec_with(argv, &ExecOptions::default())
    }

    /// Runs a program to its end, and takes a status other than 0 for an error.
    ///
    /// # Errors
    /// As [`Node::exec`], and [`Error::Unsuccessful`] with what the program said.
    pub fn check<S: AsRef<str>>(&self, argv: &[S]) -> Result<Output, Error> {
        let output = self.exec(argv)?;
        if output.success() {
            return Ok(output);
        }
        Err(Error::Unsuccessful {
            node: self.name.clone(),
            program: joined(argv),
            exit: format!("{:?}", output.status),
            stderr: output.error_text(),
        })
    }

    /// Runs a line of shell, as [`Node::check`] does.
    ///
    /// # Errors
    /// As [`Node::check`].
    pub fn shell(&self, line: &str) -> Result<Output, Error> {
        self.check(&["/bin/sh", "-c", line])
    }

    /// Runs a program with options.
    ///
    /// # Errors
    /// As [`Node::exec`].
    pub fn exec_with<S: AsRef<str>>(&self, argv: &[S], options: &ExecOptions) -> Result<Output, Error> {
        let mut output = Output { status: Exit::Code(-1), stdout: Vec::new(), stderr: Vec::new() };
        output.status = self.exec_streaming(argv, options, |stream, bytes| match stream {
            OutputStream::Standard => output.stdout.extend(bytes),
            OutputStream::Error => output.stderr.extend(bytes),
        })?;
        Ok(output)
    }

    /// Runs a program with options and hands on its output as it comes.
    ///
    /// # Errors
    /// As [`Node::exec`].
    pub fn exec_streaming<S: AsRef<str>>(
        &self,
        argv: &[S],
        options: &ExecOptions,
        mut hear: impl FnMut(OutputStream, Vec<u8>),
    ) -> Result<Exit, Error> {
        let timeout = options.timeout.unwrap_or(EXEC_TIMEOUT);
        let exec = Exec {
            argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
            env: options.env.clone(),
            directory: options.directory.clone(),
            timeout_ms: Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            input: options.stdin.is_some(),
        };
        let doing = format!("running '{}' on {}", joined(argv), self.name);
        let mut call = self.control.open(self.target(), Message::Exec(exec), &*doing, timeout + GRACE)?;
        if let Some(stdin) = &options.stdin {
            call.feed(stdin)?;
        }
        let outcome = call.finish(|message, bytes| {
            match message {
                Message::Output => hear(OutputStream::Standard, bytes),
                Message::ErrorOutput => hear(OutputStream::Error, bytes),
                _ => {}
            }
            Ok(())
        })?;
        match outcome {
            Outcome::Exited(exit) => Ok(exit),
            other => Err(Error::Protocol { doing, answer: format!("{other:?}") }),
        }
    }

    /// Starts a program that stays, under a name.
    ///
    /// # Errors
    /// When it could not be started, or one of that name runs.
    pub fn spawn<S: AsRef<str>>(&self, name: &str, argv: &[S], options: SpawnOptions) -> Result<ProcessStatus, Error> {
        let spawn = Spawn {
            name: name.to_owned(),
            argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
            env: options.env,
            respawn: options.respawn,
        };
        self.process(Message::Spawn(spawn), format!("starting '{name}' on {}", self.name), PATIENCE)
    }

    /// Stops a named program: SIGTERM, and SIGKILL after 10 s. It does not come back.
    ///
    /// # Errors
    /// When none was started under that name.
    pub fn stop(&self, name: &str) -> Result<ProcessStatus, Error> {
        let patience = Duration::from_secs(10);
        let action = ProcessAction::Stop { patience_ms: 10_000 };
        let message = Message::Process { name: name.to_owned(), action };
        self.process(message, format!("stopping '{name}' on {}", self.name), patience + GRACE)
    }

    /// Sends a signal to a named program; one that respawns comes back.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill_process(&self, name: &str, signal: i32) -> Result<ProcessStatus, Error> {
        let message = Message::Process { name: name.to_owned(), action: ProcessAction::Signal(signal) };
        self.process(message, format!("signalling '{name}' on {}", self.name), PATIENCE)
    }

    /// Where a named program stands.
    ///
    /// # Errors
    /// When none was started under that name.
    pub fn process_status(&self, name: &str) -> Result<ProcessStatus, Error> {
        let message = Message::Process { name: name.to_owned(), action: ProcessAction::Status };
        self.process(message, format!("asking after '{name}' on {}", self.name), PATIENCE)
    }

    /// What a named program has written.
    ///
    /// # Errors
    /// When none was started under that name.
    pub fn log(&self, name: &str) -> Result<String, Error> {
        let log = self.process_status(name)?.log;
        Ok(String::from_utf8_lossy(&self.get(&log)?).into_owned())
    }

    /// Writes a file; directories above it are made.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<(), Error> {
        let message = Message::Put { path: path.to_owned(), mode };
        let mut call =
            self.control.open(self.target(), message, format!("writing {path} on {}", self.name), PATIENCE)?;
        call.feed(content.as_ref())?;
        call.finish(|_, _| Ok(())).map(drop)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it could not be read.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let message = Message::Get { path: path.to_owned() };
        let call = self.control.open(self.target(), message, format!("reading {path} on {}", self.name), PATIENCE)?;
        let mut content = Vec::new();
        call.finish(|_, bytes| {
            content.extend(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// Whether its agent answers within this time.
    #[must_use]
    pub fn answers(&self, within: Duration) -> bool {
        self.control.ask(self.target(), Message::Ping, "asking for a sign of life", within).is_ok()
    }

    /// Moves its clock by so many seconds (VM nodes).
    ///
    /// # Errors
    /// On namespace nodes, which share the host's clock.
    pub fn shift_clock(&self, seconds: i64) -> Result<(), Error> {
        let message = Message::Clock(ClockChange::Shift(seconds.saturating_mul(1_000_000_000)));
        self.nothing(message, format!("changing the clock of {}", self.name))
    }

    /// Takes all free space of the file system under a directory.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn fill(&self, directory: &str) -> Result<(), Error> {
        self.nothing(Message::Fill { path: directory.to_owned() }, format!("filling {directory} on {}", self.name))
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When the filling file cannot be removed.
    pub fn unfill(&self, directory: &str) -> Result<(), Error> {
        self.nothing(Message::Unfill { path: directory.to_owned() }, format!("emptying {directory} on {}", self.name))
    }

    /// Opens a login shell on a terminal of so many lines and characters a line.
    ///
    /// # Errors
    /// When the node is off.
    pub fn open_shell(&self, (rows, columns): (u16, u16)) -> Result<ShellSession, Error> {
        let doing = format!("a shell on {}", self.name);
        // People think longer than any patience.
        let call = self.control.open(self.target(), Message::Shell { rows, columns }, doing, Duration::ZERO)?;
        Ok(ShellSession { call })
    }

    fn nothing(&self, message: Message, doing: String) -> Result<(), Error> {
        self.control.ask(self.target(), message, doing, PATIENCE).map(drop)
    }

    fn process(&self, message: Message, doing: String, patience: Duration) -> Result<ProcessStatus, Error> {
        match self.control.ask(self.target(), message, &*doing, patience)? {
            Outcome::Process(status) => Ok(status),
            other => Err(Error::Protocol { doing, answer: format!("{other:?}") }),
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target::Node(self.number)
    }
}

/// A shell that is open.
pub struct ShellSession {
    call: Call,
}

/// What is typed into a shell.
pub struct Keys {
    call: Call,
}

impl ShellSession {
    /// A handle to type with, while another thread shows.
    ///
    /// # Errors
    /// When descriptors are short.
    pub fn keys(&self) -> Result<Keys, Error> {
        Ok(Keys { call: self.call.speaker()? })
    }

    /// Hands on what the shell writes until it ends.
    ///
    /// # Errors
    /// When the node or the lab goes down.
    pub fn show(self, mut see: impl FnMut(&[u8])) -> Result<Exit, Error> {
        let outcome = self.call.finish(|_, bytes| {
            see(&bytes);
            Ok(())
        })?;
        match outcome {
            Outcome::Exited(exit) => Ok(exit),
            other => Err(Error::Protocol { doing: "a shell".to_owned(), answer: format!("{other:?}") }),
        }
    }
}

impl Keys {
    /// Types bytes.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn press(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.call.say(Message::Input, bytes.to_vec())
    }

    /// Tells the terminal's new lines and characters a line.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn resize(&mut self, (rows, columns): (u16, u16)) -> Result<(), Error> {
        self.call.say(Message::Resize { rows, columns }, Vec::new())
    }
}

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Standard,
    /// Standard error.
    Error,
}

fn joined<S: AsRef<str>>(argv: &[S]) -> String {
    argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}
