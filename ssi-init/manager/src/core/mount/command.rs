// SPDX-License-Identifier: GPL-2.0-or-later
//! How mount(8) and umount(8) are called, and what has to be there before.

use serde::{Deserialize, Serialize};
use ssi_unit::condition::{Condition, ConditionKind};
use ssi_unit::config::MountConfig;
use ssi_unit::exec_line::ExecCommand;

use super::{forget_control, place, tool};
use crate::core::Core;
use crate::core::system::Priority;
use crate::core::unit::Unit;
use crate::graph::UnitId;

pub(super) const MOUNT: &str = "/bin/mount";
pub(super) const UMOUNT: &str = "/bin/umount";

/// `errno(3)`
const EEXIST: i32 = 17;
const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;

/// Which command of a mount runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MountCommand {
    /// `ExecMount`
    Mount,
    /// `ExecUnmount`
    Unmount,
    /// `ExecRemount`
    Remount,
}

/// Makes the directories that are wanting: the place, and what a bind mount shows there.
pub(super) fn prepare_place(core: &mut Core, id: UnitId) -> Result<(), String> {
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let (Some(mount), Some(place)) = (config.mount(), place(core.unit(id))) else { return Ok(()) };
    let is_bind = options(mount.options.as_deref()).any(|option| matches!(option, "bind" | "rbind"))
        || matches!(mount.fs_type.as_deref(), Some("bind" | "rbind"));
    let source = mount.what.as_deref().filter(|_| is_bind);
    // A file is mounted on a file, which is not for the manager to make up.
    if source.is_none_or(|source| !holds(core, ConditionKind::PathExists, source) || is_directory(core, source)) {
        match core.sys.make_directory(&place, mount.directory_mode) {
            Err(error) if error.errno == ELOOP => return Err(error.to_string()),
            Err(error) if error.errno == ENOTEMPTY => {
                core.log(Priority::Notice, id, "the directory it is mounted on holds something, which is hidden by it");
            }
            // mount(8) says what is wrong, if that is in the way.
            Err(error) => core.log(Priority::Debug, id, &error.to_string()),
            Ok(()) => {}
        }
    }
    if let Some(source) = source
        && let Err(error) = core.sys.make_directory(source, mount.directory_mode)
    {
        let expected = [EEXIST, ENOTEMPTY, ELOOP].contains(&error.errno);
        let priority = if expected { Priority::Debug } else { Priority::Warning };
        core.log(priority, id, &error.to_string());
    }
    Ok(())
}

fn holds(core: &Core, kind: ConditionKind, path: &str) -> bool {
    let condition = Condition { kind, trigger: false, negate: false, parameter: path.to_owned() };
    core.sys.evaluate(&[condition]).holds
}

fn is_directory(core: &Core, path: &str) -> bool {
    holds(core, ConditionKind::PathIsDirectory, path)
}

pub(super) fn run(core: &mut Core, id: UnitId, which: MountCommand) -> Result<(), String> {
    let command = command_line(core.unit(id), which)?;
    forget_control(core, id);
    let limit = core.unit(id).config.mount().and_then(|mount| mount.timeout);
    let pid = tool::spawn(core, id, command, limit)?;
    let runtime = core.unit_mut(id).runtime.kind.mount_mut();
    runtime.control = Some(pid);
    runtime.command = Some(which);
    let mut ran = std::mem::take(&mut runtime.ran);
    tool::began(core, &mut ran, which, pid);
    core.unit_mut(id).runtime.kind.mount_mut().ran = ran;
    Ok(())
}

/// The command that does it, as mount(8) and umount(8) have it.
///
/// # Errors
/// What is missing in the unit's file, or that there is none.
pub fn command_line(unit: &Unit, which: MountCommand) -> Result<ExecCommand, String> {
    let config = unit.config.mount().ok_or("it is no mount")?;
    let place = place(unit).ok_or("its name is too long to tell the place, and there is no Where=")?;
    let place = place.as_str();
    if which == MountCommand::Unmount {
        // -c: the place is no link, and need not be looked at: its server may be out of reach.
        let mut arguments = vec![place, "-c"];
        arguments.extend(config.lazy_unmount.then_some("-l"));
        arguments.extend(config.force_unmount.then_some("-f"));
        return Ok(tool::command(UMOUNT, arguments));
    }
    if unit.fragment.is_none() {
        return Err("there is no unit file that says what is to be mounted".to_owned());
    }
    let what = config.what.as_deref().ok_or("there is no What=")?;
    let options = match which {
        MountCommand::Remount => match config.options.as_deref() {
            Some(options) => format!("remount,{options}"),
            None => "remount".to_owned(),
        },
        _ => options_to_pass(config),
    };
    let mut arguments = vec![what, place];
    arguments.extend(config.sloppy_options.then_some("-s"));
    arguments.extend(config.read_write_only.then_some("-w"));
    arguments.extend(config.fs_type.as_deref().into_iter().flat_map(|kind| ["-t", kind]));
    if !options.is_empty() {
        arguments.extend(["-o", options.as_str()]);
    }
    Ok(tool::command(MOUNT, arguments))
}

/// The options but for those that are only for whoever reads fstab(5).
fn options_to_pass(config: &MountConfig) -> String {
    let passed: Vec<&str> = options(config.options.as_deref())
        .filter(|option| {
            let name = option.split_once('=').map_or(*option, |(name, _)| name);
            !matches!(name, "nofail" | "noauto" | "auto")
        })
        .collect();
    passed.join(",")
}

/// The options one by one. A comma behind a backslash is part of its option.
fn options(text: Option<&str>) -> impl Iterator<Item = &str> {
    let mut rest = text.filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let mut escaped = false;
        let comma = text.find(|character| {
            let separates = character == ',' && !escaped;
            escaped = character == '\\' && !escaped;
            separates
        });
        let (option, after) = comma.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        rest = after;
        Some(option)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_keep_their_commas() {
        let split = |text| options(Some(text)).collect::<Vec<_>>();
        assert_eq!(split("rw,nofail"), ["rw", "nofail"]);
        assert_eq!(split(r"lowerdir=/a\,b,ro"), [r"lowerdir=/a\,b", "ro"]);
        assert_eq!(split(r"a\\,b"), [r"a\\", "b"]);
        assert_eq!(split("a,,b"), ["a", "", "b"]);
        assert_eq!(split(""), [""; 0]);
    }
}
