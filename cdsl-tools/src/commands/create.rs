// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl create`

use rustix::fs::FileType;

use super::{Env, Failure, Outcomes, Status};
use crate::cli::Create as Args;
use crate::inventory::Mode;
use crate::layout::{self, Variable};
use crate::ops::{Create, plan_create};
use crate::path::TreePath;
use crate::tree::TreeError;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let var = Variable::parse(&args.var).map_err(|error| Failure::Usage(error.to_string()))?;
    let mode = match &args.only {
        Some(value) => Mode::Only(value.clone()),
        None if args.default => Mode::Default,
        None => Mode::Each,
    };
    let request = Create { var, mode, origin: "command".to_owned(), force: args.force };
    let mut paths = args.paths.iter().map(|path| env.path(path)).collect::<Result<Vec<_>, _>>()?;
    let lock = env.lock_unless(args.dry_run)?;
    if args.recursive {
        paths = files_below(env, &paths)?;
    }
    let steps = plan_create(&env.site, &paths, &request, &mut |path| {
        env.say(&format!("{path} is such a CDSL already"));
    })?;
    let outcome = env.carry_out(lock.as_ref(), &steps)?;
    if outcome.changed.len() == 1 || !args.recursive {
        for path in &outcome.changed {
            env.say(&format!("{path} is node-specific now"));
        }
    } else {
        env.say(&format!("{} files are node-specific now", outcome.changed.len()));
    }
    if let Mode::Only(value) = &request.mode
        && !outcome.changed.is_empty()
    {
        env.say(&format!("only {{{}}} {value} has something there; for the others the path is missing", request.var));
    }
    Ok(Status::Done)
}

/// The files below directories, in order; what is a CDSL already, or in another file system of the kernel's, is not
/// gone into.
fn files_below(env: &Env, paths: &[TreePath]) -> Result<Vec<TreePath>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let root = &env.site.root;
        let fail = |error: std::io::Error| TreeError::new("look at", root.shown(path), error);
        let path = root.canonical(path).map_err(fail)?;
        let stat = root.lstat(&path).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            files.push(path);
            continue;
        }
        for found in crate::treewalk::TreeWalk::below(root, &path) {
            let found = found?;
            match found.kind {
                FileType::Directory => {}
                FileType::Socket => env.say(&format!("{} is a socket and stays shared", found.path)),
                FileType::Symlink => {
                    // What is a CDSL already is left as it is, whichever it is.
                    let text = root.readlink(&found.path).map_err(fail)?;
                    if text.is_none_or(|text| layout::parse_link(&text).is_none()) {
                        files.push(found.path);
                    }
                }
                _ => files.push(found.path),
            }
        }
    }
    Ok(files)
}
