// SPDX-License-Identifier: GPL-2.0-or-later
//! Corosync's own files, made from `cluster.toml`, so that an administrator keeps one file and not two.
//!
//! [`conf`] renders `corosync.conf` and chooses its timings, [`compare`] says where one that somebody wrote by hand
//! says otherwise than `cluster.toml`; both pure. [`files`] writes, and never over what a person has made.

pub mod compare;
pub mod conf;
pub mod files;

pub use conf::{Timings, render, timings};
pub use files::{Conf, FilesError, Outcome, Paths, ensure, make_key, reload};
