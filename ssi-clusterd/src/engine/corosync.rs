// SPDX-License-Identifier: GPL-2.0-or-later
//! The engine for more than one machine: corosync, by way of a helper process.
//!
//! `ssi-engine-corosync` alone links corosync's C libraries. It is started with one end of a socket pair as its
//! standard input and talks the frames of [`ssi_cluster::engine`]; when it dies it is started again. What is above
//! sees [`FromEngine::Unreachable`], then [`FromEngine::Ready`] and the configuration that holds by then.
//!
//! A command given while there is no helper is dropped, and so may one be that it took just before it died. That loses
//! nothing: the agreement above starts anew at each configuration, and sends again what it needs then.
//!
//! The queues both ways are bounded. A caller that awaits room for a command while it takes no events waits for the
//! cluster's flow control, and in the worst case for itself: give commands with `try_send`, or in one `select!` with
//! the events.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use ssi_cluster::engine::{FromEngine, PROTOCOL, ToEngine, decode, encode};

use super::{Engine, Link, QUEUE};

/// The environment variable that names another helper.
pub const HELPER_VARIABLE: &str = "SSI_ENGINE_COROSYNC";
/// Where packages install the helper.
pub const HELPER: &str = "/usr/libexec/ssi/ssi-engine-corosync";

/// How long until a helper that died is started again: the first time, and at most. It doubles in between, and begins
/// anew once a helper has reached corosync.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How many bytes of commands may wait for the helper to read them before no more are taken.
const UNSENT: usize = 1 << 20;
/// How long the helper may take to leave, and to die, before it is killed.
const LEAVE: Duration = Duration::from_secs(3);
const DIE: Duration = Duration::from_millis(500);

/// Corosync, by way of its helper process.
///
/// [`Engine::start`] must be called on the thread that lives as long as the daemon: the kernel tells the helper of the
/// death of the thread that started it (`PR_SET_PDEATHSIG`, prctl(2)).
#[derive(Clone, Debug)]
pub struct Corosync {
    /// The helper program.
    pub helper: PathBuf,
}

impl Default for Corosync {
    /// The helper named by [`HELPER_VARIABLE`], else the one beside this program, else [`HELPER`].
    fn default() -> Self {
        let named = std::env::var_os(HELPER_VARIABLE).filter(|p| !p.is_empty()).map(PathBuf::from);
        let beside = || {
            let path = std::env::current_exe().ok()?.with_file_name("ssi-engine-corosync");
            path.is_file().then_some(path)
        };
        Self { helper: named.or_else(beside).unwrap_or_else(|| HELPER.into()) }
    }
}

impl Engine for Corosync {
    fn name(&self) -> &'static str {
        "corosync"
    }

    fn start(self: Box<Self>) -> Link {
        let (event_end, events) = mpsc::channel(QUEUE);
        let (commands, command_end) = mpsc::channel(QUEUE);
        tokio::spawn(Keeper { helper: self.helper, events: event_end, commands: command_end }.keep());
        Link { events, commands }
    }
}

/// Keeps a helper running.
struct Keeper {
    helper: PathBuf,
    events: mpsc::Sender<FromEngine>,
    commands: mpsc::Receiver<ToEngine>,
}

/// How a helper's life ended.
enum End {
    /// It is not needed any more.
    Over,
    /// It is, and why it does not work. `was_ready`: it had reached corosync before.
    Broken { why: String, was_ready: bool },
}

impl Keeper {
    async fn keep(mut self) {
        let (first, most) = BACK_OFF;
        let mut pause = first;
        loop {
            let (why, was_ready) = match Helper::start(&self.helper) {
                Ok(mut helper) => match helper.serve(&self.events, &mut self.commands).await {
                    End::Over => return helper.end().await,
                    End::Broken { why, was_ready } => {
                        helper.kill().await;
                        (why, was_ready)
                    }
                },
                Err(error) => (format!("{} cannot be started: {error}", self.helper.display()), false),
            };
            if was_ready {
                pause = first;
            }
            tracing::warn!("membership engine: {why}; starting it again in {} ms", pause.as_millis());
            if self.stay_away(Instant::now() + pause, FromEngine::Unreachable(why)).await.is_err() {
                return;
            }
            pause = (pause * 2).min(most);
        }
    }

    /// Tells `event` and waits, dropping what is sent meanwhile; `Err` when nobody needs the engine any more.
    async fn stay_away(&mut self, until: Instant, event: FromEngine) -> Result<(), ()> {
        let mut event = Some(event);
        loop {
            tokio::select! {
                permit = self.events.reserve(), if event.is_some() => match (permit, event.take()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return Err(()),
                },
                command = self.commands.recv() => match command {
                    Some(ToEngine::Leave) | None => return Err(()),
                    Some(ToEngine::Fence { node, .. }) => {
                        tracing::warn!("node {node} cannot be put out now: the membership engine is away");
                    }
                    Some(ToEngine::Send(_)) => {}
                },
                () = sleep_until(until), if event.is_none() => return Ok(()),
            }
        }
    }
}

/// A helper process that runs, and what is on the way from and to it.
struct Helper {
    child: Child,
    socket: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    ready: bool,
    leaving: Option<Instant>,
}

impl Helper {
    fn start(program: &Path) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        // Only the child keeps the other end, so the stream ends with it.
        let child = Command::new(program)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        tracing::debug!("started {} as process {:?}", program.display(), child.id());
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Ok(Self { child, socket, incoming, outgoing, ready: false, leaving: None })
    }

    /// Carries events and commands until one side ends.
    async fn serve(&mut self, events: &mpsc::Sender<FromEngine>, commands: &mut mpsc::Receiver<ToEngine>) -> End {
        let mut due: Option<FromEngine> = None;
        loop {
            if due.is_none() {
                match self.next_event() {
                    Ok(event) => due = event,
                    Err(why) => return self.broken(why),
                }
            }
            let leave_by = self.leaving;
            let step = tokio::select! {
                permit = events.reserve(), if due.is_some() => match (permit, due.take()) {
                    (Ok(permit), Some(event)) => {
                        permit.send(event);
                        Ok(())
                    }
                    // Nobody listens.
                    _ => return End::Over,
                },
                // One read at a time: what is not wanted yet stays in the socket, and slows the helper.
                ready = self.socket.readable(), if due.is_none() => match ready {
                    Ok(()) => self.read(),
                    Err(error) => Err(error),
                },
                ready = self.socket.writable(), if !self.outgoing.is_empty() => match ready {
                    Ok(()) => self.write(),
                    Err(error) => Err(error),
                },
                command = commands.recv(), if self.outgoing.len() < UNSENT && leave_by.is_none() => match command {
                    Some(command) => {
                        self.give(&command);
                        Ok(())
                    }
                    None => return End::Over,
                },
                () = async { if let Some(at) = leave_by { sleep_until(at).await } else { pending().await } } => {
                    tracing::warn!("the membership engine's helper does not leave; killing it");
                    return End::Over;
                }
            };
            if let Err(error) = step {
                if self.leaving.is_some() {
                    return End::Over;
                }
                let why = self.cause(&error).await;
                return self.broken(why);
            }
        }
    }

    fn broken(&self, why: String) -> End {
        End::Broken { why, was_ready: self.ready }
    }

    fn next_event(&mut self) -> Result<Option<FromEngine>, String> {
        let event = decode(&mut self.incoming).map_err(|e| format!("the helper of the engine sent garbage: {e}"))?;
        match &event {
            Some(FromEngine::Ready { protocol, .. }) if *protocol != PROTOCOL => Err(format!(
                "the helper of the engine speaks protocol {protocol} and this ssi-clusterd {PROTOCOL}: \
                 an upgrade is half done; finish it and restart ssi-clusterd"
            )),
            Some(FromEngine::Ready { .. }) => {
                self.ready = true;
                Ok(event)
            }
            Some(FromEngine::Configuration(_) | FromEngine::Message { .. }) if !self.ready => {
                Err("the helper of the engine sent an event before it was ready".into())
            }
            _ => Ok(event),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        match self.socket.try_read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.incoming.extend_from_slice(chunk.get(..n).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.socket.try_write(&self.outgoing) {
            Ok(n) => {
                self.outgoing.drain(..n);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn give(&mut self, command: &ToEngine) {
        match encode(command) {
            Ok(bytes) => self.outgoing.extend_from_slice(&bytes),
            Err(error) => tracing::error!("a command for the membership engine is dropped: {error}"),
        }
        if matches!(command, ToEngine::Leave) {
            self.leaving = Some(Instant::now() + LEAVE);
        }
    }

    /// Why the socket broke: mostly that the process ended.
    async fn cause(&mut self, error: &io::Error) -> String {
        match tokio::time::timeout(DIE, self.child.wait()).await {
            Ok(Ok(status)) => format!("the helper of the engine ended: {}", said(status)),
            _ => format!("the socket to the helper of the engine broke: {error}"),
        }
    }

    async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!("the membership engine's helper cannot be killed: {error}");
        }
    }

    /// Ends a helper in peace: at the end of its socket it goes by itself.
    async fn end(self) {
        let Self { mut child, socket, .. } = self;
        drop(socket);
        if tokio::time::timeout(DIE, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

fn said(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(127), _) => "exit status 127, a C library may be missing; see the log".into(),
        (Some(code), _) => format!("exit status {code}; see the log"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
