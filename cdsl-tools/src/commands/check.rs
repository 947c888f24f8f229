// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl check`

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::list::path_json;
use super::{Env, Failure, Outcomes, Status, tell};
use crate::check::finding::Finding;
use crate::check::rebuild::rebuild;
use crate::check::repair::{Repaired, repair};
use crate::check::{self, CheckError};
use crate::cli::Check as Args;
use crate::inventory::Entry;
use crate::ops::OpError;
use crate::packages::{self, PackagesError, Settled, dpkg, rpm};
use crate::path::TreePath;

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Op(OpError::Refused(why)) => Failure::Refused(why),
            other => Failure::Failed(other.to_string()),
        }
    }
}

impl From<PackagesError> for Failure {
    fn from(error: PackagesError) -> Self {
        match error {
            PackagesError::Check(error) => error.into(),
            PackagesError::Refused(why) => Failure::Refused(why),
            other => Failure::Failed(other.to_string()),
        }
    }
}

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    if args.packages {
        return of_packages(env, args);
    }
    if args.rebuild {
        return make_anew(env);
    }
    let lock = if args.repair { Some(env.lock()?) } else { None };
    let mut findings = Vec::new();
    let mut count = 0;
    let bar = spinner(env, "compared");
    let looked = check::check(&env.site, args.repair, &bar, &mut notice, &mut |finding| {
        count += 1;
        if args.repair {
            findings.push(finding);
        } else {
            bar.suspend(|| print(args, &finding, None));
        }
    });
    bar.finish_and_clear();
    let looked = looked?;
    tell_unread(env, &looked.unread);
    if let Some(lock) = lock {
        let bar = env.bar(findings.len()).unwrap_or_else(ProgressBar::hidden);
        let repaired = repair(&env.site, &lock, findings, &mut |_| bar.inc(1));
        bar.finish_and_clear();
        let repaired = repaired?;
        print_repaired(env, args, &repaired);
        env.say(&format!("{} mended, {} left as they are", repaired.mended.len(), repaired.left.len()));
        return Ok(if repaired.left.is_empty() { Status::Done } else { Status::Found });
    }
    if count == 0 {
        env.say_beside(args.json, &format!("{} CDSLs, all as they should be", looked.entries));
        return Ok(Status::Done);
    }
    env.say_beside(args.json, &format!("{} CDSLs, {count} things are not as they should be", looked.entries));
    Ok(Status::Found)
}

impl Env {
    /// Tells something, but not in the middle of data.
    fn say_beside(&self, data: bool, line: &str) {
        if !data {
            self.say(line);
        }
    }
}

fn notice(line: &str) {
    eprintln!("cdsl: {line}");
}

/// A sign of life for work of which nobody knows how much it is, where somebody looks.
fn spinner(env: &Env, what: &'static str) -> ProgressBar {
    if env.global.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = indicatif::ProgressStyle::with_template("{spinner} {human_pos} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn tell_unread(env: &Env, unread: &[TreePath]) {
    if let Some(first) = unread.first() {
        let more = if unread.len() > 1 { format!(" and {} others", unread.len() - 1) } else { String::new() };
        eprintln!(
            "cdsl: {}{more} may not be read by this user, and what is in there was not compared: run it as root",
            env.site.root.shown(first)
        );
    }
}

/// A finding, and how it was mended.
fn print(args: &Args, finding: &Finding, mended: Option<&str>) {
    if args.json {
        let line = json!({
            "finding": finding.word(),
            "path": path_json(finding.path().as_bytes()),
            "whose": finding.whose().map(ToString::to_string),
            "what": finding.to_string(),
            "cure": finding.cure(),
            "mended": mended,
        });
        return tell(&line.to_string());
    }
    tell(&finding.to_string());
    match mended {
        Some(how) => tell(&format!("    mended: {how}")),
        None => tell(&format!("    {}", finding.cure())),
    }
}

fn print_repaired(env: &Env, args: &Args, repaired: &Repaired) {
    for (finding, how) in &repaired.mended {
        if !env.global.quiet || args.json {
            print(args, finding, Some(how));
        }
    }
    for finding in &repaired.left {
        print(args, finding, None);
    }
    env.tell_attic(&repaired.attic);
}

fn make_anew(env: &Env) -> Outcomes {
    let lock = env.lock()?;
    let bar = spinner(env, "gone through");
    let rebuilt = rebuild(&env.site, &lock, &bar, &mut notice);
    bar.finish_and_clear();
    let rebuilt = rebuilt?;
    tell_unread(env, &rebuilt.unread);
    for path in &rebuilt.leading_nowhere {
        eprintln!("cdsl: {path} leads to no copy on any node, and is not in the inventory");
    }
    if let Some(old) = &rebuilt.old {
        env.say(&format!("the old inventory is {} now", env.site.root.shown(old)));
    }
    env.say(&format!("the inventory has {} entries", rebuilt.entries));
    Ok(if rebuilt.leading_nowhere.is_empty() { Status::Done } else { Status::Found })
}

/// What the hooks of dpkg and rpm call.
fn of_packages(env: &Env, args: &Args) -> Outcomes {
    let site = &env.site;
    if args.forget {
        if dpkg::is_used(&site.root) {
            tell_settled(env, &dpkg::undivert(&site.root)?);
        }
        return Ok(Status::Done);
    }
    // The hooks run on every machine that has this package, also where nothing is node-specific yet.
    let entries = packages::entries(site)?;
    if !dpkg::is_used(&site.root) && entries.is_empty() {
        return Ok(Status::Done);
    }
    if args.before {
        let _lock = env.lock()?;
        if dpkg::is_used(&site.root) {
            tell_settled(env, &dpkg::before(site, &entries)?);
        }
        return Ok(Status::Done);
    }
    let mut findings = Vec::new();
    if !args.repair {
        packages::look(&site.root, &entries, &mut |finding| findings.push(finding))?;
        for finding in &findings {
            print(args, finding, None);
        }
        return Ok(if findings.is_empty() { Status::Done } else { Status::Found });
    }
    if entries.is_empty() {
        return Ok(Status::Done);
    }
    let lock = env.lock()?;
    packages::look(&site.root, &entries, &mut |finding| findings.push(finding))?;
    let (beside, replaced): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| matches!(finding, Finding::LeftBeside { .. }));
    let repaired = repair(site, &lock, replaced, &mut |_| {})?;
    print_repaired(env, args, &repaired);
    let entries: Vec<Entry> = packages::entries(site)?;
    if dpkg::is_used(&site.root) {
        tell_settled(env, &dpkg::after(site, &entries, &beside)?);
    }
    if rpm::is_used(&site.root) {
        tell_settled(env, &rpm::after(site, &entries, &beside)?);
    }
    Ok(if repaired.left.is_empty() { Status::Done } else { Status::Found })
}

fn tell_settled(env: &Env, settled: &Settled) {
    for line in &settled.lines {
        env.say(line);
    }
    env.tell_attic(&settled.attic);
}
