// SPDX-License-Identifier: GPL-2.0-or-later
//! Command lines with how they were last run: the properties `ExecStart` and its kin.

use ssi_manager::core::service::Ran;
use ssi_unit::exec_line::{ExecCommand, Privilege};
use zbus::zvariant::Value;

use super::value::ended;

/// `(sasbttttuii)`: program, arguments, whether a failure is ignored, start and end by the time of day and the clock that
/// does not jump, process, how it ended.
type Row = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
/// `(sasasttttuii)`: the same with all prefixes, as words.
type RowEx = (String, Vec<String>, Vec<&'static str>, u64, u64, u64, u64, u32, i32, i32);

fn arguments(command: &ExecCommand) -> Vec<String> {
    command.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn words(command: &ExecCommand) -> Vec<&'static str> {
    let all = [
        (command.ignore_failure, "ignore-failure"),
        (command.privilege == Privilege::Full, "privileged"),
        (command.privilege == Privilege::KeepUser, "no-setuid"),
        (command.privilege == Privilege::AmbientOrKeepUser, "ambient"),
        (command.no_variables, "no-env-expand"),
    ];
    all.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect()
}

/// A list of commands, each with its last run.
pub(super) fn plain<'a>(commands: impl Iterator<Item = (&'a ExecCommand, Ran)>) -> Value<'static> {
    let row = |(command, ran): (&ExecCommand, Ran)| -> Row {
        let (code, status) = ended(ran.exit);
        (
            command.program.clone(),
            arguments(command),
            command.ignore_failure,
            ran.start.realtime,
            ran.start.monotonic,
            ran.end.realtime,
            ran.end.monotonic,
            ran.pid.map_or(0, |pid| pid.0),
            code,
            status,
        )
    };
    Value::from(commands.map(row).collect::<Vec<Row>>())
}

/// As [`plain`], with all prefixes.
pub(super) fn with_prefixes<'a>(commands: impl Iterator<Item = (&'a ExecCommand, Ran)>) -> Value<'static> {
    let row = |(command, ran): (&ExecCommand, Ran)| -> RowEx {
        let (code, status) = ended(ran.exit);
        (
            command.program.clone(),
            arguments(command),
            words(command),
            ran.start.realtime,
            ran.start.monotonic,
            ran.end.realtime,
            ran.end.monotonic,
            ran.pid.map_or(0, |pid| pid.0),
            code,
            status,
        )
    };
    Value::from(commands.map(row).collect::<Vec<RowEx>>())
}
