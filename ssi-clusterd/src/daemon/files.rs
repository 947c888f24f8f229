// SPDX-License-Identifier: GPL-2.0-or-later
//! Has the unit managers of all members read their unit files again, or enable and disable units: on a shared root a
//! package that was installed on one node changed the files of all, and elsewhere each node has its own links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use ssi_cluster::NodeId;
use ssi_cluster::client::FilesStatus;

use super::{Daemon, wall_ms};
use crate::agreement::Event;
use crate::agreement::message::{FilesDeed, FilesDone, FilesOrder, Message};
use crate::bus::MethodError;

/// How long a unit manager may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member may take to say that it has done it.
const ANSWER: Duration = Duration::from_secs(80);
/// So many orders wait on a node.
pub(super) const QUEUE: usize = 32;
/// So many orders of one node are under way.
const MOST: usize = 32;

/// An order that a member gave.
pub(super) type Job = (NodeId, FilesOrder);

/// What the daemon keeps about it.
pub(super) struct Files {
    jobs: mpsc::Sender<Job>,
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// An order that was given here.
struct Waiting {
    until: Instant,
    missing: BTreeSet<NodeId>,
    came: Vec<FilesStatus>,
    results: oneshot::Sender<Vec<FilesStatus>>,
}

impl Files {
    /// Starts the task that does what is ordered, at the unit manager behind this socket. What comes of it goes to `done`.
    pub(super) fn new(manager: PathBuf, done: mpsc::Sender<Message>) -> Files {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        tokio::spawn(async move {
            while let Some((by, order)) = queue.recv().await {
                let error = do_it(&manager, &order.deed).await.err();
                if let Some(error) = &error {
                    tracing::error!("{}, as node {by} wants: {error}", doing(&order.deed));
                }
                let answer = Message::FilesDone(FilesDone { by, number: order.number, error });
                if done.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Files { jobs, last: wall_ms(), waiting: BTreeMap::new() }
    }
}

fn doing(deed: &FilesDeed) -> String {
    match deed {
        FilesDeed::Reload => "reading unit files again".to_owned(),
        FilesDeed::Enable(unit) => format!("enabling {unit}"),
        FilesDeed::Disable(unit) => format!("disabling {unit}"),
    }
}

/// As systemctl(1) does it, by its own socket: whatever unit manager this node has.
async fn do_it(manager: &PathBuf, deed: &FilesDeed) -> Result<(), String> {
    let doing = async {
        let said = |e: zbus::Error| match e {
            zbus::Error::MethodError(_, Some(text), _) => text,
            other => other.to_string(),
        };
        let stream = UnixStream::connect(manager).await.map_err(|e| format!("{}: {e}", manager.display()))?;
        let connection = zbus::connection::Builder::unix_stream(stream).p2p().build().await.map_err(said)?;
        let object = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let changed = match deed {
            FilesDeed::Reload => Ok(None),
            FilesDeed::Enable(unit) => {
                let body = (vec![unit], false, false);
                connection.call_method(None::<&str>, object.0, Some(object.1), "EnableUnitFiles", &body).await.map(Some)
            }
            FilesDeed::Disable(unit) => {
                let body = (vec![unit], false);
                connection
                    .call_method(None::<&str>, object.0, Some(object.1), "DisableUnitFiles", &body)
                    .await
                    .map(Some)
            }
        };
        if let (FilesDeed::Enable(unit), Some(answer)) = (deed, changed.map_err(said)?) {
            // Whether the unit's file says when it is to start, then which links were changed.
            let body = answer.body();
            let (tells, _): (bool, Vec<(String, String, String)>) =
                body.deserialize().map_err(|e| format!("the unit manager's answer cannot be read: {e}"))?;
            if !tells {
                return Err(format!("{unit} has no [Install] section that says when it is to start"));
            }
        }
        connection.call_method(None::<&str>, object.0, Some(object.1), "Reload", &()).await.map_err(said)?;
        Ok(())
    };
    let slow = |_| Err(format!("the unit manager did not do it within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, doing).await.unwrap_or_else(slow)
}

impl Daemon {
    /// Somebody wants it done on all members.
    pub(super) fn ask_files(
        &mut self,
        deed: FilesDeed,
        results: oneshot::Sender<Vec<FilesStatus>>,
    ) -> Result<(), MethodError> {
        let missing = self.agreement.attached();
        if !self.agreement.in_step() || missing.is_empty() {
            return Err(MethodError::Refused("this node is not in step with the other members: try again soon".into()));
        }
        if self.files.waiting.len() >= MOST {
            return Err(MethodError::Refused("too many of these are under way: try again later".into()));
        }
        self.files.last = self.files.last.saturating_add(1);
        let number = self.files.last;
        let waiting = Waiting { until: Instant::now() + ANSWER, missing, came: Vec::new(), results };
        self.files.waiting.insert(number, waiting);
        self.feed(Event::Tell(Message::Files(FilesOrder { number, deed })));
        Ok(())
    }

    /// A member wants it done here.
    pub(super) fn on_files(&mut self, by: NodeId, order: FilesOrder) {
        tracing::info!("{}, as node {by} wants", doing(&order.deed));
        let number = order.number;
        if self.files.jobs.try_send((by, order)).is_err() {
            let error = Some("too many of these wait on this node".to_owned());
            self.feed(Event::Tell(Message::FilesDone(FilesDone { by, number, error })));
        }
    }

    /// A member says what came of it.
    pub(super) fn on_files_done(&mut self, from: NodeId, done: FilesDone) {
        if done.by != self.own {
            return;
        }
        if let Some(waiting) = self.files.waiting.get_mut(&done.number)
            && waiting.missing.remove(&from)
        {
            waiting.came.push(FilesStatus { node: from.get(), error: done.error });
        }
        self.tend_files();
    }

    /// Answers what is done, or cannot be waited for any longer.
    pub(super) fn tend_files(&mut self) {
        let attached = self.agreement.attached();
        let over = |(number, waiting): (&u64, &Waiting)| {
            let given_up = waiting.until <= Instant::now();
            (given_up || waiting.missing.is_disjoint(&attached)).then_some(*number)
        };
        let over: Vec<u64> = self.files.waiting.iter().filter_map(over).collect();
        for number in over {
            let Some(mut waiting) = self.files.waiting.remove(&number) else { continue };
            for node in waiting.missing {
                let why = if attached.contains(&node) { "it did not answer in time" } else { "it left meanwhile" };
                waiting.came.push(FilesStatus { node: node.get(), error: Some(why.to_owned()) });
            }
            waiting.came.sort_by_key(|status| status.node);
            let _ = waiting.results.send(waiting.came);
        }
    }
}
