// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi wait`: until nodes are up, one is in a state, or there is quorum.

use std::sync::Mutex;
use std::time::Duration;

use crate::cli::{Places, Wait};
use crate::daemon::{Daemon, Picture};
use crate::figures;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;

/// How often to look although nothing was told: a signal can be lost, a second cannot.
const SAFETY_NET: Duration = Duration::from_secs(1);

/// How long until the next attempt to reach a daemon that is not there.
const RETRY: Duration = Duration::from_millis(250);

/// Waits for what was asked for.
///
/// # Errors
/// When the time is up; the sentence says what is missing.
pub async fn run(args: &Wait, places: &Places, _out: &Output) -> Ending {
    // Not held over a wait: written by the search, read once its time is up.
    let missing = Mutex::new("ssi-clusterd was not reached".to_owned());
    let search = until_met(args, places, &missing);
    match args.timeout {
        None => search.await,
        Some(time) => {
            if tokio::time::timeout(time, search).await.is_err() {
                let missing = missing.lock().map(|m| m.clone()).unwrap_or_default();
                let shown = match time.as_millis() {
                    ms if ms % 1000 != 0 => format!("{ms} ms"),
                    _ => figures::span(time.as_secs()),
                };
                return Err(Failure::failed(format!("gave up after {shown}: {missing}")));
            }
        }
    }
    Ok(Exit::Done)
}

async fn until_met(args: &Wait, places: &Places, missing: &Mutex<String>) {
    let note = |what: String| {
        if let Ok(mut missing) = missing.lock() {
            *missing = what;
        }
    };
    loop {
        match watch(args, places, &note).await {
            Ok(()) => return,
            Err(failure) => note(failure.to_string()),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Watches over one connection: `Ok` when all is as wished.
async fn watch(args: &Wait, places: &Places, note: &impl Fn(String)) -> Result<(), Failure> {
    let daemon = Daemon::connect(&places.socket).await?;
    // First listen, then look: what changes in between is told.
    let mut events = daemon.events().await?;
    loop {
        match lacking(args, &daemon.picture().await?) {
            None => return Ok(()),
            Some(what) => note(what),
        }
        tokio::select! {
            event = events.recv() => if event.is_none() {
                return Err(Failure::NotAMember("the connection to ssi-clusterd broke".into()));
            },
            () = tokio::time::sleep(SAFETY_NET) => {}
        }
    }
}

/// What is still lacking, in a sentence; `None` when nothing is.
pub fn lacking(args: &Wait, picture: &Picture) -> Option<String> {
    let mut lacks = Vec::new();
    if let Some(wanted) = args.up {
        let up: Vec<String> = picture.up().map(|n| n.id.to_string()).collect();
        if (up.len() as u64) < u64::from(wanted) {
            let which = if up.is_empty() { String::new() } else { format!(" (node {})", up.join(", ")) };
            lacks.push(format!("{} of {wanted} nodes are UP{which}", up.len()));
        }
    }
    if let Some(wanted) = &args.node {
        match picture.find(wanted) {
            None => lacks.push(format!("there is no node '{wanted}' in cluster.toml")),
            Some(n) if n.node_state() != Some(args.state) => {
                lacks.push(format!("node {} ({}) is {}, not {}", n.id, n.name, n.state, args.state));
            }
            Some(_) => {}
        }
    }
    if args.quorum && !picture.quorate {
        lacks.push("there is no quorum".to_owned());
    }
    // States are agreed ones only where this node is in step with the others.
    if lacks.is_empty() && (args.up.is_some() || args.node.is_some()) && !picture.synced {
        lacks.push("this node is not in step with the cluster yet".to_owned());
    }
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Ssi};
    use clap::Parser;
    use ssi_cluster::client::NodeStatus;

    fn wait(line: &str) -> Wait {
        match Ssi::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    fn picture() -> Picture {
        let node = |id: u32, state: &str, member| NodeStatus {
            id,
            name: format!("node{id}"),
            state: state.into(),
            member,
            ..NodeStatus::default()
        };
        Picture {
            quorate: true,
            synced: true,
            nodes: vec![node(1, "UP", true), node(2, "COMINGUP", true), node(3, "UP", false)],
            ..Picture::default()
        }
    }

    #[test]
    fn only_members_count_as_up() {
        let p = picture();
        assert_eq!(lacking(&wait("ssi wait --up 1"), &p), None);
        assert_eq!(lacking(&wait("ssi wait --up 2"), &p).unwrap(), "1 of 2 nodes are UP (node 1)");
    }

    #[test]
    fn everything_asked_for_must_be_so() {
        let mut p = picture();
        assert_eq!(lacking(&wait("ssi wait --node node2 --state comingup --quorum"), &p), None);
        p.quorate = false;
        assert_eq!(
            lacking(&wait("ssi wait --node 2 --quorum"), &p).unwrap(),
            "node 2 (node2) is COMINGUP, not UP; there is no quorum"
        );
        assert!(lacking(&wait("ssi wait --node 7"), &p).unwrap().contains("no node '7'"));
        p.synced = false;
        assert!(lacking(&wait("ssi wait --up 1"), &p).unwrap().contains("not in step"));
    }
}
