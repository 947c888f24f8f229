// SPDX-License-Identifier: GPL-2.0-or-later
//! An automount: systemd.automount(5).

use std::sync::LazyLock;

use ssi_unit::config::AutomountConfig;

use super::value::{maybe, text, usec};
use super::{Property, View, fixed, told};

fn config<'a>(v: &View<'a>) -> &'a AutomountConfig {
    static NONE: LazyLock<AutomountConfig> = LazyLock::new(AutomountConfig::default);
    v.unit.config.automount().unwrap_or(&NONE)
}

pub(super) const TABLE: &[Property] = &[
    fixed("Where", "s", |v| {
        let told = config(v).mount_point.clone();
        text(&told.or_else(|| v.unit.name.to_path().ok()).unwrap_or_default())
    }),
    fixed("ExtraOptions", "s", |v| maybe(config(v).extra_options.as_deref())),
    fixed("DirectoryMode", "u", |v| config(v).directory_mode.into()),
    told("Result", "s", |v| text(v.unit.runtime.kind.automount().result.word())),
    // Never is told as nothing here.
    fixed("TimeoutIdleUSec", "t", |v| config(v).timeout_idle.map_or(0, |idle| usec(Some(idle))).into()),
];
