// SPDX-License-Identifier: GPL-2.0-or-later
//! Swap space: systemd.swap(5).

use std::sync::LazyLock;

use ssi_manager::core::swap::{self, SwapCommand, SwapRuntime};
use ssi_unit::config::{ManagerDefaults, SwapConfig};
use zbus::zvariant::Value;

use super::service::{owner_group, owner_user};
use super::value::{maybe, text, usec};
use super::{Property, View, commands, fixed, invalidated, told};

fn config<'a>(v: &View<'a>) -> &'a SwapConfig {
    static NONE: LazyLock<SwapConfig> = LazyLock::new(|| SwapConfig::new(&ManagerDefaults::default()));
    v.unit.config.swap().unwrap_or(&NONE)
}

fn runtime<'a>(v: &View<'a>) -> &'a SwapRuntime {
    v.unit.runtime.kind.swap()
}

/// The command, once it was run: it is made when it is needed.
fn command(v: &View<'_>, which: SwapCommand) -> Value<'static> {
    let ran = runtime(v).ran.iter().find(|(ran, _)| *ran == which).map(|(_, ran)| *ran);
    let line = ran.and_then(|ran| Some((swap::command_line(v.unit, which).ok()?, ran)));
    commands::plain(line.iter().map(|(line, ran)| (line, *ran)))
}

pub(super) const TABLE: &[Property] = &[
    told("What", "s", |v| text(&swap::what(v.unit).unwrap_or_default())),
    told("Priority", "i", |v| {
        let in_use = runtime(v).in_kernel.as_ref().map(|in_use| in_use.priority);
        // A unit's own file says what is asked for; without one, the kernel what is.
        let told = if v.unit.fragment.is_some() { config(v).priority } else { in_use };
        told.unwrap_or(-1).into()
    }),
    told("Options", "s", |v| maybe(config(v).options.as_deref())),
    fixed("TimeoutUSec", "t", |v| usec(config(v).timeout).into()),
    told("ControlPID", "u", |v| runtime(v).control.map_or(0, |pid| pid.0).into()),
    told("Result", "s", |v| text(runtime(v).result.word())),
    told("UID", "u", owner_user),
    told("GID", "u", owner_group),
    invalidated("ExecActivate", "a(sasbttttuii)", |v| command(v, SwapCommand::Activate)),
    invalidated("ExecDeactivate", "a(sasbttttuii)", |v| command(v, SwapCommand::Deactivate)),
];
