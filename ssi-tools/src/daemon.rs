// SPDX-License-Identifier: GPL-2.0-or-later
//! Asking `ssi-clusterd`, with a bound on every wait, and its errors as [`Failure`]s with the right exit status.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ssi_cluster::client::{
    self, Cluster1Proxy, ConnectError, FenceStatus, FilesStatus, NodeStatus, ScriptStatus, ServiceStatus,
    TransitionWire,
};
use ssi_cluster::{NodeState, Transition};
use tokio::sync::mpsc;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::zvariant::{OwnedValue, Value};

use crate::cli::NodeRef;
use crate::outcome::Failure;

/// How long an answer may take: more than a busy machine needs, less than a person waits.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than the daemon waits for all members.
const FILES_PATIENCE: Duration = Duration::from_secs(100);

/// Longer than cluster.toml lets a fence agent take.
const FENCE_PATIENCE: Duration = Duration::from_secs(630);

const INTERFACE: &str = "org.openssi.Cluster1";

/// A connection to the daemon.
#[derive(Debug)]
pub struct Daemon {
    proxy: Cluster1Proxy<'static>,
}

/// What the daemon tells without being asked. One event can stand for several: read again after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The view changed.
    View,
    /// A node moved.
    Moved,
    /// The transition log was replaced from this number on.
    LogRewritten(u64),
    /// Something about the units of the cluster changed.
    Services,
}

/// All that the daemon shows of the cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// The cluster's name.
    pub cluster: String,
    /// This node's number.
    pub own: u32,
    /// This node's name.
    pub own_name: String,
    /// `corosync` or `solo`.
    pub engine: String,
    /// `connected`, or why the engine cannot be reached.
    pub engine_state: String,
    /// The view's number.
    pub view: u64,
    /// The view's members.
    pub members: Vec<u32>,
    /// Whether the view has quorum.
    pub quorate: bool,
    /// Whether this node is up to date with the other members.
    pub synced: bool,
    /// The init node, or 0.
    pub init_node: u32,
    /// The newest transition, or 0.
    pub last_transition: u64,
    /// The daemon's version.
    pub version: String,
    /// The nodes of cluster.toml, by number.
    pub nodes: Vec<NodeStatus>,
}

/// How this machine stands to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member of a quorate view, in step with it.
    Member,
    /// Joining: not yet in step with the other members.
    Joining,
    /// A view without quorum.
    NoQuorum,
    /// The engine cannot be reached, and why.
    EngineDown(String),
}

impl Picture {
    /// How this machine stands to its cluster.
    pub fn standing(&self) -> Standing {
        if self.engine_state != "connected" {
            Standing::EngineDown(self.engine_state.clone())
        } else if !self.quorate {
            Standing::NoQuorum
        } else if !self.synced {
            Standing::Joining
        } else {
            Standing::Member
        }
    }

    /// The node that the user named.
    pub fn find(&self, wanted: &NodeRef) -> Option<&NodeStatus> {
        self.nodes.iter().find(|n| match wanted {
            NodeRef::Number(id) => n.id == id.get(),
            NodeRef::Name(name) => n.name == *name,
        })
    }

    /// The members that are UP.
    pub fn up(&self) -> impl Iterator<Item = &NodeStatus> {
        self.nodes.iter().filter(|n| n.member && n.node_state() == Some(NodeState::Up))
    }

    /// The node that the user named.
    ///
    /// # Errors
    /// A sentence that names those there are.
    pub fn require(&self, wanted: &NodeRef) -> Result<&NodeStatus, Failure> {
        self.find(wanted).ok_or_else(|| {
            let known: Vec<String> = self.nodes.iter().map(|n| format!("{} ({})", n.id, n.name)).collect();
            Failure::failed(format!("there is no node '{wanted}' in cluster.toml; there are {}", known.join(", ")))
        })
    }
}

impl Daemon {
    /// Connects to the daemon's own socket.
    ///
    /// # Errors
    /// [`Failure::NotAMember`] with one sentence when nobody answers there.
    pub async fn connect(socket: &Path) -> Result<Self, Failure> {
        Self::connect_if_running(socket).await?.ok_or_else(|| {
            Failure::NotAMember(format!(
                "ssi-clusterd does not run here (nothing listens at {}); start it with 'systemctl start ssi-clusterd', or see 'ssi doctor'",
                socket.display()
            ))
        })
    }

    /// Connects to the daemon's own socket; `None` when nothing listens there.
    ///
    /// # Errors
    /// [`Failure::NotAMember`] when something is there and does not answer: a daemon may run and not be reached.
    pub async fn connect_if_running(socket: &Path) -> Result<Option<Self>, Failure> {
        match tokio::time::timeout(PATIENCE, client::connect(socket)).await {
            Ok(Ok(proxy)) => Ok(Some(Daemon { proxy })),
            Ok(Err(ConnectError::Socket { source, .. }))
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Ok(Err(ConnectError::Handshake { source: zbus::Error::InputOutput(cause), .. })) => {
                Err(Failure::NotAMember(format!(
                    "ssi-clusterd broke off the connection at {} ({cause}); it may be starting or stopping, try again",
                    socket.display()
                )))
            }
            Ok(Err(other)) => Err(Failure::NotAMember(other.to_string())),
            Err(_) => Err(Failure::NotAMember(format!(
                "ssi-clusterd took the connection at {} but did not speak within {} s; it hangs or is stopped",
                socket.display(),
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Waits for an answer, but not for ever.
    async fn ask<T>(&self, doing: &str, answer: impl Future<Output = zbus::Result<T>>) -> Result<T, Failure> {
        self.ask_for(PATIENCE, doing, answer).await
    }

    async fn ask_for<T>(
        &self,
        patience: Duration,
        doing: &str,
        answer: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(explain(doing, &error)),
            Err(_) => Err(Failure::NotAMember(format!(
                "{doing}: ssi-clusterd did not answer within {} s; it hangs or is stopped",
                patience.as_secs()
            ))),
        }
    }

    /// All properties and nodes.
    ///
    /// # Errors
    /// As the daemon's answer has it; a daemon that cannot list its nodes for want of quorum or membership is no
    /// error: they are missing then.
    pub async fn picture(&self) -> Result<Picture, Failure> {
        let proxy = self.proxy.inner();
        let properties = async {
            // All at once, so that they are of one moment.
            let properties = zbus::fdo::PropertiesProxy::builder(proxy.connection())
                .destination(client::BUS_NAME)?
                .path(client::OBJECT_PATH)?
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await?;
            let interface = zbus::names::InterfaceName::try_from(INTERFACE)?;
            Ok(properties.get_all(interface).await?)
        };
        let mut p = Properties(self.ask("asking for the state of the cluster", properties).await?);
        let mut nodes = match self.ask("asking for the nodes", self.proxy.list_nodes()).await {
            Ok(nodes) => nodes,
            Err(Failure::NotAMember(_)) => Vec::new(),
            Err(other) => return Err(other),
        };
        nodes.sort_by_key(|n| n.id);
        Ok(Picture {
            cluster: p.take("ClusterName"),
            own: p.take("NodeNumber"),
            own_name: p.take("NodeName"),
            engine: p.take("Engine"),
            engine_state: p.take("EngineState"),
            view: p.take("View"),
            members: p.take("Members"),
            quorate: p.take("Quorate"),
            synced: p.take("Synced"),
            init_node: p.take("InitNode"),
            last_transition: p.take("LastTransition"),
            version: p.take("Version"),
            nodes,
        })
    }

    /// A page of the transition log: the number of the oldest entry still kept, and those after `since`.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn transitions(&self, since: u64) -> Result<(u64, Vec<Transition>), Failure> {
        let (oldest, wire) = self.ask("reading the transition log", self.proxy.transitions(since)).await?;
        let read = |w: TransitionWire| {
            let id = w.0;
            Transition::try_from(w).map_err(|e| Failure::failed(format!("transition {id} cannot be read: {e}")))
        };
        Ok((oldest, wire.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// The scripts of recent nodeup and nodedown work.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn scripts(&self) -> Result<Vec<ScriptStatus>, Failure> {
        self.ask("asking for the nodeup and nodedown scripts", self.proxy.scripts()).await
    }

    /// Has a node turn itself off, or start anew.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn shutdown_node(&self, node: u32, reboot: bool) -> Result<(), Failure> {
        self.ask(&format!("shutting down node {node}"), self.proxy.shutdown_node(node, reboot)).await
    }

    /// The units of the cluster.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn services(&self) -> Result<Vec<ServiceStatus>, Failure> {
        let text = self.ask("asking for the units of the cluster", self.proxy.services()).await?;
        serde_json::from_str(&text)
            .map_err(|e| Failure::failed(format!("the daemon's list of units cannot be read: {e}")))
    }

    /// Why a unit is where it is.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn explain_service(&self, unit: &str) -> Result<Vec<String>, Failure> {
        self.ask(&format!("asking about {unit}"), self.proxy.explain_service(unit)).await
    }

    /// Has something done with a unit; see the interface.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn service_deed(&self, unit: &str, deed: &str, node: u32, instance: i64) -> Result<(), Failure> {
        self.ask(&format!("{deed} of {unit}"), self.proxy.service_deed(unit, deed, node, instance)).await
    }

    /// Has a node be given no units, or again.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn drain_node(&self, node: u32, on: bool) -> Result<(), Failure> {
        let what = if on { "draining" } else { "resuming" };
        self.ask(&format!("{what} node {node}"), self.proxy.drain_node(node, on)).await
    }

    /// How nodes are turned off, and what was done last.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn fences(&self) -> Result<Vec<FenceStatus>, Failure> {
        let text = self.ask("asking for the fence agents", self.proxy.fences()).await?;
        serde_json::from_str(&text).map_err(|e| Failure::failed(format!("the daemon's list cannot be read: {e}")))
    }

    /// Has a node turned off by its fence agent; back when that is done.
    ///
    /// # Errors
    /// As the daemon's answer has it, with what the agent said.
    pub async fn fence_node(&self, node: u32) -> Result<(), Failure> {
        self.ask_for(FENCE_PATIENCE, &format!("having node {node} turned off"), self.proxy.fence_node(node)).await
    }

    /// Tells that somebody has seen that a node is off.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn confirm_node_off(&self, node: u32) -> Result<(), Failure> {
        self.ask(&format!("confirming that node {node} is off"), self.proxy.confirm_node_off(node)).await
    }

    /// Has the unit managers of all members do something with their unit files; what came of it on each.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn unit_files(&self, deed: &str, unit: &str) -> Result<Vec<FilesStatus>, Failure> {
        let doing = if unit.is_empty() { "reading unit files again".to_owned() } else { format!("{deed} of {unit}") };
        let text = self.ask_for(FILES_PATIENCE, &doing, self.proxy.unit_files(deed, unit)).await?;
        serde_json::from_str(&text).map_err(|e| Failure::failed(format!("the daemon's answer cannot be read: {e}")))
    }

    /// Gives all members a new cluster.toml in place of the one with the SHA-256 `base`.
    ///
    /// # Errors
    /// As the daemon's answer has it.
    pub async fn replace_config(&self, base: &str, text: &str) -> Result<(), Failure> {
        self.ask("giving cluster.toml to all members", self.proxy.replace_config(base, text)).await
    }

    /// What the daemon tells from now on. The channel ends when the connection does.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn events(&self) -> Result<mpsc::UnboundedReceiver<Event>, Failure> {
        let subscribe = async {
            // Not the proxy's own streams: those ask who owns the bus name, and here there is no bus to ask.
            let rule = zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal).interface(INTERFACE)?.build();
            zbus::MessageStream::for_match_rule(rule, self.proxy.inner().connection(), None).await
        };
        let mut stream = self.ask("listening for changes", subscribe).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        // Drained at once, so that the connection never stands still behind a slow reader of ours.
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let header = message.header();
                let event = match header.member().map(|m| m.as_str()) {
                    Some("MembershipChanged") => Event::View,
                    Some("NodeMoved") => Event::Moved,
                    Some("ServicesChanged") => Event::Services,
                    Some("LogRewritten") => match message.body().deserialize::<u64>() {
                        Ok(from) => Event::LogRewritten(from),
                        Err(_) => continue,
                    },
                    _ => continue,
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// The properties as they came.
struct Properties(HashMap<String, OwnedValue>);

impl Properties {
    /// One of them; its type's default when an older daemon does not have it.
    fn take<T: Default + TryFrom<Value<'static>>>(&mut self, name: &str) -> T {
        self.0.remove(name).and_then(|v| T::try_from(Value::from(v)).ok()).unwrap_or_default()
    }
}

/// The failure that a D-Bus error stands for.
pub fn explain(doing: &str, error: &zbus::Error) -> Failure {
    let (name, said) = match error {
        zbus::Error::MethodError(name, said, _) => (name.as_str().to_owned(), said.clone().unwrap_or_default()),
        zbus::Error::FDO(fdo) => match fdo.as_ref() {
            zbus::fdo::Error::ZBus(inner) => return explain(doing, inner),
            other => {
                use zbus::DBusError;
                (other.name().to_string(), other.description().unwrap_or_default().to_owned())
            }
        },
        zbus::Error::InputOutput(cause) => {
            return Failure::NotAMember(format!(
                "{doing}: the connection to ssi-clusterd broke ({cause}); it may have been restarted, try again"
            ));
        }
        other => return Failure::failed(format!("{doing}: {other}")),
    };
    let told = |fallback: &str| if said.is_empty() { fallback.to_owned() } else { said.clone() };
    match name.as_str() {
        "org.freedesktop.DBus.Error.AccessDenied" => {
            Failure::Refused(format!("{doing} was refused: {}", told("only root may do that")))
        }
        "org.openssi.Cluster1.Error.Refused" => {
            Failure::Refused(format!("{doing} was refused: {}", told("the daemon gave no reason")))
        }
        "org.openssi.Cluster1.Error.NoQuorum" => Failure::NotAMember(format!(
            "{doing}: {}",
            told("the members this node sees are not a quorum, so nothing can be changed until more nodes are back")
        )),
        "org.openssi.Cluster1.Error.NotAMember" => Failure::NotAMember(format!(
            "{doing}: {}",
            told("this node is not in step with the cluster yet, or its engine is down")
        )),
        "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.Disconnected" => Failure::NotAMember(
            format!("{doing}: the connection to ssi-clusterd broke; it may have been restarted, try again"),
        ),
        _ => Failure::failed(format!("{doing}: {} ({name})", told("no reason was given"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Exit;

    #[test]
    fn a_daemons_error_has_its_exit_status() {
        let fdo = |e: zbus::fdo::Error| explain("doing it", &zbus::Error::FDO(Box::new(e)));
        assert_eq!(fdo(zbus::fdo::Error::AccessDenied("no".into())).exit(), Exit::Refused);
        assert_eq!(fdo(zbus::fdo::Error::Failed("no".into())).exit(), Exit::Failed);
        let io = zbus::Error::InputOutput(std::sync::Arc::new(std::io::Error::other("gone")));
        assert_eq!(explain("doing it", &io).exit(), Exit::NotAMember);
    }

    #[test]
    fn a_cut_off_node_is_told_apart_from_a_joining_one() {
        let member = Picture { engine_state: "connected".into(), quorate: true, synced: true, ..Picture::default() };
        assert_eq!(member.standing(), Standing::Member);
        assert_eq!(Picture { synced: false, ..member.clone() }.standing(), Standing::Joining);
        assert_eq!(Picture { quorate: false, ..member.clone() }.standing(), Standing::NoQuorum);
        let down = Picture { engine_state: "corosync is not running".into(), ..member };
        assert_eq!(down.standing(), Standing::EngineDown("corosync is not running".into()));
    }
}
