// SPDX-License-Identifier: GPL-2.0-or-later
//! One connection to corosync: its quorum service, and the group in its cpg service.

use std::fmt;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use rust_corosync::{CsError, DispatchFlags, TrackFlags, cfg, cpg, quorum};
use ssi_cluster::NodeId;
use ssi_cluster::engine::FromEngine;

use crate::callbacks;
use crate::sequencer::Sequencer;

/// The group that the daemons of one cluster form. The cluster's name is no part of it: a ring is one cluster's.
const GROUP: &str = "openssi.cluster1";
/// How long until the next try of a join that corosync put off because a membership forms.
const REJOIN: Duration = Duration::from_millis(20);
/// How long a ring may wait for its quorum until corosync is asked for it once more.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The connection is of no more use, and why, in an administrator's words.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) String);

impl Lost {
    fn new(step: &str, error: CsError) -> Self {
        let what = match error {
            CsError::CsErrAccess | CsError::CsErrSecurity => {
                "does not let this process in: it must run as root, or be allowed by uidgid in corosync.conf"
            }
            CsError::CsErrTryAgain => "is still starting",
            _ => "is not running or not answering; see: systemctl status corosync",
        };
        Self(format!("corosync {what} ({step}: {error})"))
    }
}

/// What became of a message to send.
pub(crate) enum Sent {
    /// Corosync has it.
    Taken,
    /// Corosync takes none now; try again soon.
    Later,
    /// Corosync will never take this one.
    Never(String),
}

/// A connection. Dropping it closes it, which takes this node out of the group.
pub(crate) struct Session {
    quorum: quorum::Handle,
    cpg: cpg::Handle,
    quorum_fd: RawFd,
    cpg_fd: RawFd,
    own: NodeId,
    joined: bool,
    left: bool,
    sequencer: Sequencer,
    next_join: Instant,
    held_since: Option<Instant>,
}

impl Session {
    /// Connects to both services.
    pub(crate) fn open() -> Result<Self, Lost> {
        // What an earlier connection left there belongs to it alone.
        callbacks::take();
        // Quorum first: the sequencer needs a ring that is not newer than the first events of the group.
        let (quorum, kind) =
            quorum::initialize(&callbacks::of_quorum(), 0).map_err(|e| Lost::new("connecting to its quorum", e))?;
        if matches!(kind, quorum::QuorumType::Free) {
            let what = "corosync has no quorum provider: set quorum { provider: corosync_votequorum } in corosync.conf";
            return Err(Lost(what.into()));
        }
        quorum::trackstart(&quorum, TrackFlags::Changes).map_err(|e| Lost::new("following its quorum", e))?;
        let quorum_fd = quorum::fd_get(&quorum).map_err(|e| Lost::new("following its quorum", e))?;
        let cpg = cpg::initialize(&callbacks::of_cpg(), 0).map_err(|e| Lost::new("connecting to its cpg", e))?;
        let cpg_fd = cpg::fd_get(&cpg).map_err(|e| Lost::new("following its cpg", e))?;
        let number = cpg::local_get(&cpg).map_err(|e| Lost::new("asking for the node's number", e))?.into();
        let Some(own) = NodeId::new(number) else {
            return Err(Lost(format!(
                "corosync's number for this node is {number}, and a node's number is from 1 to {}: \
                 write the nodeid of cluster.toml into corosync.conf",
                NodeId::MAX
            )));
        };
        let (joined, left, next_join) = (false, false, Instant::now());
        let sequencer = Sequencer::new(own);
        Ok(Self { quorum, cpg, quorum_fd, cpg_fd, own, joined, left, sequencer, next_join, held_since: None })
    }

    /// The descriptor that becomes readable when the quorum service has news.
    pub(crate) fn quorum_fd(&self) -> RawFd {
        self.quorum_fd
    }

    /// The descriptor that becomes readable when the cpg service has news.
    pub(crate) fn cpg_fd(&self) -> RawFd {
        self.cpg_fd
    }

    /// Whether events of the cpg service may be taken now.
    pub(crate) fn has_room(&self) -> bool {
        self.sequencer.has_room()
    }

    /// When [`Session::turn`] has something to do even if nothing comes.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        if !self.joined {
            return Some(self.next_join);
        }
        self.held_since.map(|at| at + ASK_AGAIN)
    }

    /// Hears what is there, some `events` at most, and tells what is due. `hear_group`: whether cpg may be heard too.
    pub(crate) fn turn(
        &mut self,
        events: usize,
        hear_group: bool,
        mut tell: impl FnMut(FromEngine),
    ) -> Result<(), Lost> {
        if !self.joined && Instant::now() >= self.next_join {
            match cpg::join(&self.cpg, GROUP) {
                Ok(()) => {
                    self.joined = true;
                    tell(crate::ready(self.own));
                }
                Err(CsError::CsErrTryAgain) => self.next_join = Instant::now() + REJOIN,
                Err(error) => return Err(Lost::new("joining the group", error)),
            }
        }
        // Quorum before group: a ring then mostly finds its quorum known and waits for nothing.
        self.hear_quorum(events)?;
        if hear_group && self.has_room() {
            self.hear_group(events)?;
        }
        if self.sequencer.wants_base() {
            self.find_base(events)?;
        }
        while let Some(event) = self.sequencer.next() {
            tell(event);
        }
        self.ask_again()
    }

    fn hear_quorum(&mut self, events: usize) -> Result<(), Lost> {
        dispatch(events, || quorum::dispatch(&self.quorum, DispatchFlags::OneNonblocking))
            .map_err(|e| Lost::new("hearing its quorum", e))?;
        self.note();
        Ok(())
    }

    /// `true` when nothing more was there.
    fn hear_group(&mut self, events: usize) -> Result<bool, Lost> {
        let dry = dispatch(events, || cpg::dispatch(&self.cpg, DispatchFlags::OneNonblocking))
            .map_err(|e| Lost::new("hearing its cpg", e))?;
        self.note();
        Ok(dry)
    }

    fn note(&mut self) {
        callbacks::take().into_iter().for_each(|heard| self.sequencer.hear(heard));
    }

    /// Finds the ring at which this node's membership of the group began.
    ///
    /// Corosync's cpg service can tell it on request, by a flag that the binding cannot set. So quorum is asked, after
    /// the join was delivered: cpg takes up each new ring before quorum does, in one process, so every ring that cpg
    /// told before this answer is in the queue of cpg's events by now. With none there, the answer is the ring.
    fn find_base(&mut self, events: usize) -> Result<(), Lost> {
        if self.ask_quorum()? {
            self.hear_quorum(events)?;
            while self.has_room() && !self.hear_group(events)? {}
            self.sequencer.settle();
        }
        Ok(())
    }

    /// Has quorum tell the present once more; `false` when it cannot now.
    fn ask_quorum(&self) -> Result<bool, Lost> {
        match quorum::trackstart(&self.quorum, TrackFlags::Current) {
            // It answers, and adds that this connection already follows the changes.
            Ok(()) | Err(CsError::CsErrExist) => Ok(true),
            Err(CsError::CsErrTryAgain) => Ok(false),
            Err(error) => Err(Lost::new("asking for its quorum", error)),
        }
    }

    /// A ring whose quorum does not come is asked for: a lost notification must not stop the cluster's messages.
    fn ask_again(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        let waits = self.sequencer.waits_for_quorum() || self.sequencer.wants_base();
        match self.held_since {
            _ if !waits => self.held_since = None,
            None => self.held_since = Some(now),
            Some(since) if now >= since + ASK_AGAIN => {
                self.held_since = Some(now);
                self.ask_quorum()?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Sends to the group, in the agreed order.
    pub(crate) fn send(&self, payload: &[u8]) -> Result<Sent, Lost> {
        if !self.joined {
            return Ok(Sent::Later);
        }
        // Longer ones would be cut by the library, which then waits inside the call for each piece.
        let bound = cpg::max_atomic_msgsize_get(&self.cpg).map_err(|e| Lost::new("asking for its bounds", e))?;
        if payload.len() > bound as usize {
            return Ok(Sent::Never(format!("corosync's bound is {bound} bytes")));
        }
        match cpg::mcast_joined(&self.cpg, cpg::Guarantee::TypeAgreed, payload) {
            Ok(()) => Ok(Sent::Taken),
            Err(CsError::CsErrTryAgain) => Ok(Sent::Later),
            Err(error @ (CsError::CsErrTooBig | CsError::CsErrInvalidParam)) => Ok(Sent::Never(error.to_string())),
            Err(error) => Err(Lost::new("sending", error)),
        }
    }

    /// Leaves the group; `true` when that is done or cannot be done any better.
    pub(crate) fn leave(&mut self) -> bool {
        if self.joined && !self.left {
            match cpg::leave(&self.cpg, GROUP) {
                Err(CsError::CsErrTryAgain) => return false,
                Err(error) => eprintln!("corosync could not be told of the leave, closing instead: {error}"),
                Ok(()) => {}
            }
        }
        self.left = true;
        true
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("own", &self.own).field("joined", &self.joined).finish_non_exhaustive()
    }
}

/// Dispatches up to `most` events; `true` when it stopped because there were no more.
fn dispatch(most: usize, one: impl Fn() -> rust_corosync::Result<()>) -> rust_corosync::Result<bool> {
    for _ in 0..most {
        match one() {
            Ok(()) => {}
            Err(CsError::CsErrTryAgain) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Asks corosync to put a node out of the membership; `reason` goes to the logs.
pub(crate) fn fence(node: NodeId, reason: &str) -> Result<(), CsError> {
    let cfg = cfg::initialize(&cfg::Callbacks { corosync_cfg_shutdown_callback_fn: None })?;
    // A C string ends at its first zero byte.
    cfg::kill_node(&cfg, node.get().into(), &reason.replace('\0', " "))
}
