// SPDX-License-Identifier: GPL-2.0-or-later
//! A scope: systemd.scope(5).

use std::sync::LazyLock;

use ssi_unit::config::service::OomPolicy;
use ssi_unit::config::{ManagerDefaults, ScopeConfig};

use super::value::{maybe, text, usec};
use super::{Property, View, fixed, told};

fn config<'a>(v: &View<'a>) -> &'a ScopeConfig {
    static NONE: LazyLock<ScopeConfig> = LazyLock::new(|| ScopeConfig::new(&ManagerDefaults::default()));
    v.unit.config.scope().unwrap_or(&NONE)
}

pub(super) const TABLE: &[Property] = &[
    told("Controller", "s", |v| maybe(v.unit.runtime.kind.scope().controller.as_deref())),
    fixed("TimeoutStopUSec", "t", |v| usec(config(v).timeout_stop).into()),
    told("Result", "s", |v| text(v.unit.runtime.kind.scope().result.word())),
    fixed("RuntimeMaxUSec", "t", |v| usec(config(v).runtime_max).into()),
    fixed("RuntimeRandomizedExtraUSec", "t", |v| usec(Some(config(v).runtime_randomized_extra)).into()),
    fixed("OOMPolicy", "s", |v| text(config(v).oom_policy.unwrap_or(OomPolicy::Continue).as_str())),
];
