// SPDX-License-Identifier: GPL-2.0-or-later
//! What comes before the first unit: settings, the places a system has in `/run`, generators, what to boot into.

pub(crate) mod command_line;
pub(crate) mod environment;
pub(crate) mod generators;
