// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager with its bus in a thread, over a machine that is none, and the distribution's own clients to ask it: each in
//! a mount namespace where a folder of the test's is `/run/systemd`.
#![allow(dead_code, unreachable_pub)] // each scene uses what it needs

pub mod machine;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ssi_bus::{Bus, End, Facts, Host, Incoming, Options, Setting, UnitFiles};
use ssi_manager::core::commands::CommandError;
use ssi_manager::core::system::Pid;
use ssi_manager::core::{Core, Event, FileLoads};
use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::RootFiles;
use ssi_unit::implicit::Surroundings;
use ssi_unit::install::Folders;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::specifier;
use tokio::sync::mpsc;

use machine::{Double, State};

/// The targets that default dependencies name.
const TARGETS: [&str; 9] =
    ["sysinit", "basic", "shutdown", "sockets", "timers", "paths", "umount", "local-fs", "multi-user"];

/// What the manager was asked that units have no part in.
#[derive(Debug, Default)]
pub struct Asked {
    pub reloads: u32,
    pub reexecutions: u32,
    pub ends: Vec<End>,
    pub settings: Vec<Setting>,
    pub environment: Vec<String>,
    pub frozen: Vec<(String, bool)>,
    pub exit_code: u8,
}

struct TestHost {
    root: PathBuf,
    asked: Arc<Mutex<Asked>>,
    state: Arc<Mutex<State>>,
}

fn machine_facts() -> specifier::Host {
    specifier::Host { machine_id: Some("0123456789abcdef0123456789abcdef".into()), ..specifier::Host::default() }
}

impl Host for TestHost {
    fn facts(&self) -> Facts {
        Facts {
            version: "252 (ssi)".into(),
            architecture: "x86-64".into(),
            unit_path: vec!["/etc/systemd/system".into()],
            control_group: String::new(),
            exit_code: self.asked.lock().unwrap().exit_code,
            ..Facts::default()
        }
    }

    fn environment(&self) -> Vec<String> {
        self.asked.lock().unwrap().environment.clone()
    }

    fn set_environment(&mut self, unset: &[String], set: &[String]) -> Result<(), CommandError> {
        let environment = &mut self.asked.lock().unwrap().environment;
        environment.retain(|have| !unset.iter().any(|name| have.split('=').next() == Some(name)));
        environment.extend(set.iter().cloned());
        Ok(())
    }

    fn reload(&mut self, core: &mut Core) -> Result<(), CommandError> {
        self.asked.lock().unwrap().reloads += 1;
        core.reload_files();
        Ok(())
    }

    fn reexecute(&mut self, _: &mut Core) -> Result<(), CommandError> {
        self.asked.lock().unwrap().reexecutions += 1;
        Ok(())
    }

    fn end(&mut self, _: &mut Core, end: End) -> Result<(), CommandError> {
        self.asked.lock().unwrap().ends.push(end);
        Ok(())
    }

    fn set_exit_code(&mut self, status: u8) -> Result<(), CommandError> {
        self.asked.lock().unwrap().exit_code = status;
        Ok(())
    }

    fn set(&mut self, setting: Setting) -> Result<(), CommandError> {
        self.asked.lock().unwrap().settings.push(setting);
        Ok(())
    }

    fn unit_files(&self) -> UnitFiles {
        UnitFiles { root: self.root.clone(), folders: Folders::system(true), machine: machine_facts() }
    }

    fn command_line(&self, pid: u32) -> Option<String> {
        self.state.lock().unwrap().processes.get(&pid).map(|process| process.line.clone())
    }

    fn freeze(&mut self, group: &str, frozen: bool) -> Result<(), CommandError> {
        self.asked.lock().unwrap().frozen.push((group.to_owned(), frozen));
        Ok(())
    }

    fn dump(&self, core: &Core, patterns: &[String]) -> String {
        format!("{} units, {patterns:?}\n", core.table.len())
    }
}

enum Do {
    Core(Box<dyn FnOnce(&mut Core) + Send>),
    Bus(Box<dyn FnOnce(&mut Bus) + Send>),
    End,
}

/// The manager and its clients.
pub struct Scene {
    folder: tempfile::TempDir,
    pub state: Arc<Mutex<State>>,
    pub asked: Arc<Mutex<Asked>>,
    orders: mpsc::UnboundedSender<Do>,
    thread: Option<std::thread::JoinHandle<()>>,
    daemon: Option<Child>,
}

impl Scene {
    /// A manager with these unit files in `/etc/systemd/system`.
    pub fn new(files: &[(&str, &str)]) -> Scene {
        assert!(rustix::process::geteuid().is_root(), "these scenes make mount namespaces: run them as root");
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let run = folder.path().join("run");
        fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
        fs::create_dir_all(root.join("usr/lib/systemd/system")).unwrap();
        // By this folder clients know that there is such a manager.
        fs::create_dir_all(run.join("system")).unwrap();
        for target in TARGETS {
            let more = if target == "shutdown" { "DefaultDependencies=no\n" } else { "" };
            fs::write(root.join(format!("usr/lib/systemd/system/{target}.target")), format!("[Unit]\n{more}")).unwrap();
        }
        for (name, text) in files {
            fs::write(root.join("etc/systemd/system").join(name), text).unwrap();
        }
        let (state, asked) = (Arc::new(Mutex::new(State::default())), Arc::new(Mutex::new(Asked::default())));
        let private = UnixListener::bind(run.join("private")).unwrap();
        let (orders, received) = mpsc::unbounded_channel();
        let options = Options {
            system_bus: folder.path().join("bus"),
            clients: 32,
            transient: root.join("run/systemd/transient"),
        };
        let thread = std::thread::spawn({
            let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
            move || manager(private, options, root, state, asked, received)
        });
        Scene { folder, state, asked, orders, thread: Some(thread), daemon: None }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The root that unit files are in.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Writes a unit file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.root().join("etc/systemd/system").join(name), text).unwrap();
    }

    /// Does something with the core and waits for what it gives.
    pub fn core<T: Send + 'static>(&self, act: impl FnOnce(&mut Core) -> T + Send + 'static) -> T {
        let (tell, told) = std::sync::mpsc::channel();
        let _ = self.orders.send(Do::Core(Box::new(move |core| tell.send(act(core)).unwrap())));
        told.recv_timeout(Duration::from_secs(10)).expect("the manager hangs")
    }

    /// Does something with the bus.
    pub fn bus(&self, act: impl FnOnce(&mut Bus) + Send + 'static) {
        let _ = self.orders.send(Do::Bus(Box::new(act)));
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{what} does not come about");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A unit as `active (running)`.
    pub fn unit(&self, name: &str) -> String {
        let name = name.to_owned();
        self.core(move |core| match core.unit_there(&name) {
            Ok(id) => format!("{} ({})", core.unit(id).active().word(), core.unit(id).sub_state()),
            Err(_) => "not there".to_owned(),
        })
    }

    /// The process of a unit that lives.
    pub fn pid(&self, unit: &str) -> u32 {
        let state = self.state.lock().unwrap();
        let found = state.processes.iter().find(|(_, process)| process.alive && process.unit == unit);
        *found.unwrap_or_else(|| panic!("{unit} has no process")).0
    }

    fn command(&self, line: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["20", "unshare", "-m", "sh", "-c"]);
        let run = self.path().join("run");
        let bus = self.path().join("bus");
        command.arg(format!(
            "mount --bind {} /run/systemd && if [ -S {bus} ]; then mkdir -p /run/dbus && touch /run/dbus/system_bus_socket && \
             mount --bind {bus} /run/dbus/system_bus_socket; fi && exec {line} \"$@\"",
            run.display(),
            bus = bus.display(),
        ));
        command.arg("sh").args(arguments).env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
        command.env_remove("DBUS_SYSTEM_BUS_ADDRESS");
        command
    }

    /// Runs systemctl.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command("systemctl --no-pager --no-ask-password", arguments).output().unwrap()
    }

    /// Runs systemctl, which is to do what it is asked; what it prints.
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "systemctl {arguments:?}: {}\n{said}\n{:#?}", output.status, self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs systemctl, which is to fail with this status; what it says.
    pub fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "systemctl {arguments:?}: {said}");
        said
    }

    /// Starts systemctl and does not wait for it.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command("systemctl --no-pager", arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs busctl at the manager's own socket.
    pub fn busctl(&self, arguments: &[&str]) -> Output {
        self.command("busctl --no-pager --address=unix:path=/run/systemd/private", arguments).output().unwrap()
    }

    /// Runs any command of the distribution's.
    pub fn program(&self, line: &str, arguments: &[&str]) -> Output {
        self.command(line, arguments).output().unwrap()
    }

    /// Starts a bus and has the manager come to it.
    pub fn with_system_bus(&mut self, policy: &str) {
        let socket = self.path().join("bus");
        let config = self.path().join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
             <listen>unix:path={}</listen><auth>EXTERNAL</auth>{policy}\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"method_call\"/>\
             <allow send_destination=\"*\" eavesdrop=\"false\"/><allow receive_type=\"*\"/></policy></busconfig>",
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--systemd-activation"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        self.until("the bus", || socket.exists());
        self.bus(Bus::connect_system_bus);
        self.until("the manager on the bus", || self.log().iter().any(|line| line.contains("is on the system bus")));
    }

    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.orders.send(Do::End);
        let thread = self.thread.take().map(std::thread::JoinHandle::join);
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if let Some(Err(panic)) = thread
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn manager(
    private: UnixListener,
    options: Options,
    root: PathBuf,
    state: Arc<Mutex<State>>,
    asked: Arc<Mutex<Asked>>,
    mut orders: mpsc::UnboundedReceiver<Do>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let loader =
            Loader::new(RootFiles::below(&root), SearchPath::system(), machine_facts(), ManagerDefaults::default());
        let sys = Box::new(Double(Arc::clone(&state)));
        let mut core = Core::new(sys, Box::new(FileLoads(loader)), Surroundings::default());
        core.begin();
        core.finished_starting = true;
        let mut host = TestHost { root, asked, state: Arc::clone(&state) };
        let mut bus = Bus::new(private, options).unwrap();
        loop {
            tokio::select! {
                incoming = bus.next() => {
                    let incoming: Incoming = incoming;
                    bus.handle(&mut core, &mut host, incoming);
                }
                order = orders.recv() => match order {
                    Some(Do::Core(act)) => act(&mut core),
                    Some(Do::Bus(act)) => act(&mut bus),
                    Some(Do::End) | None => return,
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => core.handle(Event::Tick),
            }
            // Each end of a process is a turn of its own, as it is with a kernel.
            loop {
                let outgoing = core.take_outgoing();
                bus.tell(&core, &outgoing);
                bus.flush();
                let ended = std::mem::take(&mut state.lock().unwrap().ended);
                if ended.is_empty() {
                    break;
                }
                for (pid, exit) in ended {
                    let group = state.lock().unwrap().processes.get(&pid).map(|process| process.group.clone());
                    core.handle(Event::Exited { pid: Pid(pid), exit });
                    core.handle(Event::GroupEmpty(group.unwrap_or_default()));
                }
            }
        }
    });
}
