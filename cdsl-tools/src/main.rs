// SPDX-License-Identifier: GPL-2.0-or-later
//! The program `cdsl`.
fn main() {}
