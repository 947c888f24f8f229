// SPDX-License-Identifier: GPL-2.0-or-later
//! The methods, properties and signals of `org.openssi.Cluster1`.

use tokio::sync::oneshot;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use ssi_cluster::NodeId;
use ssi_cluster::client::{NodeStatus, ScriptStatus, TransitionWire};

use super::{Ask, Desk, Request, Standing, metrics, polkit, services};
use crate::agreement::message::FilesDeed;
use crate::agreement::services::Deed;
use crate::daemon::{steady_ms, wall_ms};

/// How many transitions one answer holds.
const TRANSITIONS_A_CALL: usize = 1_000;

/// An error as a caller sees it: a D-Bus error name and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// The caller may not do this.
    AccessDenied(String),
    /// It would be wrong: bad arguments, or not as things are.
    Refused(String),
    /// The members in sight are no quorum.
    NoQuorum(String),
    /// This node is not in step with the members.
    NotAMember(String),
}

impl MethodError {
    fn sentence(&self) -> &str {
        match self {
            Self::AccessDenied(s) | Self::Refused(s) | Self::NoQuorum(s) | Self::NotAMember(s) => s,
        }
    }
}

impl zbus::DBusError for MethodError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<zbus::Message> {
        zbus::Message::error(call, self.name())?.build(&(self.sentence(),))
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        zbus::names::ErrorName::from_static_str_unchecked(match self {
            Self::AccessDenied(_) => "org.freedesktop.DBus.Error.AccessDenied",
            Self::Refused(_) => "org.openssi.Cluster1.Error.Refused",
            Self::NoQuorum(_) => "org.openssi.Cluster1.Error.NoQuorum",
            Self::NotAMember(_) => "org.openssi.Cluster1.Error.NotAMember",
        })
    }

    fn description(&self) -> Option<&str> {
        Some(self.sentence())
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A process at the daemon's own socket, with this user id as the kernel tells it (`SO_PEERCRED`, unix(7)).
    Direct(u32),
    /// Anyone on the system bus; the bus is asked who sent a message.
    Bus,
}

/// The object, one for each connection.
pub struct Cluster1 {
    desk: Desk,
    caller: Caller,
}

impl Cluster1 {
    /// One for a connection at the daemon's own socket.
    pub fn direct(desk: Desk, uid: u32) -> Self {
        Self { desk, caller: Caller::Direct(uid) }
    }

    /// The one on the system bus.
    pub fn on_bus(desk: Desk) -> Self {
        Self { desk, caller: Caller::Bus }
    }

    fn read<T>(&self, look: impl FnOnce(&Standing) -> T) -> T {
        // A writer that panicked left a whole Standing behind: it is replaced, never half-changed.
        look(&self.desk.board.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn authorize(&self, header: &Header<'_>, connection: &zbus::Connection) -> Result<(), MethodError> {
        match self.caller {
            Caller::Direct(0) => Ok(()),
            Caller::Direct(uid) => Err(MethodError::AccessDenied(format!(
                "user {uid} may look but not change anything here: become root, or ask over the system bus where polkit may allow it"
            ))),
            Caller::Bus => polkit::authorize(header, connection).await,
        }
    }

    async fn ask(&self, ask: Ask) -> Result<(), MethodError> {
        let gone = || MethodError::NotAMember("ssi-clusterd is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.desk.requests.send(Request { ask, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[zbus::interface(name = "org.openssi.Cluster1")]
impl Cluster1 {
    #[zbus(property(emits_changed_signal = "false"))]
    fn cluster_name(&self) -> String {
        self.read(|s| s.config.name.clone())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn node_number(&self) -> u32 {
        self.read(|s| s.own.get())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn node_name(&self) -> String {
        self.read(|s| s.config.node(s.own).map(|n| n.name.clone()).unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn engine(&self) -> String {
        self.read(|s| s.config.membership.engine.to_string())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn engine_state(&self) -> String {
        self.read(|s| s.engine_state.clone())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn view(&self) -> u64 {
        self.read(|s| s.view.id.0)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn members(&self) -> Vec<u32> {
        self.read(|s| s.view.members.iter().map(|n| n.get()).collect())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn quorate(&self) -> bool {
        self.read(|s| s.view.quorate)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn synced(&self) -> bool {
        self.read(|s| s.in_step)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn init_node(&self) -> u32 {
        self.read(|s| s.init_node().map_or(0, |n| n.get()))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn last_transition(&self) -> u64 {
        self.read(|s| s.shared.last_id)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn list_nodes(&self) -> Vec<NodeStatus> {
        self.read(Standing::nodes)
    }

    #[zbus(out_args("first", "transitions"))]
    fn transitions(&self, since: u64) -> (u64, Vec<TransitionWire>) {
        self.read(|s| {
            let (first, list) = s.shared.transitions_after(since);
            (first, list.take(TRANSITIONS_A_CALL).map(TransitionWire::from).collect())
        })
    }

    fn scripts(&self) -> Vec<ScriptStatus> {
        self.read(Standing::scripts)
    }

    fn metrics(&self) -> String {
        self.read(metrics::text)
    }

    /// All units of the cluster, as JSON.
    fn services(&self) -> Result<String, MethodError> {
        let list = self.read(|s| services::list(s, wall_ms()));
        serde_json::to_string(&list).map_err(|e| MethodError::Refused(e.to_string()))
    }

    fn explain_service(&self, unit: &str) -> Result<Vec<String>, MethodError> {
        let said = self.read(|s| services::explain(s, unit, steady_ms(), wall_ms()));
        said.ok_or_else(|| MethodError::Refused(format!("{unit} is no unit of the cluster; see ssi.scope(7)")))
    }

    async fn service_deed(
        &self,
        unit: String,
        deed: &str,
        node: u32,
        instance: i64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        let to = match node {
            0 => None,
            number => {
                Some(NodeId::new(number).ok_or_else(|| MethodError::Refused(format!("{number} is no node's number")))?)
            }
        };
        let deed = match deed {
            "start" => Deed::Start,
            "stop" => Deed::Stop,
            "restart" => Deed::Restart,
            "pin" if to.is_some() => Deed::Pin(to),
            "unpin" => Deed::Pin(None),
            "move" => Deed::Move { index: u32::try_from(instance).ok(), to },
            other => return Err(MethodError::Refused(format!("'{other}' is nothing that can be done with a unit"))),
        };
        self.ask(Ask::Deed { unit, deed }).await
    }

    async fn drain_node(
        &self,
        node: u32,
        on: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::Drain(node, on)).await
    }

    /// What was done to turn nodes off, as JSON.
    fn fences(&self) -> Result<String, MethodError> {
        let list = self.read(services::fences);
        serde_json::to_string(&list).map_err(|e| MethodError::Refused(e.to_string()))
    }

    async fn fence_node(
        &self,
        node: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::Fence(node)).await
    }

    async fn confirm_node_off(
        &self,
        node: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::ConfirmOff(node)).await
    }

    /// Answers when all members have done it, with what came of it as JSON.
    async fn unit_files(
        &self,
        deed: &str,
        unit: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<String, MethodError> {
        self.authorize(&header, connection).await?;
        let deed = match deed {
            "reload" => FilesDeed::Reload,
            "enable" => FilesDeed::Enable(unit),
            "disable" => FilesDeed::Disable(unit),
            other => return Err(MethodError::Refused(format!("'{other}' is nothing that is done with unit files"))),
        };
        let (results, came) = tokio::sync::oneshot::channel();
        self.ask(Ask::Files { deed, results }).await?;
        let came = came.await.map_err(|_| MethodError::Refused("ssi-clusterd is ending".into()))?;
        serde_json::to_string(&came).map_err(|e| MethodError::Refused(e.to_string()))
    }

    async fn shutdown_node(
        &self,
        node: u32,
        reboot: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::ShutdownNode(node, reboot)).await
    }

    async fn replace_config(
        &self,
        base: String,
        text: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::ReplaceConfig { base, text }).await
    }

    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<(), MethodError> {
        self.authorize(&header, connection).await?;
        self.ask(Ask::Reload).await
    }

    #[zbus(signal)]
    pub(super) async fn membership_changed(
        emitter: &SignalEmitter<'_>,
        view: u64,
        members: Vec<u32>,
        quorate: bool,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn node_moved(emitter: &SignalEmitter<'_>, transition: TransitionWire) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn services_changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn log_rewritten(emitter: &SignalEmitter<'_>, from: u64) -> zbus::Result<()>;
}
