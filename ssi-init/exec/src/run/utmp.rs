// SPDX-License-Identifier: GPL-2.0-or-later
//! The login records of a terminal's service. utmp(5): getty finds the INIT_PROCESS record of its own process and
//! turns it into LOGIN_PROCESS, login(1) that into USER_PROCESS.

use super::sys;
use crate::plan::{ExecPlan, UtmpMode};
use nix::libc;

/// Writes what `UtmpIdentifier=` asks for. Failures are nobody's harm: a machine without utmp is whole.
pub(super) fn record(plan: &ExecPlan, user: Option<&str>) {
    let Some(utmp) = &plan.utmp else { return };
    let device = plan.streams.tty.device();
    let line = device.strip_prefix("/dev/").unwrap_or(device);
    // nix's: 0, the answer for a session from outside our process namespace, has no place in rustix' type.
    let session = nix::unistd::getsid(None).map_or(0, nix::unistd::Pid::as_raw);
    // The identifier's last characters tell terminals apart.
    let id = match utmp.identifier.char_indices().rev().nth(3) {
        Some((start, _)) => &utmp.identifier[start..],
        None => &utmp.identifier,
    };
    sys::put_utmp(libc::INIT_PROCESS, id, line, "", session, false);
    if matches!(utmp.mode, UtmpMode::Login | UtmpMode::User) {
        sys::put_utmp(libc::LOGIN_PROCESS, id, line, "", session, true);
    }
    if utmp.mode == UtmpMode::User {
        sys::put_utmp(libc::USER_PROCESS, id, line, user.unwrap_or_default(), session, true);
    }
}
