// SPDX-License-Identifier: GPL-2.0-or-later
//! A path unit: systemd.path(5).

use std::sync::LazyLock;
use std::time::Duration;

use ssi_unit::config::PathConfig;
use zbus::zvariant::Value;

use super::value::{text, usec};
use super::{Property, View, fixed, told};

/// How often a path unit may start its unit in which time, where its file does not tell.
const TRIGGERS: u32 = 200;
const TRIGGER_TIME: Duration = Duration::from_secs(2);

fn config<'a>(v: &View<'a>) -> &'a PathConfig {
    static NONE: LazyLock<PathConfig> = LazyLock::new(PathConfig::default);
    v.unit.config.path().unwrap_or(&NONE)
}

pub(super) const TABLE: &[Property] = &[
    fixed("Unit", "s", |v| text(&super::timer::triggered(v))),
    fixed("Paths", "a(ss)", |v| {
        // The one that was read last stands first there.
        let watches = config(v).watches.iter().rev();
        Value::from(watches.map(|watch| (watch.event.as_str(), watch.path.clone())).collect::<Vec<_>>())
    }),
    fixed("MakeDirectory", "b", |v| config(v).make_directory.into()),
    fixed("DirectoryMode", "u", |v| config(v).directory_mode.into()),
    told("Result", "s", |v| text(v.core.result_of(v.id))),
    fixed("TriggerLimitIntervalUSec", "t", |v| {
        usec(Some(config(v).trigger_limit_interval.unwrap_or(TRIGGER_TIME))).into()
    }),
    fixed("TriggerLimitBurst", "u", |v| config(v).trigger_limit_burst.unwrap_or(TRIGGERS).into()),
];
