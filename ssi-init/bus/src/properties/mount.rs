// SPDX-License-Identifier: GPL-2.0-or-later
//! A mount: systemd.mount(5). What is mounted is what the kernel says, and what the file asks for where nothing is.

use std::sync::LazyLock;

use ssi_manager::core::mount::{self, MountCommand, MountRuntime};
use ssi_unit::config::{ManagerDefaults, MountConfig};
use zbus::zvariant::Value;

use super::service::{owner_group, owner_user};
use super::value::{maybe, text, usec};
use super::{Property, View, commands, fixed, invalidated, told};

fn config<'a>(v: &View<'a>) -> &'a MountConfig {
    static NONE: LazyLock<MountConfig> = LazyLock::new(|| MountConfig::new(&ManagerDefaults::default()));
    v.unit.config.mount().unwrap_or(&NONE)
}

fn runtime<'a>(v: &View<'a>) -> &'a MountRuntime {
    v.unit.runtime.kind.mount()
}

/// The command, once it was run: it is made when it is needed.
fn command(v: &View<'_>, which: MountCommand) -> Value<'static> {
    let ran = runtime(v).ran.iter().find(|(ran, _)| *ran == which).map(|(_, ran)| *ran);
    let line = ran.and_then(|ran| Some((mount::command_line(v.unit, which).ok()?, ran)));
    commands::plain(line.iter().map(|(line, ran)| (line, *ran)))
}

pub(super) const TABLE: &[Property] = &[
    fixed("Where", "s", |v| text(&mount::place(v.unit).unwrap_or_default())),
    told("What", "s", |v| {
        let mounted = runtime(v).in_kernel.as_ref().map(|mounted| mounted.what.as_str());
        maybe(mounted.filter(|what| !what.is_empty()).or(config(v).what.as_deref()))
    }),
    told("Options", "s", |v| {
        let mounted = runtime(v).in_kernel.as_ref().map(|mounted| mounted.options.as_str());
        maybe(mounted.filter(|options| !options.is_empty()).or(config(v).options.as_deref()))
    }),
    told("Type", "s", |v| {
        let mounted = runtime(v).in_kernel.as_ref().map(|mounted| mounted.kind.as_str());
        maybe(mounted.filter(|kind| !kind.is_empty()).or(config(v).fs_type.as_deref()))
    }),
    fixed("TimeoutUSec", "t", |v| usec(config(v).timeout).into()),
    told("ControlPID", "u", |v| runtime(v).control.map_or(0, |pid| pid.0).into()),
    fixed("DirectoryMode", "u", |v| config(v).directory_mode.into()),
    fixed("SloppyOptions", "b", |v| config(v).sloppy_options.into()),
    fixed("LazyUnmount", "b", |v| config(v).lazy_unmount.into()),
    fixed("ForceUnmount", "b", |v| config(v).force_unmount.into()),
    fixed("ReadWriteOnly", "b", |v| config(v).read_write_only.into()),
    told("Result", "s", |v| text(runtime(v).result.word())),
    told("UID", "u", owner_user),
    told("GID", "u", owner_group),
    invalidated("ExecMount", "a(sasbttttuii)", |v| command(v, MountCommand::Mount)),
    invalidated("ExecUnmount", "a(sasbttttuii)", |v| command(v, MountCommand::Unmount)),
    invalidated("ExecRemount", "a(sasbttttuii)", |v| command(v, MountCommand::Remount)),
];
