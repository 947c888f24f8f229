// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi service`: the units of the cluster.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use ssi_cluster::client::{InstanceStatus, ServiceStatus};

use super::unit_files;
use crate::cli::service::{
    Patience, ServiceAct, ServiceExplain, ServiceFiles, ServiceList, ServiceMove, ServicePin, ServiceShow,
    ServiceSubcommand,
};
use crate::cli::{NodeRef, Places};
use crate::daemon::{Daemon, Picture};
use crate::figures;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::{Output, Paint, Tone};
use crate::table::{Cell, Side, render};

/// How often to look although nothing was told.
const SAFETY_NET: Duration = Duration::from_secs(1);
/// How long until the next attempt to reach a daemon that is not there.
const RETRY: Duration = Duration::from_millis(250);

/// Does what was asked for.
///
/// # Errors
/// When the daemon cannot be asked, refuses, or what was waited for did not come.
pub async fn run(command: &ServiceSubcommand, places: &Places, out: &Output) -> Ending {
    match command {
        ServiceSubcommand::List(args) => list(args, places, out).await,
        ServiceSubcommand::Show(args) => show(args, places, out).await,
        ServiceSubcommand::Explain(args) => explain(args, places, out).await,
        ServiceSubcommand::Start(args) => act(args, "start", places, out).await,
        ServiceSubcommand::Stop(args) => act(args, "stop", places, out).await,
        ServiceSubcommand::Restart(args) => act(args, "restart", places, out).await,
        ServiceSubcommand::Unpin(args) => act(args, "unpin", places, out).await,
        ServiceSubcommand::Enable(args) => files(args, "enable", "start", places, out).await,
        ServiceSubcommand::Disable(args) => files(args, "disable", "stop", places, out).await,
        ServiceSubcommand::Move(args) => move_it(args, places, out).await,
        ServiceSubcommand::Pin(args) => pin(args, places, out).await,
    }
}

async fn list(args: &ServiceList, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let services = daemon.services().await?;
    if args.json {
        out.json(&services)?;
    } else {
        out.text(&service_table(&services, &daemon.picture().await?, out.paint))?;
    }
    Ok(Exit::Done)
}

async fn show(args: &ServiceShow, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let service = find(daemon.services().await?, &args.unit)?;
    if args.json {
        out.json(&service)?;
        return Ok(Exit::Done);
    }
    let picture = daemon.picture().await?;
    let nodes = |nodes: &[u32]| nodes.iter().map(|node| named(&picture, *node)).collect::<Vec<_>>().join(", ");
    out.line(&format!("{} - {}", service.unit, service.description))?;
    let fact = |name: &str, value: String| out.line(&format!("{name:>12}: {value}"));
    fact("wanted", service.want.clone())?;
    fact("instances", service.count.map_or_else(|| "one on each node".to_owned(), |count| count.to_string()))?;
    if !service.nodes.is_empty() {
        fact("nodes", nodes(&service.nodes))?;
    }
    if !service.avoid.is_empty() {
        fact("avoids", nodes(&service.avoid))?;
    }
    if !service.with.is_empty() {
        fact("with", service.with.join(", "))?;
    }
    if !service.apart.is_empty() {
        fact("apart from", service.apart.join(", "))?;
    }
    if let Some(pin) = service.pin {
        fact("pinned to", named(&picture, pin))?;
    }
    fact("takeover", format!("{} s", service.takeover_ms as f64 / 1000.0))?;
    for (node, _) in &service.failures {
        fact("failed on", named(&picture, *node))?;
    }
    for instance in &service.instances {
        fact("instance", format!("{} {}", instance.unit, where_it_is(instance, &picture)))?;
    }
    Ok(Exit::Done)
}

async fn explain(args: &ServiceExplain, places: &Places, out: &Output) -> Ending {
    let said = Daemon::connect(&places.socket).await?.explain_service(&args.unit).await?;
    if args.json {
        out.json(&said)?;
    } else {
        for line in said {
            out.line(&line)?;
        }
    }
    Ok(Exit::Done)
}

async fn files(args: &ServiceFiles, deed: &str, now: &str, places: &Places, out: &Output) -> Ending {
    let ended = unit_files::on_all(deed, &args.unit, args.json, places, out).await?;
    if !args.now || ended != Exit::Done {
        return Ok(ended);
    }
    let args = ServiceAct { unit: args.unit.clone(), patience: args.patience.clone() };
    act(&args, now, places, out).await
}

async fn act(args: &ServiceAct, deed: &str, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    daemon.service_deed(&args.unit, deed, 0, -1).await?;
    match deed {
        "stop" => wait(&args.patience, places, out, |services, _| lacks_stop(services, &args.unit)).await,
        // Where it is up again cannot be told from where it was not yet down: that it is up is what was asked for.
        "start" | "restart" => wait(&args.patience, places, out, |services, _| lacks_start(services, &args.unit)).await,
        _ => Ok(Exit::Done),
    }
}

async fn move_it(args: &ServiceMove, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let to = node_number(&daemon, args.to.as_ref()).await?;
    let service = find(daemon.services().await?, &args.unit)?;
    let index = args.instance.unwrap_or(0);
    if args.instance.is_none() && service.count.is_some_and(|count| count > 1) {
        return Err(Failure::Refused(format!("{} has several instances: say which with --instance", args.unit)));
    }
    let from = service.instances.iter().find(|instance| instance.index == index).and_then(|instance| instance.node);
    let Some(from) = from else {
        return Err(Failure::Refused(format!("{} runs nowhere; 'ssi service start {}'", args.unit, args.unit)));
    };
    if to == from {
        return Ok(Exit::Done);
    }
    daemon.service_deed(&args.unit, "move", to, i64::from(index)).await?;
    wait(&args.patience, places, out, |services, _| lacks_move(services, &args.unit, index, from, to)).await
}

async fn pin(args: &ServicePin, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let to = node_number(&daemon, Some(&args.to)).await?;
    daemon.service_deed(&args.unit, "pin", to, -1).await?;
    wait(&args.patience, places, out, |services, _| {
        let service = services.iter().find(|service| service.unit == args.unit)?;
        lacks_pin(service, to)
    })
    .await
}

async fn node_number(daemon: &Daemon, node: Option<&NodeRef>) -> Result<u32, Failure> {
    match node {
        Some(node) => Ok(daemon.picture().await?.require(node)?.id),
        None => Ok(0),
    }
}

fn find(services: Vec<ServiceStatus>, unit: &str) -> Result<ServiceStatus, Failure> {
    services.into_iter().find(|service| service.unit == unit).ok_or_else(|| {
        Failure::Refused(format!("{unit} is no unit of the cluster: its file needs [X-SSI] with Scope=cluster, and somebody has to want it; see ssi.scope(7)"))
    })
}

/// What a wait still lacks; an error ends it.
type Lack = Option<String>;

fn lacks_start(services: &[ServiceStatus], unit: &str) -> Lack {
    let Some(service) = services.iter().find(|service| service.unit == unit) else {
        return Some(format!("{unit} is not known yet"));
    };
    if service.want != "on" {
        return Some(format!("{unit} is not wanted yet"));
    }
    let down: Vec<String> = service
        .instances
        .iter()
        .filter(|instance| !matches!(instance.state.as_str(), "running" | "done" | "failed"))
        .map(|instance| format!("{} is {}", instance.unit, instance.state))
        .collect();
    if service.instances.is_empty() {
        return Some(format!("{unit} has no instance yet"));
    }
    (!down.is_empty()).then(|| down.join(", "))
}

fn lacks_stop(services: &[ServiceStatus], unit: &str) -> Lack {
    let service = services.iter().find(|service| service.unit == unit)?;
    let up = service.instances.iter().filter(|instance| instance.node.is_some());
    let up: Vec<String> = up.map(|i| format!("{} is {} on node {}", i.unit, i.state, i.node.unwrap_or(0))).collect();
    if !up.is_empty() {
        return Some(up.join(", "));
    }
    (service.want != "off").then(|| format!("{unit} is still wanted"))
}

fn lacks_move(services: &[ServiceStatus], unit: &str, index: u32, from: u32, to: u32) -> Lack {
    let service = services.iter().find(|service| service.unit == unit)?;
    let instance = service.instances.iter().find(|instance| instance.index == index);
    let Some(instance) = instance else { return Some(format!("{unit} has no instance {index}")) };
    let there = instance.node.is_some_and(|node| node != from && (to == 0 || node == to));
    if there && matches!(instance.state.as_str(), "running" | "done") {
        return None;
    }
    let place = instance.node.map_or_else(String::new, |node| format!(" on node {node}"));
    Some(format!("{} is {}{place}", instance.unit, instance.state))
}

fn lacks_pin(service: &ServiceStatus, to: u32) -> Lack {
    if service.want != "on" {
        return None;
    }
    let there = |instance: &InstanceStatus| match instance.state.as_str() {
        "running" => instance.node == Some(to),
        state => matches!(state, "done" | "failed"),
    };
    let away = service.instances.iter().find(|instance| !there(instance))?;
    Some(format!("{} is not up on node {to} yet: {}", away.unit, away.state))
}

/// Waits until nothing lacks any more; on a terminal it says what does.
pub(super) async fn wait(
    patience: &Patience,
    places: &Places,
    out: &Output,
    lacks: impl Fn(&[ServiceStatus], &Picture) -> Lack,
) -> Ending {
    if patience.no_wait {
        return Ok(Exit::Done);
    }
    let missing = Mutex::new("ssi-clusterd was not reached".to_owned());
    let search = async {
        loop {
            match watch(places, out, &lacks, &missing).await {
                Ok(()) => return,
                Err(failure) => note(&missing, failure.to_string()),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    match patience.timeout {
        None => search.await,
        Some(time) => {
            if tokio::time::timeout(time, search).await.is_err() {
                let missing = missing.lock().map(|missing| missing.clone()).unwrap_or_default();
                return Err(Failure::failed(format!(
                    "gave up after {}: {missing}. It goes on by itself; 'ssi service explain' says why it waits",
                    figures::span(time.as_secs())
                )));
            }
        }
    }
    // What failed too often is waited for no more, and is no success.
    let services = Daemon::connect(&places.socket).await?.services().await?;
    let failed = |instance: &&InstanceStatus| instance.state == "failed";
    let gone = services.iter().flat_map(|service| &service.instances).find(failed);
    match gone {
        Some(instance)
            if lacks(std::slice::from_ref(&relevant(&services, instance)), &Picture::default()).is_none() =>
        {
            let unit = &instance.unit;
            Err(Failure::failed(format!(
                "{unit} failed on every node it was tried on; 'ssi service explain {unit}' and 'systemctl status {unit}' there say more"
            )))
        }
        _ => Ok(Exit::Done),
    }
}

fn relevant(services: &[ServiceStatus], instance: &InstanceStatus) -> ServiceStatus {
    services.iter().find(|service| service.instances.contains(instance)).cloned().unwrap_or_default()
}

fn note(missing: &Mutex<String>, what: String) {
    if let Ok(mut missing) = missing.lock() {
        *missing = what;
    }
}

async fn watch(
    places: &Places,
    out: &Output,
    lacks: &impl Fn(&[ServiceStatus], &Picture) -> Lack,
    missing: &Mutex<String>,
) -> Result<(), Failure> {
    let daemon = Daemon::connect(&places.socket).await?;
    let mut events = daemon.events().await?;
    let mut said = String::new();
    loop {
        let picture = daemon.picture().await?;
        match lacks(&daemon.services().await?, &picture) {
            None => return Ok(()),
            Some(what) => {
                if out.terminal && what != said {
                    out.remark(&what);
                }
                said.clone_from(&what);
                note(missing, what);
            }
        }
        tokio::select! {
            event = events.recv() => if event.is_none() {
                return Err(Failure::NotAMember("the connection to ssi-clusterd broke".into()));
            },
            () = tokio::time::sleep(SAFETY_NET) => {}
        }
    }
}

fn named(picture: &Picture, node: u32) -> String {
    let name = picture.nodes.iter().find(|known| known.id == node).map(|known| known.name.clone());
    name.map_or_else(|| node.to_string(), |name| format!("{node} ({name})"))
}

fn where_it_is(instance: &InstanceStatus, picture: &Picture) -> String {
    let mut text = instance.state.clone();
    if let Some(node) = instance.node {
        text.push_str(&format!(" on node {}", named(picture, node)));
    }
    if let Some(to) = instance.to {
        text.push_str(&format!(", goes to node {}", named(picture, to)));
    }
    text
}

/// The table of `ssi service list`.
pub fn service_table(services: &[ServiceStatus], picture: &Picture, paint: Paint) -> String {
    const HEADING: [(&str, Side); 5] = [
        ("UNIT", Side::Left),
        ("STATE", Side::Left),
        ("NODE", Side::Left),
        ("WANTED", Side::Left),
        ("DESCRIPTION", Side::Left),
    ];
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for service in services {
        let row = |unit: &str, state: &str, node: String| {
            vec![
                unit.into(),
                Cell::new(tone_of(state), state),
                node.into(),
                service.want.as_str().into(),
                service.description.as_str().into(),
            ]
        };
        if service.instances.is_empty() {
            rows.push(row(&service.unit, "stopped", "-".into()));
        }
        for instance in &service.instances {
            let mut node = instance.node.map_or_else(|| "-".to_owned(), |node| named(picture, node));
            if let Some(to) = instance.to {
                node.push_str(&format!(", then {}", named(picture, to)));
            }
            rows.push(row(&instance.unit, &instance.state, node));
        }
    }
    if rows.is_empty() {
        return "No unit of the cluster; ssi.scope(7) says how to make one.\n".to_owned();
    }
    let mut text = render(&HEADING, &rows, paint);
    let instances = services.iter().flat_map(|service| &service.instances);
    let unwatched: BTreeSet<u32> = instances.filter(|one| one.unwatched).filter_map(|one| one.node).collect();
    if !unwatched.is_empty() {
        let nodes: Vec<String> = unwatched.iter().map(|node| named(picture, *node)).collect();
        text.push_str(&format!(
            "No watchdog on node {}: should it hang, units may run twice; see ssi.scope(7).\n",
            nodes.join(", ")
        ));
    }
    text
}

fn tone_of(state: &str) -> Tone {
    match state {
        "running" => Tone::Good,
        "failed" | "lost" => Tone::Bad,
        "done" | "stopped" => Tone::Quiet,
        _ => Tone::Notice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(want: &str, instances: &[(u32, &str, Option<u32>)]) -> Vec<ServiceStatus> {
        let instance = |(index, state, node): &(u32, &str, Option<u32>)| InstanceStatus {
            index: *index,
            unit: "db.service".into(),
            state: (*state).to_owned(),
            node: *node,
            to: None,
            unwatched: false,
        };
        vec![ServiceStatus {
            unit: "db.service".into(),
            want: want.into(),
            instances: instances.iter().map(instance).collect(),
            ..ServiceStatus::default()
        }]
    }

    #[test]
    fn a_start_waits_until_all_are_up() {
        assert!(lacks_start(&[], "db.service").is_some());
        assert!(lacks_start(&service("off", &[]), "db.service").is_some());
        assert!(lacks_start(&service("on", &[(0, "starting", Some(1))]), "db.service").is_some());
        assert!(lacks_start(&service("on", &[(0, "running", Some(1)), (1, "waiting", None)]), "db.service").is_some());
        assert_eq!(lacks_start(&service("on", &[(0, "running", Some(1)), (1, "done", None)]), "db.service"), None);
    }

    #[test]
    fn a_stop_waits_until_none_is_left() {
        assert!(lacks_stop(&service("off", &[(0, "stopping", Some(1))]), "db.service").is_some());
        assert!(lacks_stop(&service("on", &[]), "db.service").is_some());
        assert_eq!(lacks_stop(&service("off", &[]), "db.service"), None);
    }

    #[test]
    fn a_move_waits_until_it_is_up_elsewhere() {
        let lacks = |services: Vec<ServiceStatus>, to| lacks_move(&services, "db.service", 0, 1, to);
        assert!(lacks(service("on", &[(0, "running", Some(1))]), 0).is_some());
        assert!(lacks(service("on", &[(0, "starting", Some(2))]), 0).is_some());
        assert!(lacks(service("on", &[(0, "running", Some(2))]), 3).is_some());
        assert_eq!(lacks(service("on", &[(0, "running", Some(2))]), 0), None);
    }
}
