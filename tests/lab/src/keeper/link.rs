// SPDX-License-Identifier: GPL-2.0-or-later
//! The keeper's end of one node's control channel: many calls over one stream.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::agent::lock;
use crate::protocol::{Frame, Header, Message, NO_CALL, Outcome, Target, read_frame, write_frame};

/// Who takes a call's answers.
pub(crate) type Answers = Box<dyn FnMut(Message, Vec<u8>) + Send>;

/// A node's channel.
pub(crate) struct Link {
    writer: Mutex<UnixStream>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    next: u64,
    calls: HashMap<u64, Answers>,
    hellos: u32,
    closed: bool,
}

impl Link {
    /// Takes a stream whose far end is an agent, and starts reading it.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Arc<Self>> {
        let mut input = stream.try_clone()?;
        let state = State { next: NO_CALL + 1, calls: HashMap::new(), hellos: 0, closed: false };
        let link = Arc::new(Self { writer: Mutex::new(stream), state: Mutex::new(state), changed: Condvar::new() });
        let reader = link.clone();
        std::thread::spawn(move || {
            while let Ok(Some(frame)) = read_frame(&mut input) {
                reader.hear(frame);
            }
            reader.close();
        });
        Ok(link)
    }

    fn hear(&self, frame: Frame) {
        let Header { id, message, .. } = frame.header;
        let mut state = lock(&self.state);
        if message == Message::Hello {
            // A new agent knows nothing of the former one's calls.
            let orphans = std::mem::take(&mut state.calls);
            state.hellos += 1;
            self.changed.notify_all();
            drop(state);
            fail_all(orphans, "the node's agent was started anew");
            return;
        }
        // The sink is taken out while it works: it may block on a slow caller, and others open calls.
        let Some(mut answers) = state.calls.remove(&id) else { return };
        drop(state);
        let over = matches!(message, Message::Done(_));
        answers(message, frame.body);
        if !over {
            let mut state = lock(&self.state);
            if state.closed {
                drop(state);
                answers(Message::Done(Outcome::Failed("the node is down".to_owned())), Vec::new());
            } else {
                state.calls.insert(id, answers);
            }
        }
    }

    /// Ends all calls: the node is down.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let orphans = std::mem::take(&mut state.calls);
        self.changed.notify_all();
        drop(state);
        // try_lock: a writer may be stuck on a node that reads no more; shutting down frees it.
        if let Ok(writer) = self.writer.try_lock() {
            let _ = writer.shutdown(std::net::Shutdown::Both);
        }
        fail_all(orphans, "the node went down");
    }

    /// Whether the channel is gone.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Waits until an agent has said hello more often than `before`.
    pub(crate) fn wait_hello(&self, before: u32, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.state);
        while state.hellos <= before {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed {
                bail!("the node ended before its agent spoke");
            }
            if left.is_zero() {
                bail!("the node's agent did not speak within {} s", patience.as_secs());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Opens a call.
    pub(crate) fn open(&self, message: Message, body: Vec<u8>, answers: Answers) -> io::Result<u64> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the node is off"));
        }
        let id = state.next;
        state.next += 1;
        state.calls.insert(id, answers);
        drop(state);
        self.say(id, message, body)?;
        Ok(id)
    }

    /// Goes on with a call.
    pub(crate) fn say(&self, id: u64, message: Message, body: Vec<u8>) -> io::Result<()> {
        let header = Header { id, to: Target::Node(0), message };
        write_frame(&mut *lock(&self.writer), &Frame { header, body })
    }

    /// Gives a call up: nobody takes its answers any more.
    pub(crate) fn cancel(&self, id: u64) {
        if lock(&self.state).calls.remove(&id).is_some() {
            let _ = self.say(id, Message::Cancel, Vec::new());
        }
    }

    /// A call of the keeper's own, whose output is collected and thrown away.
    pub(crate) fn call(&self, message: Message, patience: Duration) -> Result<Outcome> {
        let (sender, answers) = channel();
        let id = self.open(
            message,
            Vec::new(),
            Box::new(move |message, _| {
                if let Message::Done(outcome) = message {
                    let _ = sender.send(outcome);
                }
            }),
        )?;
        match answers.recv_timeout(patience) {
            Ok(Outcome::Failed(message)) => Err(anyhow!(message)),
            Ok(outcome) => Ok(outcome),
            Err(_) => {
                self.cancel(id);
                bail!("the node's agent did not answer within {} s", patience.as_secs())
            }
        }
    }
}

fn fail_all(calls: HashMap<u64, Answers>, why: &str) {
    for mut answers in calls.into_values() {
        answers(Message::Done(Outcome::Failed(why.to_owned())), Vec::new());
    }
}
