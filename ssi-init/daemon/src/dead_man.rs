// SPDX-License-Identifier: GPL-2.0-or-later
//! The hardware watchdog as the last guard of what the cluster runs here: process 1 pets it up to a moment only, and
//! each lease that is renewed moves that moment on. So the machine is reset in time even if this manager hangs, or does
//! not come up again.
//!
//! A machine without a watchdog gets the kernel's own (`softdog`), which helps against all but a kernel that hangs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ssi_keep::link::Refusal;
use ssi_manager::core::Core;
use ssi_manager::core::cluster::DeadMan;
use ssi_manager::core::system::Priority;

use crate::machine::Inner;

/// The kind of the message that asks for it ([`ssi_pid1::protocol`]).
const WATCHDOG: u16 = 9;
/// A moment that moved by less is not told again: process 1 does requests of the device for each.
const WORTH_TELLING: Duration = Duration::from_millis(200);
/// How long it is left alone after it was refused.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What process 1 was told.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    /// The time-out, and until when it pets.
    told: Option<(Duration, Instant)>,
    refused: Option<Instant>,
    module_tried: bool,
    /// Whether this manager has told anything yet: an earlier one may have.
    begun: bool,
}

impl Switch {
    /// Tells process 1, if there is something to tell.
    ///
    /// # Errors
    /// When the link is gone.
    pub(crate) fn turn(&mut self, core: &mut Core, inner: &mut Inner) -> Result<()> {
        let now = Instant::now();
        let begun = std::mem::replace(&mut self.begun, true);
        let Some(DeadMan { timeout, pet_for }) = core.dead_man() else {
            if self.told.take().is_some() || (!begun && inner.link.units_are_siblings()) {
                inner.link.watchdog(Duration::ZERO, None).context("asking process 1 to let go of the watchdog")?;
            }
            return Ok(());
        };
        if self.refused.is_some_and(|at| now.saturating_duration_since(at) < TRY_AGAIN) {
            return Ok(());
        }
        let until = now + pet_for;
        let moved = |(before, at): (Duration, Instant)| {
            before != timeout || until.max(at).saturating_duration_since(until.min(at)) >= WORTH_TELLING
        };
        if self.told.is_none_or(moved) {
            if self.told.is_none() {
                core.set_watchdog(true);
            }
            self.told = Some((timeout, until));
            inner.link.watchdog(timeout, Some(pet_for)).context("asking process 1 to keep the watchdog")?;
        }
        Ok(())
    }

    /// Process 1 refused something; whether it was this.
    pub(crate) fn refused(&mut self, core: &mut Core, refusal: Refusal, container: bool) -> bool {
        if refusal.kind != WATCHDOG {
            return false;
        }
        if self.told.take().is_none() {
            return true;
        }
        core.set_watchdog(false);
        let said = std::io::Error::from_raw_os_error(refusal.errno);
        let text = format!(
            "this machine has no watchdog that could be used ({said}): should this node hang, what the cluster runs here may run twice"
        );
        let priority = if self.refused.is_none() { Priority::Warning } else { Priority::Debug };
        core.sys.log(priority, None, &text);
        self.refused = Some(Instant::now());
        if !container && !std::mem::replace(&mut self.module_tried, true) {
            core.sys.log(Priority::Info, None, "loads the kernel's own watchdog: modprobe softdog");
            // Looked for again as soon as it may be there.
            self.refused = Instant::now().checked_sub(TRY_AGAIN.saturating_sub(Duration::from_secs(2)));
            std::thread::spawn(|| {
                let _ = std::process::Command::new("modprobe").arg("softdog").output();
            });
        }
        true
    }
}
