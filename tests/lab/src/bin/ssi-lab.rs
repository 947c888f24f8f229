// SPDX-License-Identifier: GPL-2.0-or-later
//! The command.
fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("keep") => ssi_lab::keeper::keep(),
        _ => Ok(()),
    }
}
