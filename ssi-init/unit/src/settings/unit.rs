// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Unit]`: systemd.unit(5).

use super::{Outcome, Problem, Reader, Table, value};
use crate::condition::{Condition, ConditionKind};
use crate::config::WarningKind;
use crate::config::unit::{CollectMode, EmergencyAction, JobMode, UnitSection};
use crate::dependency::Dependency;
use crate::name::UnitName;
use crate::words::Rules;

/// The keys of `[Unit]`, but for dependencies, conditions and asserts.
const UNIT: Table<UnitSection> = &[
    ("Description", |unit, value, reader| reader.set_text(&mut unit.description, value)),
    ("Documentation", |unit, value, reader| {
        // Specifiers may stand for several words, or none.
        let expanded = reader.text(value)?;
        if expanded.is_empty() != value.is_empty() {
            return Ok(());
        }
        reader.extend(&mut unit.documentation, &expanded, Rules::QUOTED, |reader, word| {
            if value::is_documentation(word) {
                Ok(word.to_owned())
            } else {
                Err(reader.bad(word, "a URI of documentation"))
            }
        })
    }),
    ("SourcePath", |unit, value, reader| reader.set_path(&mut unit.source_path, value)),
    ("RequiresMountsFor", |unit, value, reader| mounts(&mut unit.requires_mounts_for, value, reader)),
    ("WantsMountsFor", |unit, value, reader| mounts(&mut unit.wants_mounts_for, value, reader)),
    ("StopWhenUnneeded", |unit, value, reader| reader.set_bool(&mut unit.stop_when_unneeded, value)),
    ("RefuseManualStart", |unit, value, reader| reader.set_bool(&mut unit.refuse_manual_start, value)),
    ("RefuseManualStop", |unit, value, reader| reader.set_bool(&mut unit.refuse_manual_stop, value)),
    ("AllowIsolate", |unit, value, reader| reader.set_bool(&mut unit.allow_isolate, value)),
    ("DefaultDependencies", |unit, value, reader| reader.set_bool(&mut unit.default_dependencies, value)),
    ("IgnoreOnIsolate", |unit, value, reader| reader.set_bool(&mut unit.ignore_on_isolate, value)),
    ("IgnoreOnSnapshot", |_, _, reader| {
        reader.obsolete("has no effect any more");
        Ok(())
    }),
    ("OnSuccessJobMode", |unit, value, reader| {
        reader.set_word(&mut unit.on_success_job_mode, value, JobMode::from_word)
    }),
    ("OnFailureJobMode", |unit, value, reader| {
        reader.set_word(&mut unit.on_failure_job_mode, value, JobMode::from_word)
    }),
    ("OnFailureIsolate", |unit, value, reader| {
        let mut isolate = false;
        reader.set_bool(&mut isolate, value)?;
        unit.on_failure_job_mode = if isolate { JobMode::Isolate } else { JobMode::Replace };
        reader.obsolete("is an old name; write OnFailureJobMode=isolate");
        Ok(())
    }),
    ("JobTimeoutSec", |unit, value, reader| {
        reader.set_timeout(&mut unit.job_timeout, value)?;
        // This one is older, and bounded both times before the other came.
        if !unit.job_running_timeout_told {
            unit.job_running_timeout = unit.job_timeout;
        }
        Ok(())
    }),
    ("JobRunningTimeoutSec", |unit, value, reader| {
        reader.set_timeout(&mut unit.job_running_timeout, value)?;
        unit.job_running_timeout_told = true;
        Ok(())
    }),
    ("JobTimeoutAction", |unit, value, reader| set_action(&mut unit.job_timeout_action, value, reader)),
    ("JobTimeoutRebootArgument", |unit, value, reader| {
        set_reboot_argument(&mut unit.job_timeout_reboot_argument, value, reader)
    }),
    ("StartLimitIntervalSec", |unit, value, reader| reader.set_span(&mut unit.start_limit_interval, value)),
    ("StartLimitInterval", |unit, value, reader| reader.set_span(&mut unit.start_limit_interval, value)),
    ("StartLimitBurst", |unit, value, reader| reader.set_unsigned(&mut unit.start_limit_burst, value)),
    ("StartLimitAction", |unit, value, reader| set_action(&mut unit.start_limit_action, value, reader)),
    ("FailureAction", |unit, value, reader| set_action(&mut unit.failure_action, value, reader)),
    ("SuccessAction", |unit, value, reader| set_action(&mut unit.success_action, value, reader)),
    ("FailureActionExitStatus", |unit, value, reader| {
        set_exit_status(&mut unit.failure_action_exit_status, value, reader)
    }),
    ("SuccessActionExitStatus", |unit, value, reader| {
        set_exit_status(&mut unit.success_action_exit_status, value, reader)
    }),
    ("RebootArgument", |unit, value, reader| set_reboot_argument(&mut unit.reboot_argument, value, reader)),
    ("CollectMode", |unit, value, reader| reader.set_word(&mut unit.collect_mode, value, CollectMode::from_word)),
];

/// The keys of dependencies; the old names among them, too.
const DEPENDENCIES: [&str; 21] = [
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "BindTo",
    "Upholds",
    "Conflicts",
    "Before",
    "After",
    "OnSuccess",
    "OnFailure",
    "PropagatesReloadTo",
    "PropagateReloadTo",
    "ReloadPropagatedFrom",
    "PropagateReloadFrom",
    "PropagatesStopTo",
    "StopPropagatedFrom",
    "PartOf",
    "JoinsNamespaceOf",
    "RequiresOverridable",
    "RequisiteOverridable",
];

/// Every key of `[Unit]`, but for conditions and asserts.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    UNIT.iter().map(|(key, _)| *key).chain(DEPENDENCIES)
}

/// Applies one assignment of `[Unit]`; `None` for a key nobody knows.
pub(super) fn apply(unit: &mut UnitSection, reader: &mut Reader<'_>) -> Option<Outcome> {
    super::look_up(UNIT, unit, reader).or_else(|| dependency(unit, reader)).or_else(|| condition(unit, reader))
}

/// `After=a.service b.service` and its kin. Lists of dependencies only grow: an empty value takes nothing back.
fn dependency(unit: &mut UnitSection, reader: &mut Reader<'_>) -> Option<Outcome> {
    let kind = Dependency::from_setting(reader.key())?;
    let value = reader.assignment.value.clone();
    if reader.key().ends_with("Overridable") {
        reader.obsolete("is an old name; write it without Overridable");
    }
    for word in reader.words(&value, BARE_NAMES) {
        match reader.other_unit(&word) {
            Ok(name) if is_endless(reader, &name, &word) => {
                reader.say(WarningKind::Note, format!("{}={word} would go on without end, ignoring", reader.key()));
            }
            Ok(name) => unit.dependencies.push((kind, name)),
            Err(Problem::Ignored(text)) => reader.skip(text),
            Err(fatal) => return Some(Err(fatal)),
        }
    }
    Some(Ok(()))
}

/// Whether an instance that depends like this on another instance of its own template would make ever more of them:
/// the other's instance holds the one's.
fn is_endless(reader: &Reader<'_>, name: &UnitName, word: &str) -> bool {
    let own = reader.specifiers.name;
    let Some((_, instance)) = word.split_once('@') else { return false };
    let holds = ["%i", "%I", "%n", "%N"].iter().any(|specifier| instance.contains(specifier));
    // A text that is nothing but the instance gives the unit itself, not another one.
    let itself = name == own;
    name.is_instance() && name.template() == own.template() && holds && !itself
}

/// Words between blanks; a quote is an ordinary character and so is a backslash, which names hold for their escapes.
const BARE_NAMES: Rules = Rules::PLAIN;

/// An action on the whole machine.
pub(super) fn set_action(slot: &mut EmergencyAction, value: &str, reader: &Reader<'_>) -> Outcome {
    reader.set_word(slot, value, EmergencyAction::from_word)
}

/// What the kernel, or the program it loads, is handed at a reboot: ASCII.
pub(super) fn set_reboot_argument(slot: &mut Option<String>, value: &str, reader: &Reader<'_>) -> Outcome {
    let mut argument = None;
    reader.set_text(&mut argument, value)?;
    if argument.as_ref().is_some_and(|argument| !argument.is_ascii() || argument.len() > 255) {
        return Err(reader.bad(value, "at most 255 characters of ASCII"));
    }
    *slot = argument;
    Ok(())
}

/// An exit status of the manager.
fn set_exit_status(slot: &mut Option<u8>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let status = value::unsigned(value).and_then(|status| u8::try_from(status).ok());
    *slot = Some(status.ok_or_else(|| reader.bad(value, "a number from 0 to 255"))?);
    Ok(())
}

/// Paths whose mounts are needed. These lists only grow, as those of dependencies.
fn mounts(list: &mut Vec<String>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        return Ok(());
    }
    reader.extend(list, value, Rules::QUOTED, |reader, word| reader.path(word))
}

/// `ConditionPathExists=` and `AssertPathExists=` and their kin.
fn condition(unit: &mut UnitSection, reader: &mut Reader<'_>) -> Option<Outcome> {
    let (kind, is_assert) = ConditionKind::from_setting(reader.key())?;
    let list = if is_assert { &mut unit.asserts } else { &mut unit.conditions };
    Some(match Condition::parse(kind, &reader.assignment.value, reader.specifiers) {
        Ok(Some(condition)) if kind.takes_path() && !value::is_normal_path(&condition.parameter) => {
            Err(reader.bad(&condition.parameter, "a path without \"..\" that the kernel would take"))
        }
        Ok(Some(condition)) => {
            list.push(condition);
            Ok(())
        }
        // An empty value takes back those of every kind.
        Ok(None) => {
            list.clear();
            Ok(())
        }
        Err(error) => Err(format!("{}={}: {error}, ignoring", reader.key(), reader.assignment.value).into()),
    })
}
