// SPDX-License-Identifier: GPL-2.0-or-later
//! A caller's side of the control channel: one connection to the keeper a call.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::keeper::CONTROL_SOCKET;
use crate::protocol::{Frame, Header, Message, Outcome, PIECE, Target, read_frame, write_frame};

/// Where calls go.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    socket: PathBuf,
}

/// A call under way.
pub(crate) struct Call {
    stream: UnixStream,
    to: Target,
    doing: String,
    patience: Duration,
}

impl Control {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { socket: directory.join(CONTROL_SOCKET) }
    }

    /// Opens a call; `doing` says in an error what it was for, `patience` how long one answer may take.
    pub(crate) fn open(
        &self,
        to: Target,
        message: Message,
        doing: impl Into<String>,
        patience: Duration,
    ) -> Result<Call, Error> {
        let doing = doing.into();
        let stream = UnixStream::connect(&self.socket).map_err(|error| {
            Error::system(format!("{doing}: reaching the keeper at {}", self.socket.display()), error)
        })?;
        let wait = if patience.is_zero() { None } else { Some(patience) };
        stream.set_read_timeout(wait).map_err(|error| Error::system(&*doing, error))?;
        let mut call = Call { stream, to, doing, patience };
        call.say(message, Vec::new())?;
        Ok(call)
    }

    /// Opens a call that has no input and no output, and waits for its end.
    pub(crate) fn ask(
        &self,
        to: Target,
        message: Message,
        doing: impl Into<String>,
        patience: Duration,
    ) -> Result<Outcome, Error> {
        self.open(to, message, doing, patience)?.finish(|_, _| Ok(()))
    }
}

impl Call {
    /// Goes on.
    pub(crate) fn say(&mut self, message: Message, body: Vec<u8>) -> Result<(), Error> {
        let header = Header { id: 0, to: self.to, message };
        match write_frame(&mut self.stream, &Frame { header, body }) {
            // The callee has ended the call already: its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Error::system(&*self.doing, error)),
        }
    }

    /// Sends input to its end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(PIECE) {
            self.say(Message::Input, piece.to_vec())?;
        }
        self.say(Message::InputEnd, Vec::new())
    }

    /// Another handle, to speak while the first listens.
    pub(crate) fn speaker(&self) -> Result<Self, Error> {
        let stream = self.stream.try_clone().map_err(|error| Error::system(&*self.doing, error))?;
        Ok(Self { stream, to: self.to, doing: self.doing.clone(), patience: self.patience })
    }

    /// Takes answers until the last; a failure becomes an error.
    pub(crate) fn finish(
        mut self,
        mut hear: impl FnMut(&Message, Vec<u8>) -> Result<(), Error>,
    ) -> Result<Outcome, Error> {
        loop {
            let frame = match read_frame(&mut self.stream) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    return Err(Error::Refused {
                        doing: self.doing,
                        message: "the keeper ended the call: the lab went down".to_owned(),
                    });
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(Error::Silent { doing: self.doing, after: self.patience });
                }
                Err(error) => return Err(Error::system(self.doing, error)),
            };
            match frame.header.message {
                Message::Done(Outcome::Failed(message)) => return Err(Error::Refused { doing: self.doing, message }),
                Message::Done(outcome) => return Ok(outcome),
                message => hear(&message, frame.body)?,
            }
        }
    }
}
