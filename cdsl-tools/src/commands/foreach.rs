// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl foreach`: a program for each copy.
//!
//! The program finds in its environment whose copy it has: in `CDSL_VALUE` the variable's value (a node's number, for
//! most) or `template`, in `CDSL_PATH` the path that all of them are copies for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use super::{Env, Failure, Outcomes, Status, copies};
use crate::cli::Foreach as Args;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let entry = env.entry(&args.path)?;
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Failure::Usage("there is no program to run".to_owned()));
    };
    let place = OsStr::new("{}");
    let mut status = Status::Done;
    for copy in copies::all(env, &entry)? {
        let file = copy.file(env).into_os_string();
        let put = |word: &OsString| if word == place { file.clone() } else { word.clone() };
        let mut words: Vec<OsString> = arguments.iter().map(put).collect();
        if !arguments.iter().any(|word| word == place) {
            words.push(file.clone());
        }
        let ended = Command::new(program)
            .args(words)
            .env("CDSL_VALUE", &copy.whose)
            .env("CDSL_PATH", OsStr::from_bytes(entry.path.as_bytes()))
            .status()
            .map_err(|error| Failure::Failed(format!("cannot run {}: {error}", program.display())))?;
        if !ended.success() {
            eprintln!("cdsl: {}: {} ended with {ended}", env.site.root.shown(&copy.at), program.display());
            status = Status::Found;
        }
    }
    Ok(status)
}
