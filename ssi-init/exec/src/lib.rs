// SPDX-License-Identifier: GPL-2.0-or-later
//! Starting a unit's processes.
//!
//! Two halves meet here. The manager's half is [`spawn`]: it makes a process, in its control group from birth,
//! without copying anything of the manager. The executor's half is [`run`], the program `ssi-exec`: it takes the
//! steps that the unit asks for and becomes the unit's program. Between them goes one value, [`plan::ExecPlan`],
//! in a memfd, and descriptors at fixed numbers.
//!
//! ```text
//!   manager                         new process
//!   -------                         -----------
//!   ExecPlan ── memfd ──► fd 3 ──►  ssi-exec: streams, priorities, directories, namespaces,
//!   sockets, streams ───► fd 5 …    groups, capabilities, user, … ── execve ──► the program
//!   ReportReader ◄─────── fd 4 ◄──  Warning, Executing, Failed          (fd 4 closes)
//! ```
//!
//! Why a program between: what a unit asks for takes a hundred system calls and user lookups, which are not safe
//! between fork and exec of a big process; and the kernel charges what the child touches to the unit.
//!
//! Words. *Plan*: everything one start needs, resolved from text. *Slot*: a descriptor that travels with it.
//! *Step*: something between birth and program that can fail, with the exit status systemd gives it. *Report*:
//! what the process tells before the program runs. *Protection*: a directive that confines; the ones that the
//! executor does not give are told by [`plan::ExecPlan::shortfalls`], never skipped in silence.
//!
//! Start reading at [`plan::ExecPlan`]; then `run/mod.rs`, which is the order of the steps; then [`spawn`].
//!
//! ```no_run
//! use ssi_exec::plan::{Command, ExecPlan};
//! use ssi_exec::spawn::{Launch, Spawner};
//!
//! let mut spawner = Spawner::new("/usr/lib/ssi/ssi-exec".as_ref())?;
//! let plan = ExecPlan::new("hello.service", Command::new("/bin/echo", &["hello"]));
//! let spawned = spawner.spawn(&Launch::new(plan))?;
//! println!("{:?}", spawned.pid);
//! # Ok::<(), ssi_exec::spawn::SpawnError>(())
//! ```
//!
//! Pure: [`plan`], [`report`], [`step`], [`expand`], [`environment`], [`accounts`] and the planning of mounts in
//! `run/mounts.rs`. What acts: [`spawn`], the rest of [`run`], [`private_tmp`].

pub mod accounts;
pub mod environment;
pub mod expand;
pub mod plan;
pub mod private_tmp;
pub mod report;
pub mod run;
pub mod spawn;
pub mod step;
