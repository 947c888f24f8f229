// SPDX-License-Identifier: GPL-2.0-or-later
//! Resource limits: `LimitNOFILE` and `LimitNOFILESoft` are two properties of the type `t`, and halves of one setting.

use ssi_unit::config::exec::Resource;
use zbus::zvariant::{OwnedValue, Value};

use super::form::{Lines, figure, one};
use super::{Refusal, wrong_type};

/// The setting, and whether the property is but its soft half; `None`: it is no limit.
pub(super) fn of(name: &str) -> Option<(&str, bool)> {
    let (key, soft) = name.strip_suffix("Soft").map_or((name, false), |key| (key, true));
    Resource::from_word(key.strip_prefix("Limit")?).map(|_| (key, soft))
}

fn figure_of(key: &str, value: &Value<'_>) -> Result<String, Refusal> {
    let Value::U64(number) = value else { return Err(wrong_type(value, &["t"])) };
    // Where a number alone would be of another unit.
    Ok(figure(*number, if key == "LimitRTTIME" { "us" } else { "" }))
}

/// The line of a limit; its other half is among the rest of the properties, or the same. The soft half has none of its
/// own if it is.
pub(super) fn lines(name: &str, value: &Value<'_>, all: &[(String, OwnedValue)]) -> Lines {
    let Some((key, is_soft)) = of(name) else { return Err(Refusal::Unknown) };
    let other = |name: &str| all.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value);
    let own = figure_of(key, value)?;
    if is_soft {
        return if other(key).is_some() { Ok(Vec::new()) } else { one(key, own) };
    }
    match other(&format!("{key}Soft")) {
        Some(soft) => one(key, format!("{}:{own}", figure_of(key, soft)?)),
        None => one(key, own),
    }
}
