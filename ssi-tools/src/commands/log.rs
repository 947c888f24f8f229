// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi log`: the transition log, once or as it grows, and the scripts.

use std::time::Duration;

use ssi_cluster::Transition;

use crate::cli::{Log, Places};
use crate::daemon::{Daemon, Event};
use crate::logtext::{self, News, Told};
use crate::outcome::{Ending, Exit, Failure};
use crate::output::{Output, Paint, Tone};
use crate::report::{LogLine, Script};

/// How often to look although nothing was told.
const SAFETY_NET: Duration = Duration::from_secs(1);

/// How long until the next attempt to reach a daemon that went away.
const RETRY: Duration = Duration::from_millis(250);

/// Shows the log.
///
/// # Errors
/// When the daemon cannot be asked. While following, a daemon that goes away is waited for.
pub async fn run(args: &Log, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    if args.scripts {
        return show_scripts(args, &daemon, out).await;
    }
    let mut told = Told::after(args.since);
    if !args.follow {
        read_on(&daemon, &mut told, args, out).await?;
        return Ok(Exit::Done);
    }
    let mut daemon = daemon;
    loop {
        match follow(&daemon, &mut told, args, out).await {
            Err(Failure::NotAMember(why)) => out.remark(&format!("ssi: {why}; going on when ssi-clusterd is back")),
            other => return other,
        }
        daemon = loop {
            tokio::time::sleep(RETRY).await;
            if let Ok(back) = Daemon::connect(&places.socket).await {
                break back;
            }
        };
    }
}

async fn show_scripts(args: &Log, daemon: &Daemon, out: &Output) -> Ending {
    let scripts = daemon.scripts().await?;
    if args.json {
        out.json(&scripts.iter().map(Script::from).collect::<Vec<_>>())?;
    } else {
        out.text(&logtext::scripts(&scripts, out.paint))?;
    }
    Ok(Exit::Done)
}

/// Follows over one connection, until it breaks.
async fn follow(daemon: &Daemon, told: &mut Told, args: &Log, out: &Output) -> Ending {
    // First listen, then read: what comes in between is told.
    let mut events = daemon.events().await?;
    // While the connection was broken, the log may have been rewritten without our hearing of it.
    let (oldest, whole) = whole_log(daemon, told.position_to_compare()).await?;
    tell(&told.compare(oldest, whole), args, out)?;
    loop {
        read_on(daemon, told, args, out).await?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::LogRewritten(from)) => {
                    tell(&told.rewritten(from).into_iter().collect::<Vec<_>>(), args, out)?;
                }
                Some(Event::Moved | Event::View | Event::Services) => {}
                None => return Err(Failure::NotAMember("the connection to ssi-clusterd broke".into())),
            },
            () = tokio::time::sleep(SAFETY_NET) => {}
        }
    }
}

/// All entries after `since`, over as many pages as it takes, and the number of the oldest kept.
async fn whole_log(daemon: &Daemon, since: u64) -> Result<(u64, Vec<Transition>), Failure> {
    let mut whole: Vec<Transition> = Vec::new();
    let mut oldest_kept = None;
    loop {
        let (oldest, page) = daemon.transitions(whole.last().map_or(since, |t| t.id)).await?;
        let oldest = *oldest_kept.get_or_insert(oldest);
        if page.is_empty() {
            return Ok((oldest, whole));
        }
        whole.extend(page);
    }
}

/// Reads and tells what is new, page by page.
async fn read_on(daemon: &Daemon, told: &mut Told, args: &Log, out: &Output) -> Result<(), Failure> {
    loop {
        let (oldest, page) = daemon.transitions(told.position()).await?;
        let news = told.take(oldest, page);
        if news.is_empty() {
            return Ok(());
        }
        tell(&news, args, out)?;
    }
}

fn tell(news: &[News], args: &Log, out: &Output) -> Result<(), Failure> {
    for item in news {
        if args.json {
            out.json_line(&match item {
                News::Entry(t) => LogLine::from(t),
                News::NoLongerKept { first, last } => LogLine::NoLongerKept { first: *first, last: *last },
                News::Rewritten { from } => LogLine::Rewritten { from: *from },
            })?;
        } else {
            out.line(&sentence(item, args.utc, out.paint))?;
        }
    }
    Ok(())
}

fn sentence(item: &News, utc: bool, paint: Paint) -> String {
    match item {
        News::Entry(t) => logtext::line(t, utc, paint),
        News::NoLongerKept { first, last } if first == last => {
            paint.put(Tone::Quiet, &format!("-- entry {first} is no longer kept"))
        }
        News::NoLongerKept { first, last } => {
            paint.put(Tone::Quiet, &format!("-- entries {first} to {last} are no longer kept"))
        }
        News::Rewritten { from } => paint.put(
            Tone::Notice,
            &format!("-- this node was cut off: from entry {from} on, what the quorum agreed on counts instead"),
        ),
    }
}
