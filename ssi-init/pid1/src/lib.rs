// SPDX-License-Identifier: GPL-2.0-or-later
//! How process 1 and the unit manager speak with each other.
//!
//! ```text
//!   process 1 (ssi-init)                         unit manager (ssi-init-manager)
//!   ───────────────────                          ──────────────────────────────
//!   keeps descriptors, the snapshot    <──fd 3──>  units, jobs, sockets, cgroups, D-Bus
//!   peeks at dead children, reaps                  decides; may be killed at any moment
//!   passes signals on, pets the watchdog           is started again with all that is kept
//! ```
//!
//! Words:
//! - *link*: the socket pair between the two (`SOCK_SEQPACKET`, one message a packet, at most one descriptor with it);
//! - *kept*: a descriptor that process 1 holds under a name, so that it outlives the manager;
//! - *snapshot*: the one memory file that holds the manager's state. Process 1 never looks into it. It is the same open
//!   file on both sides: what the manager writes into it later is kept too, without another message;
//! - *exit*: a child of process 1 is dead and its status is to be had. It stays a zombie, and its number in use, until
//!   the manager has acknowledged it: an acknowledged exit is one that the manager has in its snapshot;
//! - *handover*: what a manager that has said hello is given: all that is kept, the snapshot, then exits and signals.
//!
//! A life of a link:
//!
//! ```text
//!   manager                                process 1
//!   Hello{version}            ──────────>
//!                             <──────────  Hello{version, node, how many managers before, …}
//!                             <──────────  Kept{name}+fd … Snapshot+fd, HandedOver
//!   Keep{name}+fd, Snapshot+fd ─────────>
//!                             <──────────  Exit{seq 7, pid, status}
//!   Ack{7}                    ──────────>  (reaps it; the next exit follows)
//!   Ping{n}                   ──────────>  (at least every quarter of the time that Hello names)
//!                             <──────────  Pong{n, counters}
//! ```
//!
//! A manager that executes itself anew keeps descriptor 3 and says hello again; so does one that was started after
//! another died. To process 1 both are the same.
//!
//! A unit's processes are to be made with `CLONE_PARENT` (`clone(2)`): process 1 is then their parent from birth, and
//! no exit can fall between the manager that died and the one that follows.
//!
//! Start at [`protocol`] for the messages with their bytes, at [`link`] to use them.

pub mod link;
pub mod protocol;

/// The descriptor at which the manager finds its end of the link.
pub const LINK_FD: i32 = 3;
