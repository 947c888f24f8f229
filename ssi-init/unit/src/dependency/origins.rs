// SPDX-License-Identifier: GPL-2.0-or-later
//! Who asks for edges.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use serde::{Deserialize, Serialize};

/// Who asked for an edge; several may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(u16);

impl Origins {
    /// Nobody: an edge that is left with this is to be removed.
    pub const NONE: Origins = Origins(0);
    /// A unit file, a drop-in, a `.wants/` link, or a setting that implies the edge (`Slice=`, `Type=dbus`).
    pub const FILE: Origins = Origins(1);
    /// The unit's type and name alone, whatever its file says.
    pub const IMPLICIT: Origins = Origins(1 << 1);
    /// `DefaultDependencies=yes`.
    pub const DEFAULT: Origins = Origins(1 << 2);
    /// A udev property (`SYSTEMD_WANTS`) or a device's state.
    pub const UDEV: Origins = Origins(1 << 3);
    /// `RequiresMountsFor=` of some unit, given or implied.
    pub const PATH: Origins = Origins(1 << 4);
    /// A mount unit's file, until the kernel's table knows better.
    pub const MOUNT_FILE: Origins = Origins(1 << 5);
    /// `/proc/self/mountinfo`.
    pub const MOUNT_TABLE: Origins = Origins(1 << 6);
    /// `/proc/swaps`.
    pub const SWAP_TABLE: Origins = Origins(1 << 7);
    /// A slice set at run time, over D-Bus.
    pub const SLICE_PROPERTY: Origins = Origins(1 << 8);
    /// Every origin.
    pub const ALL: Origins = Origins((1 << 9) - 1);

    const NAMES: [(Origins, &'static str); 9] = [
        (Self::FILE, "file"),
        (Self::IMPLICIT, "implicit"),
        (Self::DEFAULT, "default"),
        (Self::UDEV, "udev"),
        (Self::PATH, "path"),
        (Self::MOUNT_FILE, "mount-file"),
        (Self::MOUNT_TABLE, "mountinfo"),
        (Self::SWAP_TABLE, "swaps"),
        (Self::SLICE_PROPERTY, "slice-property"),
    ];

    /// Whether every origin of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Origins) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets share an origin.
    #[must_use]
    pub const fn intersects(self, other: Origins) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nobody asks for the edge any more.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set less `other`.
    #[must_use]
    pub const fn without(self, other: Origins) -> Origins {
        Origins(self.0 & !other.0)
    }
}

impl BitOr for Origins {
    type Output = Origins;
    fn bitor(self, other: Origins) -> Origins {
        Origins(self.0 | other.0)
    }
}

impl BitOrAssign for Origins {
    fn bitor_assign(&mut self, other: Origins) {
        self.0 |= other.0;
    }
}

impl BitAnd for Origins {
    type Output = Origins;
    fn bitand(self, other: Origins) -> Origins {
        Origins(self.0 & other.0)
    }
}

impl Not for Origins {
    type Output = Origins;
    fn not(self) -> Origins {
        Origins::ALL.without(self)
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Self::NAMES.iter().filter(|(origin, _)| self.contains(*origin)).map(|(_, name)| name))
            .finish()
    }
}
