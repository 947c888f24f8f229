// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl foreach`: a program for each copy.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use super::{Env, Failure, Outcomes, Status};
use crate::cli::Foreach as Args;
use crate::ops::places;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let entry = env.entry(&args.path)?;
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Failure::Usage("there is no program to run".to_owned()));
    };
    let mut status = Status::Done;
    for place in places(&env.site, &entry)? {
        if !env.site.root.exists(&place).map_err(|error| Failure::Failed(error.to_string()))? {
            continue;
        }
        let copy = env.site.root.directory().join(place.relative());
        let mut words: Vec<OsString> = arguments
            .iter()
            .map(|word| if word == OsStr::new("{}") { copy.clone().into_os_string() } else { word.clone() })
            .collect();
        if !arguments.iter().any(|word| word == OsStr::new("{}")) {
            words.push(copy.clone().into_os_string());
        }
        let ended = Command::new(program)
            .args(words)
            .status()
            .map_err(|error| Failure::Failed(format!("cannot run {}: {error}", program.display())))?;
        if !ended.success() {
            eprintln!("cdsl: {}: {} ended with {ended}", copy.display(), program.display());
            status = Status::Found;
        }
    }
    Ok(status)
}
