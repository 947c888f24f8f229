// SPDX-License-Identifier: GPL-2.0-or-later
//! One node's engine, and all that it has told.

use std::collections::BTreeSet;
use std::time::Duration;

use ssi_cluster::NodeId;
use ssi_cluster::engine::{Configuration, FromEngine, ToEngine};
use ssi_clusterd::engine::Link;

/// How long anything may take before a test gives up. Long: a loaded machine is no fault of the engine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Watcher {
    pub(crate) own: NodeId,
    link: Link,
    pub(crate) log: Vec<FromEngine>,
}

pub(crate) fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(crate) fn ids(numbers: &[u32]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(id).collect()
}

impl Watcher {
    pub(crate) fn new(own: u32, link: Link) -> Self {
        Self { own: id(own), link, log: Vec::new() }
    }

    pub(crate) async fn tell(&self, command: ToEngine) {
        self.link.commands.send(command).await.expect("the engine takes commands as long as nobody left");
    }

    pub(crate) async fn say(&self, text: &str) {
        self.tell(ToEngine::Send(text.into())).await;
    }

    /// Takes events until `done` holds of all that came since `from`, a place in the log.
    pub(crate) async fn until(&mut self, what: &str, from: usize, done: impl Fn(&[FromEngine]) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(&self.log[from..]) {
            let event = tokio::time::timeout_at(deadline, self.link.events.recv()).await;
            match event {
                Ok(Some(event)) => self.log.push(event),
                Ok(None) => panic!("node {}: the engine ended before {what}; it told {:#?}", self.own, self.short()),
                Err(_) => panic!("node {}: no {what} in {PATIENCE:?}; it told {:#?}", self.own, self.short()),
            }
        }
    }

    pub(crate) fn take_what_is_there(&mut self) {
        while let Ok(event) = self.link.events.try_recv() {
            self.log.push(event);
        }
    }

    /// Takes events until the last configuration is one of these members and attached, and of that quorum.
    pub(crate) async fn until_sees(&mut self, members: &[u32], attached: &[u32], quorate: bool) {
        let (members, attached) = (ids(members), ids(attached));
        let what = format!("configuration of {members:?}, attached {attached:?}, quorate {quorate}");
        self.until(&what, 0, |log| {
            last_configuration(log)
                .is_some_and(|c| c.members == members && c.attached == attached && c.quorate == quorate)
        })
        .await;
    }

    pub(crate) async fn until_texts(&mut self, from: usize, count: usize) {
        self.until(&format!("{count} messages"), from, |log| texts(log).len() >= count).await;
    }

    pub(crate) async fn until_ended(&mut self) {
        let all = async {
            while let Some(event) = self.link.events.recv().await {
                self.log.push(event);
            }
        };
        assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "the engine did not end after a leave");
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        last_configuration(&self.log).expect("a configuration was awaited before")
    }

    /// The log without the bodies of messages.
    fn short(&self) -> Vec<String> {
        let short = |e: &FromEngine| match e {
            FromEngine::Message { from, payload } => format!("message of {} bytes from {from}", payload.len()),
            other => format!("{other:?}"),
        };
        self.log.iter().map(short).collect()
    }
}

/// The configuration that holds: none while the engine is away, or has just come back.
pub(crate) fn last_configuration(log: &[FromEngine]) -> Option<&Configuration> {
    log.iter()
        .rev()
        .find(|e| !matches!(e, FromEngine::Message { .. }))
        .and_then(|e| configurations(std::slice::from_ref(e)).next())
}

pub(crate) fn configurations(log: &[FromEngine]) -> impl Iterator<Item = &Configuration> {
    log.iter().filter_map(|e| if let FromEngine::Configuration(c) = e { Some(c) } else { None })
}

/// Who said what, in order; long bodies only by their length.
pub(crate) fn texts(log: &[FromEngine]) -> Vec<(u32, String)> {
    let text = |e: &FromEngine| match e {
        FromEngine::Message { from, payload } => Some((from.get(), String::from_utf8_lossy(payload).into_owned())),
        _ => None,
    };
    log.iter().filter_map(text).collect()
}

pub(crate) fn is_unreachable(event: &FromEngine) -> bool {
    matches!(event, FromEngine::Unreachable(_))
}
