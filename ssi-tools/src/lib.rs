// SPDX-License-Identifier: GPL-2.0-or-later
//! The command `ssi`: look at a cluster, wait for it, change which nodes it has, and find out what is wrong with it.
//! OpenSSI's command names (`cluster`, `clustername`, `clusternode_num`, `clusternode_getstate`, `loads`) are links to
//! the same program.
//!
//! ```text
//!   argv ──▶ cli ──▶ commands/* ──▶ daemon ──▶ ssi-clusterd (org.openssi.Cluster1)
//!                       │   │
//!                       │   └──▶ machine, edit: this machine, its cluster.toml
//!                       ▼
//!        screen, report, logtext, doctor::checks     pure: what was learnt in, text or findings out
//!                       ▼
//!                     output ──▶ terminal (colour) or pipe (plain, or JSON)
//! ```
//!
//! Every command ends with one of the house's exit statuses, [`outcome::Exit`], and a failure is one sentence on
//! standard error that says what was tried and what to do.
//!
//! Start at [`cli`] for what can be asked, at [`commands`] for how it is done, at [`daemon`] for how the daemon is asked
//! and what its errors become.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod daemon;
pub mod doctor;
pub mod edit;
pub mod figures;
pub mod logtext;
pub mod machine;
pub mod man;
pub mod outcome;
pub mod output;
pub mod report;
pub mod run;
pub mod screen;
pub mod table;
