// SPDX-License-Identifier: GPL-2.0-or-later
//! Context-dependent symbolic links.
pub mod busy;
pub mod cli;
pub mod commands;
pub mod inventory;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod mounts;
pub mod ops;
pub mod path;
pub mod site;
pub mod store;
pub mod tree;
pub mod treewalk;
pub mod walk;
