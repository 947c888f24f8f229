// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl apply`

use std::collections::BTreeSet;
use std::ffi::OsStr;

use ssi_cluster::Context;

use super::{Env, Failure, Outcomes, Status, tell};
use crate::check::listed::{Verdict, verdict};
use crate::check::{entries_of, standing};
use crate::cli::Apply as Args;
use crate::content;
use crate::inventory::{Entry, Mode};
use crate::layout::{self, Variable};
use crate::lists::{Content, ListError, Lists, Wanted};
use crate::ops::{Create, Source, Step, plan_create};
use crate::path::TreePath;
use crate::tree::{Attic, TreeError};

impl From<ListError> for Failure {
    fn from(error: ListError) -> Self {
        Failure::Failed(error.to_string())
    }
}

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let lists = Lists::read(&env.site.root)?;
    if args.show {
        show(&lists);
        return Ok(Status::Done);
    }
    if lists.is_empty() {
        env.say("no list asks for anything: there is none in /usr/lib/ssi/cdsl.d or /etc/ssi/cdsl.d");
        return Ok(Status::Done);
    }
    let lock = env.lock_unless(args.dry_run)?;
    let root = &env.site.root;
    let staging = content::staging();
    let stale = root.exists(&staging).map_err(|error| TreeError::new("look at", root.shown(&staging), error))?;
    if stale && !args.dry_run {
        remove(env, &staging)?;
    }
    let paths: BTreeSet<TreePath> = lists.wanted().map(|wanted| wanted.path.clone()).collect();
    let made = entries_of(root, &paths)?;
    let mut steps = Vec::new();
    let mut refused = 0;
    let mut said_other = 0;
    for (number, wanted) in lists.wanted().enumerate() {
        let entry = made.get(&wanted.path);
        let anew = match verdict(wanted, entry, &standing(root, &wanted.path)?) {
            Verdict::Fine => {
                if let Some(entry) = entry.filter(|entry| !entry.kept) {
                    fill_in(env, wanted, entry, args.dry_run)?;
                }
                continue;
            }
            Verdict::Otherwise(how) | Verdict::OtherKind(how) => {
                eprintln!("cdsl: {} {how}, and stays so ({})", wanted.path, wanted.said);
                said_other += 1;
                continue;
            }
            Verdict::Make => false,
            Verdict::MakeAnew => true,
        };
        if anew {
            if args.dry_run {
                tell(&format!("make {} and make it node-specific", root.shown(&wanted.path)));
                continue;
            }
            let contexts = env.site.contexts()?;
            let own = env.site.node_if_known().and_then(|node| contexts.get(&node));
            content::make_anew(root, wanted.kind, &wanted.content, own, &wanted.path)?;
        }
        match plan(env, wanted, number, args) {
            Ok(mut planned) => steps.append(&mut planned),
            Err(Failure::Refused(why)) => {
                eprintln!("cdsl: {why} ({})", wanted.said);
                refused += 1;
            }
            Err(other) => return Err(other),
        }
    }
    let done = env.carry_out(lock.as_ref(), &steps);
    if done.is_ok() && !args.dry_run {
        templates(env, &steps)?;
    }
    if !args.dry_run && root.exists(&staging).unwrap_or(false) {
        remove(env, &staging)?;
    }
    for path in &done?.changed {
        if let Some(wanted) = lists.wants(path) {
            env.say(&format!("{path} is node-specific now: {}", wanted.reason));
        }
    }
    if refused > 0 {
        return Err(Failure::Refused(format!("{refused} paths were refused, for the reasons above")));
    }
    Ok(if said_other > 0 { Status::Found } else { Status::Done })
}

fn show(lists: &Lists) {
    for wanted in lists.wanted() {
        let how = match (&wanted.mode, &wanted.content) {
            (Mode::Default, _) => "shared until a node is given its own",
            (_, Content::Copy) => "each its own, the others get a copy",
            (_, Content::Empty) => "each its own, the others begin with nothing in it",
            (_, Content::Skeleton) => "each its own, the others get the directories in it",
            (_, Content::Text(_)) => "each its own, with a text of its own",
        };
        let when = if wanted.optional { "; where it is there" } else { "" };
        tell(&format!("{}  {{{}}}  {how}{when}", wanted.path, wanted.var));
        tell(&format!("    {} ({})", wanted.reason, wanted.said));
    }
}

/// The steps for one path; what the others get instead of copies is made, to be copied from there. In a dry run nothing
/// is made.
fn plan(env: &Env, wanted: &Wanted, number: usize, args: &Args) -> Result<Vec<Step>, Failure> {
    let request = Create {
        var: wanted.var.clone(),
        mode: wanted.mode.clone(),
        origin: wanted.said.list.clone(),
        force: args.force,
    };
    let root = &env.site.root;
    let mut steps = plan_create(&env.site, std::slice::from_ref(&wanted.path), &request, &mut |_| {})?;
    if wanted.content == Content::Copy {
        return Ok(steps);
    }
    let contexts = env.site.contexts()?;
    for step in &mut steps {
        for (place, made) in step.made.iter_mut().enumerate() {
            let Source::Copy(original) = &made.from else { continue };
            let context = contexts.values().find(|context| is_for(context, &wanted.var, &step.entry.path, &made.at));
            if args.dry_run {
                tell(&format!("make {} {}", root.shown(&made.at), in_words(&wanted.content, context)));
                continue;
            }
            let staged = content::staging().join(OsStr::new(&format!("{number}-{place}"))).join(step.entry.path.name());
            content::make(root, &wanted.content, original, context, &staged)?;
            made.from = Source::Copy(staged);
        }
        if args.dry_run {
            step.made.retain(|made| !matches!(made.from, Source::Copy(_)));
            continue;
        }
        if step.home == layout::template_of(&step.entry.path) {
            content::make(root, &wanted.content, &step.entry.path, None, &for_template(&step.entry.path))?;
        }
    }
    Ok(steps)
}

/// What somebody gets in place of a copy.
fn in_words(content: &Content, context: Option<&Context>) -> String {
    match content {
        Content::Copy => "as a copy".to_owned(),
        Content::Empty => "with nothing in it".to_owned(),
        Content::Skeleton => "with the directories in it and no files".to_owned(),
        Content::Text(text) => {
            format!("with the text {:?}", String::from_utf8_lossy(&content::expand(text, context)))
        }
    }
}

/// Where that is made which the template gets in place of the original.
fn for_template(path: &TreePath) -> TreePath {
    path.below(&content::staging().join(OsStr::new("template")))
}

/// Where nobody is this node, as in an image, the original has become the template. A node that is added later is not to
/// get its machine id: the template gets what the nodes got, and the original goes to the attic.
fn templates(env: &Env, steps: &[Step]) -> Result<(), Failure> {
    let root = &env.site.root;
    let mut attic = Attic::new(&crate::ops::batch_id());
    for step in steps {
        let (made, template) = (for_template(&step.entry.path), layout::template_of(&step.entry.path));
        let failed = |error: std::io::Error| TreeError::new("look at", root.shown(&made), error);
        if !root.exists(&made).map_err(failed)? {
            continue;
        }
        attic.put(root, &template)?;
        let at = root.make_place(&template, None)?;
        root.place(&made).map_err(failed)?.move_to(&at)?;
        at.sync()?;
    }
    env.tell_attic(&attic.put);
    Ok(())
}

/// Whether a place is the copy of those with this context.
fn is_for(context: &Context, variable: &Variable, path: &TreePath, place: &TreePath) -> bool {
    context.get(variable.as_str()).is_some_and(|value| layout::copy_of(variable, value, path) == *place)
}

/// Fills in texts in copies that were made from the template since: a node was added.
fn fill_in(env: &Env, wanted: &Wanted, entry: &Entry, dry_run: bool) -> Result<(), Failure> {
    let root = &env.site.root;
    if !matches!(wanted.content, Content::Text(_)) {
        return Ok(());
    }
    for context in env.site.contexts()?.values() {
        let Some(value) = context.get(entry.var.as_str()) else { continue };
        let copy = layout::copy_of(&entry.var, value, &entry.path);
        if !dry_run && content::fill(root, &wanted.content, context, &copy)? {
            env.say(&format!("{} has its text now", root.shown(&copy)));
        }
    }
    Ok(())
}

fn remove(env: &Env, path: &TreePath) -> Result<(), Failure> {
    let root = &env.site.root;
    let place = root.place(path).map_err(|error| TreeError::new("remove", root.shown(path), error))?;
    Ok(place.remove_all()?)
}
