// SPDX-License-Identifier: GPL-2.0-or-later
//! The agent: one in each node and in the client, at the far end of the control channel.
//!
//! ```text
//!   channel --> [dispatch] -- opens a call --> a thread a call --> channel
//!                   |                            ^
//!                   +---- input of the call -----+      [reaper] -- exits --> whoever waits
//! ```
//!
//! [`serve`] is the loop; `exec` runs programs and shells, `background` keeps the named ones,
//! `files` moves bytes and fills disks, `children` reaps.

mod background;
mod children;
mod exec;
mod files;
pub(crate) mod install;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::protocol::{ClockChange, Exit, Frame, Header, Message, NO_CALL, Outcome, Target, read_frame, write_frame};

use background::Background;
use children::Children;

/// Takes a lock whose data stays sound when a thread panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The agent's end of the channel, shared by all calls.
#[derive(Clone)]
struct Channel(Arc<Mutex<File>>);

impl Channel {
    fn send(&self, id: u64, message: Message, body: Vec<u8>) -> io::Result<()> {
        let header = Header { id, to: Target::Keeper, message };
        write_frame(&mut *lock(&self.0), &Frame { header, body })
    }
}

/// What a call's thread waits for.
enum Event {
    /// The caller goes on.
    Said(Message, Vec<u8>),
    /// The caller has given up.
    Cancelled,
    /// The call's program has ended.
    Ended(Exit),
}

/// One call as its thread sees it.
struct Call {
    id: u64,
    channel: Channel,
    events: Receiver<Event>,
    /// For whoever else has something for this thread.
    sender: Sender<Event>,
}

impl Call {
    fn say(&self, message: Message, body: Vec<u8>) -> io::Result<()> {
        self.channel.send(self.id, message, body)
    }
}

/// Where the agent's stream comes from, which decides what its end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// A socket: its end is the end of the keeper.
    Socket,
    /// A virtio-serial port: its end only says that nobody is connected on the host's side.
    Port,
}

/// Serves calls until the keeper is gone.
///
/// # Errors
/// When the channel breaks or says what is not the protocol.
pub fn serve(channel: File, stream: Stream) -> io::Result<()> {
    let mut input = channel.try_clone()?;
    let channel = Channel(Arc::new(Mutex::new(channel)));
    let children = Children::start();
    let background = Background::new(children.clone());
    let calls: Arc<Mutex<HashMap<u64, Sender<Event>>>> = Arc::default();
    channel.send(NO_CALL, Message::Hello, Vec::new())?;
    loop {
        let frame = match read_frame(&mut input)? {
            Some(frame) => frame,
            None if stream == Stream::Socket => return Ok(()),
            None => {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let Header { id, message, .. } = frame.header;
        match message {
            Message::Input | Message::InputEnd | Message::Resize { .. } => {
                if let Some(call) = lock(&calls).get(&id) {
                    // A call that has ended takes no more input.
                    let _ = call.send(Event::Said(message, frame.body));
                }
            }
            Message::Cancel => {
                if let Some(call) = lock(&calls).remove(&id) {
                    let _ = call.send(Event::Cancelled);
                }
            }
            message => {
                let (sender, events) = mpsc::channel();
                lock(&calls).insert(id, sender.clone());
                let call = Call { id, channel: channel.clone(), events, sender };
                let (children, background, calls) = (children.clone(), background.clone(), calls.clone());
                let thread = std::thread::Builder::new().name(format!("call {id}"));
                thread.spawn(move || {
                    let outcome = answer(&call, message, &children, &background).unwrap_or_else(Outcome::Failed);
                    lock(&calls).remove(&id);
                    // A broken channel ends the agent in its reader.
                    let _ = call.say(Message::Done(outcome), Vec::new());
                })?;
            }
        }
    }
}

/// Does what a call asks for; the error is a sentence.
fn answer(call: &Call, message: Message, children: &Children, background: &Background) -> Result<Outcome, String> {
    match message {
        Message::Ping => Ok(Outcome::Nothing),
        Message::Exec(exec) => exec::run(call, &exec, children),
        Message::Shell { rows, columns } => exec::shell(call, rows, columns, children),
        Message::Spawn(spawn) => background.spawn(spawn).map(Outcome::Process),
        Message::Process { name, action } => background.act(&name, action).map(Outcome::Process),
        Message::Put { path, mode } => files::put(call, path.as_ref(), mode),
        Message::Get { path } => files::get(call, path.as_ref()),
        Message::Fill { path } => files::fill(path.as_ref()),
        Message::Unfill { path } => files::unfill(path.as_ref()),
        Message::Install => install::from_drive(children).map(|()| Outcome::Nothing),
        Message::Clock(change) => set_clock(change),
        other => Err(format!("the agent does not know what to do with {other:?}")),
    }
}

fn set_clock(change: ClockChange) -> Result<Outcome, String> {
    use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
    const SECOND: i128 = 1_000_000_000;
    let to = match change {
        ClockChange::Set(nanoseconds) => i128::from(nanoseconds),
        ClockChange::Shift(nanoseconds) => {
            let now = clock_gettime(ClockId::Realtime);
            i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec) + i128::from(nanoseconds)
        }
    };
    let time = Timespec {
        tv_sec: i64::try_from(to.div_euclid(SECOND)).map_err(|_| "that time is out of range".to_owned())?,
        // The remainder of a division by a billion fits.
        tv_nsec: to.rem_euclid(SECOND) as i64,
    };
    clock_settime(ClockId::Realtime, time).map_err(|error| format!("the clock could not be set: {error}"))?;
    Ok(Outcome::Nothing)
}
