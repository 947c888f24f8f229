// SPDX-License-Identifier: GPL-2.0-or-later
//! The loop: what the engine, the clock, the scripts and the bus say goes into the [`Agreement`], and what comes out of
//! it is carried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use ssi_cluster::config::{Config, EngineKind};
use ssi_cluster::engine::{FromEngine, ToEngine};
use ssi_cluster::{NodeId, NodeState};

use crate::agreement::message::{self, Message};
use crate::agreement::{Action, Agreement, Event, Refused, Wish};
use crate::bus::{self, Ask, Board, Desk, MethodError, Request, Signal, Standing};
use crate::engine::{Engine, Link, corosync::Corosync, solo::Solo};
use crate::manager;
use crate::nodework::{Job, NodeWork, Places};
use crate::sampler::{Report, Sampler};
use crate::scope_memory;
use crate::store::{self, Keeper};

mod fencing;
mod files;
mod services;
use fencing::Fencing;
use services::Managed;

/// How often the agreement is told that time passed.
const TICK: Duration = Duration::from_millis(250);

/// How many commands may wait for the engine.
const OUTBOX: usize = 4_096;

/// How long a machine that leaves waits until the others know.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where the daemon finds and keeps things.
#[derive(Clone, Debug)]
pub struct Paths {
    /// cluster.toml; the folders of scripts are beside it.
    pub config: PathBuf,
    /// Gone with a reboot.
    pub run: PathBuf,
    /// Kept over a reboot.
    pub state: PathBuf,
    /// The daemon's own socket.
    pub socket: PathBuf,
    /// The engine's helper process; `None` for the usual places.
    pub helper: Option<PathBuf>,
    /// The unit manager's socket.
    pub manager: PathBuf,
}

/// cluster.toml as text, as values, and its fingerprint.
#[derive(Clone)]
pub struct LoadedConfig {
    /// What it says.
    pub config: Arc<Config>,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

impl LoadedConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// All mistakes of the file with their places.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| {
            format!("cannot read {}: make one with 'ssi create', or copy it from a member", path.display())
        })?;
        Ok(Self { config: Arc::new(Config::parse(path, &bytes)?), digest: fingerprint(&bytes) })
    }
}

/// SHA-256 in hex.
pub fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

struct Daemon {
    paths: Paths,
    own: NodeId,
    loaded: LoadedConfig,
    agreement: Agreement,
    /// What the engine is to be given as soon as it takes it. The loop never waits for it: the engine may be waiting for
    /// the loop to take its events.
    outbox: VecDeque<ToEngine>,
    engine_state: String,
    board: Board,
    signals: broadcast::Sender<Signal>,
    scripts: NodeWork,
    keeper: Keeper,
    loads: BTreeMap<NodeId, Report>,
    sampler: Sampler,
    /// How the attempt of this machine to turn itself off went, if it failed.
    off: mpsc::Sender<String>,
    managed: Managed,
    fencing: Fencing,
    files: files::Files,
    /// What the next daemon of this boot is to know, and where it is kept.
    memory: scope_memory::Kept,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start; once it runs, troubles are logged, not fatal.
pub async fn run(paths: Paths, own: NodeId, loaded: LoadedConfig) -> Result<()> {
    for dir in [&paths.run, &paths.state] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    let boot_file = paths.run.join("boot-id");
    let incarnation = crate::boot::incarnation(&boot_file)?;
    let agreed = paths.state.join("agreed.json");
    let config = Arc::clone(&loaded.config);
    let timeout = Duration::from_secs(config.nodework.timeout_s.into());
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let (seed, kept) = (crate::boot::seed(), store::load(&agreed));
    let memory = scope_memory::Kept::new(paths.run.join("scope.json"), incarnation.clone());
    let mut agreement = Agreement::new(own, incarnation, kept, seed, timeout_ms, steady_ms());
    agreement.recall(seed, memory.load());

    let engine: Box<dyn Engine> = match config.membership.engine {
        EngineKind::Solo => Box::new(Solo { own }),
        EngineKind::Corosync => Box::new(match &paths.helper {
            Some(helper) => Corosync { helper: helper.clone() },
            None => Corosync::default(),
        }),
    };
    tracing::info!("cluster {}, node {own}, engine {}", config.name, engine.name());
    let Link { mut events, commands } = engine.start();

    let (signals, _) = broadcast::channel(bus::SIGNALS_QUEUED);
    let (requests, mut asked) = mpsc::channel::<Request>(64);
    let (tell, mut told) = mpsc::channel::<Message>(256);
    let (off, mut off_failed) = mpsc::channel::<String>(4);
    let (ran, mut fenced) = mpsc::channel(16);
    let (files_done, mut files_came) = mpsc::channel::<Message>(files::QUEUE);
    let files = files::Files::new(paths.manager.clone(), files_done);
    let board: Board = Arc::new(RwLock::new(Standing {
        config: Arc::clone(&config),
        config_digest: loaded.digest.clone(),
        own,
        engine_state: "connecting".into(),
        view: agreement.view(),
        in_step: false,
        attached: BTreeSet::new(),
        shared: Arc::new(agreement.shared().clone()),
        loads: BTreeMap::new(),
        scope: Arc::default(),
    }));
    let desk = Desk { board: Arc::clone(&board), requests, signals: signals.clone() };
    bus::serve_socket(&paths.socket, desk.clone())?;
    bus::serve_system_bus(desk);

    let places = Places {
        etc: paths.config.parent().unwrap_or(Path::new("/etc/ssi")).to_owned(),
        run: paths.run.join("work"),
        program: std::env::current_exe().context("cannot find this program's own file")?,
        timeout,
    };
    let (told_manager, manager_told) = tokio::sync::watch::channel(None);
    let (restarts, manager_restarts) = mpsc::channel(64);
    let mut managers = manager::start(paths.manager.clone(), manager_told, manager_restarts);
    let speed = config.node(own).and_then(|n| n.speed_mhz);
    let mut daemon = Daemon {
        own,
        loaded,
        agreement,
        outbox: VecDeque::new(),
        engine_state: "connecting".into(),
        board,
        signals,
        scripts: NodeWork::new(places, tell),
        keeper: Keeper::start(agreed),
        loads: BTreeMap::new(),
        sampler: Sampler::new(Path::new("/proc"), speed),
        off,
        managed: Managed::new(told_manager, restarts),
        fencing: Fencing::new(ran),
        files,
        memory,
        paths,
    };

    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let watchdog = sd_notify::watchdog_enabled();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => daemon.on_engine(event),
                None => anyhow::bail!("the membership engine's task ended"),
            },
            permit = commands.reserve(), if !daemon.outbox.is_empty() => match (permit, daemon.outbox.pop_front()) {
                (Ok(permit), Some(command)) => permit.send(command),
                _ => anyhow::bail!("the membership engine's task ended"),
            },
            Some(message) = told.recv() => daemon.feed(Event::Tell(message)),
            Some(from) = managers.recv() => daemon.on_manager(from),
            Some(ran) = fenced.recv() => daemon.on_fenced(ran),
            Some(done) = files_came.recv() => daemon.feed(Event::Tell(done)),
            Some(request) = asked.recv() => daemon.on_request(request),
            Some(why) = off_failed.recv() => {
                let cause = format!("shutdown failed: {why}");
                tracing::error!("{cause}");
                daemon.feed(Event::Ask(Wish { node: own, to: NodeState::Up, cause, reboot: false }));
            }
            _ = tick.tick() => {
                daemon.feed(Event::Tick);
                daemon.tend_services();
                daemon.tend_fencing();
                daemon.tend_files();
                if watchdog.is_some() {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
            _ = second.tick() => daemon.sample(),
            _ = hangup.recv() => {
                if let Err(e) = daemon.reload() {
                    tracing::error!("cluster.toml stays as it was: {e:#}");
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if machine_is_stopping() {
        daemon.say_goodbye(&mut events, &commands).await;
        crate::boot::forget(&boot_file);
    }
    let _ = std::fs::remove_file(&daemon.paths.socket);
    daemon.keeper.finish();
    Ok(())
}

impl Daemon {
    fn on_engine(&mut self, event: FromEngine) {
        match event {
            FromEngine::Ready { own, .. } if own != self.own => {
                let why = format!("the engine says this is node {own}, cluster.toml says {}", self.own);
                tracing::error!("{why}; check nodeid in corosync.conf and run 'ssi doctor'");
                self.engine_state = why;
                self.feed(Event::Unreachable);
            }
            FromEngine::Ready { .. } => {
                self.engine_state = "connected".into();
                self.show();
            }
            FromEngine::Unreachable(why) => {
                if self.engine_state != why {
                    tracing::warn!("membership engine: {why}");
                }
                self.engine_state = why;
                self.feed(Event::Unreachable);
            }
            FromEngine::Configuration(seen) => {
                self.engine_state = "connected".into();
                self.loads.retain(|n, _| seen.members.contains(n));
                self.sampler.tell_next();
                self.feed(Event::Configuration(seen));
                self.tell_running_again();
                self.tell_fences_again();
            }
            FromEngine::Message { from, payload } => match message::read(&payload) {
                Some(message) => self.feed(Event::Message(from, message)),
                None => tracing::debug!("node {from} sent a message that this version does not know"),
            },
        }
    }

    /// Puts an event into the agreement and carries out what comes of it.
    fn feed(&mut self, event: Event) {
        let now = steady_ms();
        let configured: BTreeSet<NodeId> = self.loaded.config.nodes.keys().copied().collect();
        let actions = self.agreement.on_event(event, now, wall_ms(), &configured);
        self.memory.keep(self.agreement.scope().memory());
        if actions.is_empty() {
            return;
        }
        let (mut show, mut keep, mut scope) = (false, false, false);
        let mut heard = Vec::new();
        for action in actions {
            match action {
                Action::Send(message) => self.send(&message),
                Action::Load(from, report) => {
                    self.loads.insert(from, report);
                    self.show_loads();
                }
                Action::ViewChanged => {
                    show = true;
                    heard.push(Signal::Membership(self.agreement.view()));
                }
                Action::Moved(t) => {
                    show = true;
                    let (node, view) = (t.node.get(), t.view.0);
                    tracing::info!(
                        ssi_view = view,
                        "node {node}: {} to {} ({}), transition {}",
                        t.from,
                        t.to,
                        t.cause,
                        t.id
                    );
                    heard.push(Signal::Moved(t));
                }
                Action::LogRewritten(from) => {
                    show = true;
                    tracing::warn!("this node was cut off: transitions from {from} on are replaced by the quorum's");
                    heard.push(Signal::LogRewritten(from));
                }
                Action::Persist => (show, keep) = (true, true),
                Action::StartWork { transition, kind, node, ended } => {
                    let node_name = self.loaded.config.node(node).map_or_else(|| node.to_string(), |n| n.name.clone());
                    self.scripts.start(Job { transition, kind, node, node_name, ended });
                }
                Action::ScopeChanged => scope = true,
                Action::Orders(orders) => self.on_orders(orders),
                Action::Done { from, unit, deed } => {
                    scope = true;
                    self.on_done(from, &unit, &deed);
                }
                Action::Running(from, states) => self.on_running(from, states),
                Action::Fence(note) => self.on_fence_note(note),
                Action::Files(by, order) => self.on_files(by, order),
                Action::FilesDone(from, done) => self.on_files_done(from, done),
                Action::AbortWork { transition, over } => self.scripts.abort(transition, over),
                Action::ShutDown { reboot } => self.turn_off(reboot),
                Action::Config { base, text } => {
                    if let Err(e) = self.take_config(&base, &text) {
                        tracing::error!("a new cluster.toml was sent to all, and is not taken here: {e:#}");
                    }
                }
            }
        }
        if keep {
            self.keeper.keep(self.agreement.shared());
        }
        if show {
            self.show();
        }
        if scope || keep {
            self.show_scope();
        }
        // Shown first, told then: who is told finds what he was told of.
        for signal in heard {
            let _ = self.signals.send(signal);
        }
    }

    fn send(&mut self, message: &Message) {
        match message::write(message) {
            // What has waited this long is told anew by the next exchange.
            Some(_) if self.outbox.len() >= OUTBOX => self.outbox.clear(),
            Some(bytes) => self.outbox.push_back(ToEngine::Send(bytes)),
            None => tracing::error!("a message for the members is too long and is not sent"),
        }
    }

    fn show(&self) {
        let mut standing = self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        standing.engine_state.clone_from(&self.engine_state);
        standing.view = self.agreement.view();
        standing.in_step = self.agreement.in_step();
        standing.attached = self.agreement.attached();
        if standing.shared.revision != self.agreement.shared().revision || *standing.shared != *self.agreement.shared()
        {
            standing.shared = Arc::new(self.agreement.shared().clone());
        }
        standing.config = Arc::clone(&self.loaded.config);
        standing.config_digest.clone_from(&self.loaded.digest);
        standing.loads.clone_from(&self.loads);
    }

    fn show_loads(&self) {
        let mut standing = self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        standing.loads.clone_from(&self.loads);
    }

    fn sample(&mut self) {
        if let Some(report) = self.sampler.sample(Instant::now(), &self.loaded.digest) {
            if self.agreement.in_step() {
                self.send(&Message::Load(report));
            } else {
                self.sampler.tell_next();
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        let done = match request.ask {
            Ask::Deed { unit, deed } => return self.ask_deed(unit, deed, request.answer),
            Ask::Fence(number) => return self.ask_fence(number, request.answer),
            Ask::ConfirmOff(number) => self.confirm_off(number),
            Ask::Files { deed, results } => self.ask_files(deed, results),
            Ask::Drain(number, on) => self.ask_drain(number, on),
            Ask::ShutdownNode(number, reboot) => self.ask_shutdown(number, reboot),
            Ask::ReplaceConfig { base, text } => self.ask_config(base, text),
            Ask::Reload => self.reload().map_err(|e| MethodError::Refused(format!("{e:#}"))),
        };
        let _ = request.answer.send(done);
    }

    fn ask_shutdown(&mut self, number: u32, reboot: bool) -> Result<(), MethodError> {
        let node = NodeId::new(number)
            .filter(|n| self.loaded.config.node(*n).is_some())
            .ok_or_else(|| MethodError::Refused(format!("there is no node {number} in cluster.toml")))?;
        let cause = if reboot { "reboot asked for" } else { "shutdown asked for" }.to_owned();
        let wish = Wish { node, to: NodeState::Shutdown, cause, reboot };
        self.agreement.check(&wish).map_err(|e| refusal(&e))?;
        self.feed(Event::Ask(wish));
        Ok(())
    }

    fn ask_config(&mut self, base: String, text: String) -> Result<(), MethodError> {
        self.agreement.check_quorate().map_err(|e| refusal(&e))?;
        if base != self.loaded.digest {
            let why = "cluster.toml was changed meanwhile by somebody else: look at it and try again";
            return Err(MethodError::Refused(why.into()));
        }
        let parsed = Config::parse(&self.paths.config, text.as_bytes());
        parsed.map_err(|e| MethodError::Refused(format!("the new cluster.toml is wrong:\n{e}")))?;
        self.send(&Message::Config { base, text });
        Ok(())
    }

    /// Takes a cluster.toml that was sent to all.
    fn take_config(&mut self, base: &str, text: &str) -> Result<()> {
        if base != self.loaded.digest {
            anyhow::bail!(
                "it was made from another one than this node has; compare /etc/ssi/cluster.toml with a member's"
            );
        }
        let config = Config::parse(&self.paths.config, text.as_bytes())?;
        if config.node(self.own).is_none() {
            anyhow::bail!("this node is not in it any more");
        }
        store::replace_file(&self.paths.config, text.as_bytes())?;
        self.reload()
    }

    fn reload(&mut self) -> Result<()> {
        let loaded = LoadedConfig::read(&self.paths.config)?;
        if loaded.config.node(self.own).is_none() {
            anyhow::bail!("{} has no node {}, which this machine is", self.paths.config.display(), self.own);
        }
        if loaded.config.membership.engine != self.loaded.config.membership.engine {
            anyhow::bail!("another engine needs a restart: systemctl restart ssi-clusterd");
        }
        self.loaded = loaded;
        write_engine_config(&self.loaded.config, true);
        self.sampler.tell_next();
        self.show();
        tracing::info!("cluster.toml taken over");
        Ok(())
    }

    /// Has this machine turned off, by whichever init it runs.
    fn turn_off(&self, reboot: bool) {
        let flag = if reboot { "-r" } else { "-h" };
        tracing::warn!("this machine was asked to {}", if reboot { "reboot" } else { "shut down" });
        let off = self.off.clone();
        tokio::spawn(async move {
            let output = tokio::process::Command::new("shutdown").args([flag, "now"]).output().await;
            let why = match output {
                Ok(out) if out.status.success() => return,
                Ok(out) => {
                    format!("'shutdown {flag} now': {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim())
                }
                Err(e) => format!("'shutdown {flag} now': {e}"),
            };
            let _ = off.send(why).await;
        });
    }

    /// Tells the others that this machine leaves, and leaves the engine's group.
    async fn say_goodbye(&mut self, events: &mut mpsc::Receiver<FromEngine>, commands: &mpsc::Sender<ToEngine>) {
        let wish =
            Wish { node: self.own, to: NodeState::GoingDown, cause: "machine is stopping".into(), reboot: false };
        if self.agreement.check(&wish).is_ok() {
            self.feed(Event::Ask(wish));
            let deadline = tokio::time::Instant::now() + GOODBYE;
            while self.agreement.shared().state_of(self.own) != NodeState::GoingDown {
                while let Some(command) = self.outbox.pop_front() {
                    let _ = commands.try_send(command);
                }
                match tokio::time::timeout_at(deadline, events.recv()).await {
                    Ok(Some(event)) => self.on_engine(event),
                    _ => break,
                }
            }
        }
        let _ = commands.try_send(ToEngine::Leave);
        // The engine's side closes when the leave is done.
        let _ = tokio::time::timeout(GOODBYE, async { while events.recv().await.is_some() {} }).await;
    }
}

fn refusal(refused: &Refused) -> MethodError {
    let sentence = refused.to_string();
    match refused {
        Refused::NotAMember(_) => MethodError::NotAMember(sentence),
        Refused::NoQuorum => MethodError::NoQuorum(sentence),
        Refused::Forbidden { .. } => MethodError::Refused(sentence),
    }
}

/// A clock that never goes back, and goes on while the machine is suspended: a lease must not outlive a suspend.
/// Milliseconds since boot.
pub fn steady_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

/// The time of day for people: milliseconds since 1970 UTC.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Whether init is taking the machine down, as opposed to stopping this service alone.
fn machine_is_stopping() -> bool {
    let asked = std::process::Command::new("systemctl").arg("is-system-running").output();
    asked.is_ok_and(|out| out.stdout.starts_with(b"stopping"))
}

/// Writes the engine's own configuration if it is ours to write, and has an engine that runs take it over: it reads it
/// anew where it ran with an earlier one of ours (`reload`), and is started anew where it may have run with the
/// distribution's.
pub fn write_engine_config(config: &Config, reload: bool) {
    use ssi_cluster::corosync::files::{self, Conf};
    if config.membership.engine != EngineKind::Corosync {
        return;
    }
    let places = files::Paths::default();
    let outcome = match files::ensure(config, &places) {
        Ok(outcome) => outcome,
        Err(e) => {
            tracing::error!("corosync's configuration stays as it was: {e}");
            return;
        }
    };
    if outcome.key_missing {
        let key = places.key.display();
        tracing::error!(
            "there is no {key}: copy it from a member (mode 0400), or make the cluster's with 'ssi create'"
        );
    }
    match outcome.conf {
        Conf::Unchanged => {}
        Conf::HandMade { warnings } => {
            let conf = places.conf.display();
            tracing::info!("{conf} was made by hand and is left alone");
            for warning in warnings {
                tracing::warn!("{conf}: {warning}");
            }
        }
        Conf::Written if reload => match files::reload() {
            Ok(true) => tracing::info!("{} written, and read by corosync", places.conf.display()),
            Ok(false) => tracing::info!("{} written", places.conf.display()),
            Err(e) => tracing::error!("corosync did not take its new configuration: {e}"),
        },
        Conf::Written => {
            tracing::info!("{} written", places.conf.display());
            // Debian's package starts corosync as soon as it is installed, alone on the loopback interface.
            let _ = std::process::Command::new("systemctl")
                .args(["--no-block", "try-restart", "corosync.service"])
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}
