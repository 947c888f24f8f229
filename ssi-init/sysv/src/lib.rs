// SPDX-License-Identifier: GPL-2.0-or-later
//! sysvinit's tongue: what scripts and people who know `/etc/init.d`, run levels and `shutdown` say, in the words of the
//! unit manager.
//!
//! ```text
//!   /etc/init.d, /etc/rcN.d ──► generator ──► units         ssi-sysv-generator, run by the manager
//!
//!   init N, telinit, service ─┐                ┌─► manager    /run/systemd/private, else the system bus
//!   halt, poweroff, reboot   ─┼─► commands ────┼─► logind     who waits for a shutdown at a time, if it is there
//!   shutdown, runlevel       ─┘                ├─► schedule   who waits where it is not
//!                                              └─► power      process 1 by a signal, the kernel by reboot(2)
//! ```
//! Words: a *run level* is a digit that stands for a target ([`runlevel`]); an *action* is how the machine goes down
//! ([`action`]); a *wall message* is written to the terminals of all who are logged in ([`wall`]); *utmp* and *wtmp* are
//! the records of who is, and what was ([`utmp`]).
//!
//! What decides is pure: [`generator`] but for its `folders`, [`runlevel`], [`action`], [`when`], [`warning`]. What acts
//! is named above. Start reading at [`generator`] for the scripts, at [`commands`] for the rest.

pub mod action;
pub mod commands;
pub mod generator;
pub mod logind;
pub mod manager;
pub mod power;
pub mod runlevel;
pub mod schedule;
pub mod utmp;
pub mod wall;
pub mod warning;
pub mod when;
