// SPDX-License-Identifier: GPL-2.0-or-later
//! Capability sets. capabilities(7).

use super::trouble::At;
use crate::plan::{Capabilities, ExecPlan, Protection};
use crate::report::Failure;
use crate::step::Step;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, capabilities, capabilities_secure_bits, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits,
};

/// The bounding set that the plan comes down to: what was asked for, less what protections take away.
pub(super) fn bounding_set(plan: &ExecPlan) -> Option<u64> {
    let taken = plan.protections.iter().fold(CapabilitySet::empty(), |taken, protection| {
        taken
            | match protection {
                Protection::PrivateDevices => CapabilitySet::MKNOD | CapabilitySet::SYS_RAWIO,
                Protection::ProtectKernelModules => CapabilitySet::SYS_MODULE,
                Protection::ProtectKernelLogs => CapabilitySet::SYSLOG,
                Protection::ProtectClock => CapabilitySet::SYS_TIME | CapabilitySet::WAKE_ALARM,
                _ => CapabilitySet::empty(),
            }
    });
    match (plan.capabilities.bounding, taken.is_empty()) {
        (None, true) => None,
        (asked, _) => Some(asked.unwrap_or(u64::MAX) & !taken.bits()),
    }
}

/// Every capability that this kernel has, one by one.
fn known() -> impl Iterator<Item = CapabilitySet> {
    (0..64)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .take_while(|capability| capability_is_in_bounding_set(*capability).is_ok())
}

/// Drops what is not to be had ever again.
pub(super) fn bound(keep: u64) -> Result<(), Failure> {
    let drop = || -> Result<(), Errno> {
        for capability in known() {
            if capability.bits() & keep == 0 && capability_is_in_bounding_set(capability)? {
                remove_capability_from_bounding_set(capability)?;
            }
        }
        // Inheritable ones that are out of bounds would come back through file capabilities.
        let mut sets = capabilities(None)?;
        let inheritable = sets.inheritable & CapabilitySet::from_bits_retain(keep);
        if inheritable != sets.inheritable {
            sets.inheritable = inheritable;
            set_capabilities(None, sets)?;
        }
        Ok(())
    };
    drop().at(Step::Capabilities, || "dropping from the bounding set".into())
}

/// Makes capabilities inheritable, the first half of making them ambient.
pub(super) fn inherit(ambient: u64) -> Result<(), Failure> {
    let raise = || -> Result<(), Errno> {
        let mut sets = capabilities(None)?;
        sets.inheritable |= CapabilitySet::from_bits_retain(ambient) & sets.permitted;
        set_capabilities(None, sets)
    };
    raise().at(Step::Capabilities, || "making them inheritable".into())
}

/// The second half.
pub(super) fn raise_ambient(ambient: u64) -> Result<(), Failure> {
    for capability in known().filter(|capability| capability.bits() & ambient != 0) {
        configure_capability_in_ambient_set(capability, true).at(Step::Capabilities, || {
            format!("raising capability {} as ambient", capability.bits().trailing_zeros())
        })?;
    }
    Ok(())
}

/// `SecureBits=`. Keeping capabilities over a change of user is such a bit too; execve takes it off by itself.
pub(super) fn secure(wanted: Capabilities) -> Result<(), Failure> {
    let wanted = CapabilitiesSecureBits::from_bits_retain(wanted.secure_bits);
    let set = || -> Result<(), Errno> {
        let present = capabilities_secure_bits()?;
        if present - CapabilitiesSecureBits::KEEP_CAPS == wanted {
            return Ok(());
        }
        // The change of user has left the capability for this permitted, and no longer effective.
        let mut sets = capabilities(None)?;
        sets.effective |= sets.permitted & CapabilitySet::SETPCAP;
        set_capabilities(None, sets)?;
        set_capabilities_secure_bits(wanted)
    };
    set().at(Step::SecureBits, || format!("bits {:#x}", wanted.bits()))
}
