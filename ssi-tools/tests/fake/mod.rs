// SPDX-License-Identifier: GPL-2.0-or-later
//! A daemon for the tests: it serves `org.openssi.Cluster1` at a socket of its own, and what it tells is set by the test.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test file uses a part of it; nobody reads it as a library.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ssi_cluster::client::{NodeStatus, OBJECT_PATH, ScriptStatus, TransitionWire};
use tokio::sync::mpsc;
use zbus::object_server::SignalEmitter;

/// What the daemon tells.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub engine_state: String,
    pub view: u64,
    pub members: Vec<u32>,
    pub quorate: bool,
    pub synced: bool,
    pub init_node: u32,
    pub nodes: Vec<NodeStatus>,
    /// The log; its first entry is the oldest kept.
    pub log: Vec<TransitionWire>,
    /// How many entries a page holds at most.
    pub page: usize,
    pub scripts: Vec<ScriptStatus>,
    /// The error that privileged methods answer with.
    pub refuse: Option<Refuse>,
    /// What was asked of it.
    pub asked: Vec<String>,
}

/// An error as the real daemon gives it: a D-Bus error name and a sentence.
#[derive(Clone, Debug)]
pub struct Refuse(pub &'static str, pub &'static str);

impl zbus::DBusError for Refuse {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::Message> {
        zbus::Message::error(call, self.0)?.build(&self.1)
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        zbus::names::ErrorName::from_static_str_unchecked(self.0)
    }

    fn description(&self) -> Option<&str> {
        Some(self.1)
    }
}

enum Tell {
    Membership,
    Moved(TransitionWire),
    Rewritten(u64),
    /// Closes all connections.
    Hangup,
}

struct Object(Arc<Mutex<State>>);

impl Object {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn privileged(&self, asked: String) -> Result<(), Refuse> {
        let mut state = self.state();
        state.asked.push(asked);
        state.refuse.clone().map_or(Ok(()), Err)
    }
}

#[zbus::interface(name = "org.openssi.Cluster1")]
impl Object {
    #[zbus(property)]
    fn cluster_name(&self) -> String {
        "alpha".into()
    }
    #[zbus(property)]
    fn node_number(&self) -> u32 {
        1
    }
    #[zbus(property)]
    fn node_name(&self) -> String {
        "node1".into()
    }
    #[zbus(property)]
    fn engine(&self) -> String {
        "corosync".into()
    }
    #[zbus(property)]
    fn engine_state(&self) -> String {
        self.state().engine_state.clone()
    }
    #[zbus(property)]
    fn view(&self) -> u64 {
        self.state().view
    }
    #[zbus(property)]
    fn members(&self) -> Vec<u32> {
        self.state().members.clone()
    }
    #[zbus(property)]
    fn quorate(&self) -> bool {
        self.state().quorate
    }
    #[zbus(property)]
    fn synced(&self) -> bool {
        self.state().synced
    }
    #[zbus(property)]
    fn init_node(&self) -> u32 {
        self.state().init_node
    }
    #[zbus(property)]
    fn last_transition(&self) -> u64 {
        self.state().log.last().map_or(0, |t| t.0)
    }
    #[zbus(property)]
    fn version(&self) -> String {
        "0.1.0".into()
    }
    fn list_nodes(&self) -> Vec<NodeStatus> {
        self.state().nodes.clone()
    }
    fn transitions(&self, since: u64) -> (u64, Vec<TransitionWire>) {
        let state = self.state();
        let oldest = state.log.first().map_or(1, |t| t.0);
        (oldest, state.log.iter().filter(|t| t.0 > since).take(state.page).cloned().collect())
    }
    fn scripts(&self) -> Vec<ScriptStatus> {
        self.state().scripts.clone()
    }
    fn shutdown_node(&self, node: u32, reboot: bool) -> Result<(), Refuse> {
        self.privileged(format!("shutdown {node} {reboot}"))
    }
    fn replace_config(&self, base: String, text: String) -> Result<(), Refuse> {
        self.privileged(format!("replace {base}\n{text}"))
    }
    fn reload(&self) -> Result<(), Refuse> {
        self.privileged("reload".into())
    }
    fn metrics(&self) -> String {
        String::new()
    }
    #[zbus(signal)]
    async fn membership_changed(e: &SignalEmitter<'_>, view: u64, members: Vec<u32>, quorate: bool)
    -> zbus::Result<()>;
    #[zbus(signal)]
    async fn node_moved(e: &SignalEmitter<'_>, transition: TransitionWire) -> zbus::Result<()>;
    #[zbus(signal)]
    async fn log_rewritten(e: &SignalEmitter<'_>, from: u64) -> zbus::Result<()>;
}

/// The daemon, and the files around it.
pub struct Fake {
    state: Arc<Mutex<State>>,
    tell: mpsc::UnboundedSender<Tell>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub dir: tempfile::TempDir,
}

/// The folder in which a test's socket and files are.
pub fn socket_in(dir: &Path) -> PathBuf {
    dir.join("clusterd.sock")
}

/// The command, told to use the files in this folder.
pub fn ssi_in(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ssi"));
    command
        .args(args)
        .env("SSI_CLUSTERD_SOCKET", socket_in(dir))
        .env("SSI_CLUSTER_TOML", dir.join("cluster.toml"))
        .env("SSI_COROSYNC_DIR", dir.join("corosync"))
        .env("TZ", "UTC")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run_in(dir: &Path, args: &[&str]) -> Ended {
    Ended::of(ssi_in(dir, args).output().unwrap())
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        Ended {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A node of the cluster.
pub fn node(id: u32, state: &str, member: bool) -> NodeStatus {
    NodeStatus {
        id,
        name: format!("node{id}"),
        addresses: vec![format!("192.0.2.{id}")],
        state: state.into(),
        since_ms: 1_700_000_000_000,
        member,
        attached: member,
        init_node: id == 1 && state == "UP",
        load: member.then_some(250),
        cpus: member.then_some(2),
        mhz: member.then_some(4800),
        memory_kib: member.then_some(4 * 1024 * 1024),
        available_kib: member.then_some(1024 * 1024),
        uptime_s: member.then_some(3_700),
        version: member.then(|| "0.1.0".into()),
        same_config: member.then_some(true),
    }
}

/// An entry of the log.
pub fn entry(id: u64, node: u32, from: &str, to: &str) -> TransitionWire {
    TransitionWire(id, 1_700_000_000_000 + id * 1000, 4, node, from.into(), to.into(), format!("cause {id}"))
}

impl Fake {
    /// A daemon on node 1 of two, both UP.
    pub fn start() -> Self {
        let state = State {
            engine_state: "connected".into(),
            view: 7,
            members: vec![1, 2],
            quorate: true,
            synced: true,
            init_node: 1,
            nodes: vec![node(1, "UP", true), node(2, "UP", true), node(3, "NEVERUP", false)],
            page: 1000,
            ..State::default()
        };
        Self::start_in(tempfile::tempdir().unwrap(), state)
    }

    /// A daemon in this folder.
    pub fn start_in(dir: tempfile::TempDir, state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let (tell, told) = mpsc::unbounded_channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (socket, shared) = (socket_in(dir.path()), Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = std::fs::remove_file(&socket);
                let listener = tokio::net::UnixListener::bind(&socket).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, shared, told) => {}
                    _ = stopped => {}
                }
            });
            let _ = std::fs::remove_file(&socket);
        });
        is_ready.recv().unwrap();
        Fake { state, tell, stop: Some(stop), thread: Some(thread), dir }
    }

    /// Stops the daemon, and gives back its folder and what it told last.
    pub fn stop(mut self) -> (tempfile::TempDir, State) {
        self.end();
        let state = self.state.lock().unwrap().clone();
        (std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()), state)
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Changes what it tells, without a signal.
    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Tells of the view as it is set.
    pub fn tell_membership(&self) {
        assert!(self.tell.send(Tell::Membership).is_ok());
    }

    /// Moves a node and tells of it.
    pub fn move_node(&self, t: TransitionWire) {
        self.set(|s| {
            if let Some(n) = s.nodes.iter_mut().find(|n| n.id == t.3) {
                n.state.clone_from(&t.5);
                n.member = matches!(t.5.as_str(), "COMINGUP" | "UP" | "SHUTDOWN" | "GOINGDOWN");
            }
            s.log.push(t.clone());
        });
        assert!(self.tell.send(Tell::Moved(t)).is_ok());
    }

    /// Replaces the log from `from` on, and tells of it.
    pub fn rewrite_log(&self, from: u64, entries: Vec<TransitionWire>) {
        self.set(|s| {
            s.log.retain(|t| t.0 < from);
            s.log.extend(entries);
        });
        assert!(self.tell.send(Tell::Rewritten(from)).is_ok());
    }

    /// Cuts all connections; new ones are taken.
    pub fn hang_up(&self) {
        assert!(self.tell.send(Tell::Hangup).is_ok());
    }

    pub fn command(&self, args: &[&str]) -> Command {
        ssi_in(self.dir.path(), args)
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        run_in(self.dir.path(), args)
    }

    /// Runs it by another name.
    pub fn run_as(&self, name: &str, args: &[&str]) -> Ended {
        use std::os::unix::process::CommandExt;
        Ended::of(self.command(args).arg0(name).output().unwrap())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(listener: tokio::net::UnixListener, state: Arc<Mutex<State>>, mut told: mpsc::UnboundedReceiver<Tell>) {
    let mut connections: Vec<zbus::Connection> = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                let object = Object(Arc::clone(&state));
                let built = zbus::connection::Builder::unix_stream(stream)
                    .server(zbus::Guid::generate())
                    .unwrap()
                    .p2p()
                    .serve_at(OBJECT_PATH, object)
                    .unwrap()
                    .build()
                    .await;
                // A caller that only knocks is none.
                connections.extend(built.ok());
            }
            tell = told.recv() => {
                let Some(tell) = tell else { return };
                for connection in &connections {
                    let emitter = SignalEmitter::new(connection, OBJECT_PATH).unwrap();
                    // A caller that is gone hears nothing.
                    let _ = match &tell {
                        Tell::Membership => {
                            let (view, members, quorate) = {
                                let s = state.lock().unwrap();
                                (s.view, s.members.clone(), s.quorate)
                            };
                            Object::membership_changed(&emitter, view, members, quorate).await
                        }
                        Tell::Moved(t) => Object::node_moved(&emitter, t.clone()).await,
                        Tell::Rewritten(from) => Object::log_rewritten(&emitter, *from).await,
                        Tell::Hangup => connection.clone().close().await,
                    };
                }
                if matches!(tell, Tell::Hangup) {
                    connections.clear();
                }
            }
        }
    }
}

/// A command that runs on, with its output as it comes.
pub struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        use std::io::BufRead;
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// The next line it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("no line within 20 s")
    }

    /// Whether it stays silent for this long.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        match self.lines.recv_timeout(time) {
            Ok(line) => {
                eprintln!("not silent: {line}");
                false
            }
            Err(_) => true,
        }
    }

    /// Its exit status, once it ends by itself, and how long that took.
    pub fn end(&mut self) -> (i32, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code().unwrap_or(-1), start.elapsed());
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
