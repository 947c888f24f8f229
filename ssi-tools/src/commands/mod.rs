// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands, one file each. They ask and act; how things look and what is to be concluded is decided elsewhere, in
//! pure code.

pub mod completions;
pub mod create;
pub mod doctor;
pub mod fence;
pub mod log;
pub mod membership_file;
pub mod node;
pub mod node_add;
pub mod node_remove;
pub mod openssi;
pub mod service;
pub mod status;
pub mod unit_files;
pub mod wait;
