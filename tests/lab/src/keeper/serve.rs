// SPDX-License-Identifier: GPL-2.0-or-later
//! The control socket: a connection is a call, to the keeper or through it to a node's agent.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use crate::agent::lock;
use crate::protocol::{Frame, Header, Message, Outcome, Target, read_frame, write_frame};

use super::Job;
use super::cluster::Cluster;

/// Accepts connections until the process ends.
pub(super) fn start(listener: UnixListener, cluster: Arc<Cluster>, jobs: Sender<Job>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (cluster, jobs) = (cluster.clone(), jobs.clone());
            std::thread::spawn(move || {
                // A caller that goes away in the middle of its call has nobody to be told.
                let _ = converse(stream, &cluster, &jobs);
            });
        }
    });
}

/// The caller's end of one call.
#[derive(Clone)]
struct Caller(Arc<Mutex<UnixStream>>);

impl Caller {
    fn tell(&self, message: Message, body: Vec<u8>) -> io::Result<()> {
        let over = matches!(message, Message::Done(_));
        let header = Header { id: 0, to: Target::Keeper, message };
        let mut stream = lock(&self.0);
        write_frame(&mut *stream, &Frame { header, body })?;
        if over {
            // Frees the thread that reads what the caller might still say.
            stream.shutdown(std::net::Shutdown::Both)?;
        }
        Ok(())
    }
}

fn converse(stream: UnixStream, cluster: &Arc<Cluster>, jobs: &Sender<Job>) -> io::Result<()> {
    let mut input = stream.try_clone()?;
    let caller = Caller(Arc::new(Mutex::new(stream)));
    let Some(frame) = read_frame(&mut input)? else { return Ok(()) };
    let Header { to, message, .. } = frame.header;
    match to {
        Target::Keeper => {
            let outcome = match message {
                Message::Fault(fault) => match cluster.fault(&fault) {
                    Ok(()) => Outcome::Nothing,
                    Err(error) => Outcome::Failed(format!("{error:#}")),
                },
                Message::Status => Outcome::Status(cluster.status()),
                Message::Ping => Outcome::Nothing,
                Message::Down => {
                    let _ = jobs.send(Job::Leave("it was asked to".to_owned()));
                    Outcome::Nothing
                }
                other => Outcome::Failed(format!("the keeper does not know what to do with {other:?}")),
            };
            caller.tell(Message::Done(outcome), Vec::new())
        }
        Target::Node(node) => {
            let link = match cluster.admits(node, &message).and_then(|()| cluster.link(node)) {
                Ok(link) => link,
                Err(error) => return caller.tell(Message::Done(Outcome::Failed(format!("{error:#}"))), Vec::new()),
            };
            let answers = caller.clone();
            let id = link.open(
                message,
                frame.body,
                Box::new(move |message, body| {
                    // When the caller is gone, its reader below cancels the call.
                    let _ = answers.tell(message, body);
                }),
            )?;
            while let Ok(Some(frame)) = read_frame(&mut input) {
                link.say(id, frame.header.message, frame.body)?;
            }
            link.cancel(id);
            Ok(())
        }
    }
}
