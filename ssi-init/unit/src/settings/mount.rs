// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Mount]`, `[Automount]` and `[Swap]`: systemd.mount(5), systemd.automount(5), systemd.swap(5).

use super::{Table, value};
use crate::config::{AutomountConfig, MountConfig, SwapConfig};

/// The keys of `[Mount]`.
pub(super) const MOUNT: Table<MountConfig> = &[
    ("What", |mount, value, reader| reader.set_text(&mut mount.what, value)),
    ("Where", |mount, value, reader| reader.set_path(&mut mount.mount_point, value)),
    ("Options", |mount, value, reader| reader.set_text(&mut mount.options, value)),
    ("Type", |mount, value, reader| reader.set_text(&mut mount.fs_type, value)),
    ("TimeoutSec", |mount, value, reader| reader.set_timeout(&mut mount.timeout, value)),
    ("DirectoryMode", |mount, value, reader| reader.set_mode(&mut mount.directory_mode, value)),
    ("SloppyOptions", |mount, value, reader| reader.set_bool(&mut mount.sloppy_options, value)),
    ("LazyUnmount", |mount, value, reader| reader.set_bool(&mut mount.lazy_unmount, value)),
    ("ForceUnmount", |mount, value, reader| reader.set_bool(&mut mount.force_unmount, value)),
    ("ReadWriteOnly", |mount, value, reader| reader.set_bool(&mut mount.read_write_only, value)),
];

/// The keys of `[Automount]`.
pub(super) const AUTOMOUNT: Table<AutomountConfig> = &[
    ("Where", |automount, value, reader| reader.set_path(&mut automount.mount_point, value)),
    ("ExtraOptions", |automount, value, reader| reader.set_text(&mut automount.extra_options, value)),
    ("DirectoryMode", |automount, value, reader| reader.set_mode(&mut automount.directory_mode, value)),
    ("TimeoutIdleSec", |automount, value, reader| reader.set_timeout(&mut automount.timeout_idle, value)),
];

/// The keys of `[Swap]`.
pub(super) const SWAP: Table<SwapConfig> = &[
    ("What", |swap, value, reader| reader.set_path(&mut swap.what, value)),
    ("Priority", |swap, value, reader| {
        if value.is_empty() {
            swap.priority = None;
            return Ok(());
        }
        let priority = value::signed32(value).filter(|priority| (-1..=32767).contains(priority));
        let priority = priority.ok_or_else(|| reader.bad(value, "a priority from -1 to 32767"))?;
        swap.priority = (priority >= 0).then_some(priority);
        Ok(())
    }),
    ("Options", |swap, value, reader| reader.set_text(&mut swap.options, value)),
    ("TimeoutSec", |swap, value, reader| reader.set_timeout(&mut swap.timeout, value)),
];
