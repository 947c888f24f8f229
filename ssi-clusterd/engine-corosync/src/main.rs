// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-engine-corosync`: what corosync knows, told to `ssi-clusterd` as frames.
//!
//! The daemon starts this program with one end of a stream socket pair as its standard input, and both talk the frames
//! of [`ssi_cluster::engine`] over it. It is a process of its own because corosync's client libraries are C, keep
//! global state and may block: nothing of that can then hurt the daemon, and a machine with the `solo` engine needs
//! none of them. It ends when the daemon does.
//!
//! ```text
//!              quorum service ──▶ ┐                    ┌───────────┐
//!   corosync                      ├─ callbacks ──────▶ │ Sequencer │ ──▶ Peer ──▶ ssi-clusterd
//!              cpg service    ──▶ ┘  (only note down)  └───────────┘      │
//!                   ▲                                                     │
//!                   └───────────── Session ◀──────────────────────────────┘  Send, Leave, Fence
//! ```
//!
//! * [`sequencer`] decides: which configuration holds when, from two services that do not know of each other. Pure.
//! * [`session`] is one connection to corosync; [`callbacks`] is where the C libraries call back.
//! * [`peer`] is the socket to the daemon, bounded both ways. [`wait`] waits for file descriptors.
//!
//! Nothing queues without bound: when the daemon reads slowly, corosync's events stay with corosync, whose own flow
//! control then slows the senders; when corosync takes no messages, commands stay in the socket.

mod callbacks;
mod peer;
mod sequencer;
mod session;
mod wait;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::PollFlags;
use rustix::process::Signal;
use ssi_cluster::engine::{FromEngine, PROTOCOL, ToEngine};

use peer::Peer;
use session::{Lost, Sent, Session};

/// How long until the next try to reach corosync.
const RETRY: Duration = Duration::from_millis(500);
/// How long until the next try to send what corosync would not take, as it does while a membership forms.
const RESEND: Duration = Duration::from_millis(5);
/// How long a leave may take before the connection is just closed, which tells the others as well.
const LEAVE: Duration = Duration::from_secs(2);
/// How many messages, and how many bytes of them, may wait to be sent before no more commands are read.
const UNSENT_MESSAGES: usize = 256;
const UNSENT_BYTES: usize = 4 << 20;
/// How many of corosync's events are taken in one turn, so that no service starves another.
const EVENTS_A_TURN: usize = 64;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!(
            "ssi-engine-corosync takes no arguments: ssi-clusterd starts it, with a socket as its standard input"
        );
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ssi-engine-corosync: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Both ends of a life with the daemon: the signal for when it is killed, the end of the stream for when it closes.
    // Between fork and here it may already have died; then the end of the stream tells.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).context("asking for the daemon's death")?;
    let peer = Peer::on_stdin().context("standard input must be the socket pair from ssi-clusterd")?;
    Bridge {
        peer,
        world: World::Away { next: Instant::now(), said: None },
        unsent: VecDeque::new(),
        unsent_bytes: 0,
        leaving: None,
    }
    .run()
}

/// Whether corosync is there.
enum World {
    Away { next: Instant, said: Option<String> },
    There(Box<Session>),
}

/// Both sides and what waits between them.
struct Bridge {
    peer: Peer,
    world: World,
    unsent: VecDeque<Vec<u8>>,
    unsent_bytes: usize,
    /// Until when the group is to be left.
    leaving: Option<Instant>,
}

impl Bridge {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            if self.wait()?.is_break() {
                return Ok(());
            }
            if !self.read_commands()? {
                return Ok(());
            }
            self.turn();
            self.send();
            self.peer.write().context("writing to ssi-clusterd")?;
            if self.left() {
                // What was delivered before the leave should still arrive; a daemon that does not read loses it.
                let _ = self.peer.write();
                return Ok(());
            }
        }
    }

    fn room_for_commands(&self) -> bool {
        self.leaving.is_none() && self.unsent.len() < UNSENT_MESSAGES && self.unsent_bytes < UNSENT_BYTES
    }

    /// Waits until there is something to do; breaks when the daemon is gone and nothing it said can be read now.
    fn wait(&mut self) -> anyhow::Result<ControlFlow<()>> {
        let now = Instant::now();
        let mut wants = vec![self.peer.wants(self.room_for_commands())];
        let mut deadline = self.leaving;
        let mut until = |at: Instant| deadline = Some(deadline.map_or(at, |d| d.min(at)));
        if self.room_for_commands() && self.peer.has_command() {
            until(now);
        }
        match &self.world {
            World::Away { next, .. } => until(*next),
            World::There(session) => {
                // A descriptor without a wish is still watched for its hang-up.
                let cpg = if self.peer.has_room() && session.has_room() { PollFlags::IN } else { PollFlags::empty() };
                wants.push((session.quorum_fd(), PollFlags::IN));
                wants.push((session.cpg_fd(), cpg));
                if !self.unsent.is_empty() || self.leaving.is_some() {
                    until(now + RESEND);
                }
                if let Some(at) = session.next_try() {
                    until(at);
                }
            }
        }
        let got = wait::poll(&wants, deadline.map(|d| d.saturating_duration_since(now))).context("poll")?;
        // A hang-up ends every wait at once: not to read it, for want of room, would be to turn in place.
        if !self.room_for_commands() && got.first().is_some_and(|peer| peer.contains(PollFlags::HUP)) {
            return Ok(ControlFlow::Break(()));
        }
        if let [_, quorum, cpg] = got[..]
            && (quorum | cpg).intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
        {
            self.lose(&Lost("corosync closed the connection: it stopped or was killed".into()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes what the daemon wants; `false` when it is gone.
    fn read_commands(&mut self) -> anyhow::Result<bool> {
        if !self.room_for_commands() {
            return Ok(true);
        }
        let alive = self.peer.read().context("reading from ssi-clusterd")?;
        while self.room_for_commands() {
            match self.peer.next_command().context("ssi-clusterd sent what is no command; are both of one version?")? {
                // Nothing is kept for a corosync that is away: what is above sends anew at the next configuration.
                Some(ToEngine::Send(payload)) if matches!(self.world, World::There(_)) => {
                    self.unsent_bytes += payload.len();
                    self.unsent.push_back(payload);
                }
                Some(ToEngine::Send(_)) => {}
                Some(ToEngine::Leave) => self.leaving = Some(Instant::now() + LEAVE),
                Some(ToEngine::Fence { node, reason }) => match session::fence(node, &reason) {
                    Ok(()) => eprintln!("asked corosync to put node {node} out: {reason}"),
                    Err(error) => eprintln!("corosync could not be asked to put node {node} out ({reason}): {error}"),
                },
                None => break,
            }
        }
        Ok(alive)
    }

    /// One turn with corosync: reach it, or hear it.
    fn turn(&mut self) {
        match &mut self.world {
            World::Away { next, .. } if Instant::now() < *next => {}
            World::Away { .. } => match Session::open() {
                Ok(session) => self.world = World::There(Box::new(session)),
                Err(lost) => self.lose(&lost),
            },
            World::There(session) => {
                let peer = &mut self.peer;
                let heard = session.turn(EVENTS_A_TURN, peer.has_room(), |event| peer.tell(&event));
                if let Err(lost) = heard {
                    self.lose(&lost);
                }
            }
        }
    }

    /// Forgets the connection and tells why, once for each reason.
    fn lose(&mut self, lost: &Lost) {
        let said = match &mut self.world {
            World::Away { said, .. } => said.take(),
            World::There(_) => None,
        };
        if said.as_ref() != Some(&lost.0) {
            self.peer.tell(&FromEngine::Unreachable(lost.0.clone()));
        }
        self.world = World::Away { next: Instant::now() + RETRY, said: Some(lost.0.clone()) };
        self.unsent.clear();
        self.unsent_bytes = 0;
    }

    fn send(&mut self) {
        let World::There(session) = &mut self.world else { return };
        while let Some(payload) = self.unsent.front() {
            match session.send(payload) {
                Ok(Sent::Later) => return,
                Ok(Sent::Taken) => {}
                Ok(Sent::Never(why)) => eprintln!("a message of {} bytes cannot be sent: {why}", payload.len()),
                Err(lost) => return self.lose(&lost),
            }
            self.unsent_bytes -= payload.len();
            self.unsent.pop_front();
        }
    }

    /// Whether a leave was asked for and is done.
    fn left(&mut self) -> bool {
        let Some(deadline) = self.leaving else { return false };
        let World::There(session) = &mut self.world else { return true };
        let late = Instant::now() >= deadline;
        late || self.unsent.is_empty() && session.leave()
    }
}

/// The first frame of a connection.
fn ready(own: ssi_cluster::NodeId) -> FromEngine {
    FromEngine::Ready { protocol: PROTOCOL, own }
}
