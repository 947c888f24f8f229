// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager with its bus at a socket of its own, for one client that says something and listens until it is cut off. The
//! machine is the one of the crate's own tests; files are in a folder that is made anew for each input.
#![allow(dead_code)]

#[path = "../../../tests/scene/machine.rs"]
pub mod machine;
pub mod methods;
pub mod wire;

use std::cell::RefCell;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machine::{Double, State};
use ssi_bus::{Bus, End, Facts, Host, Options, Setting, UnitFiles};
use ssi_manager::core::commands::CommandError;
use ssi_manager::core::system::Pid;
use ssi_manager::core::{Core, Event, FileLoads};
use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::RootFiles;
use ssi_unit::implicit::Surroundings;
use ssi_unit::install::Folders;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::specifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longer than this nobody waits for an end.
const PATIENCE: Duration = Duration::from_secs(8);

struct FuzzHost {
    root: PathBuf,
    environment: Vec<String>,
}

impl Host for FuzzHost {
    fn facts(&self) -> Facts {
        Facts { version: "252".into(), ..Facts::default() }
    }

    fn environment(&self) -> Vec<String> {
        self.environment.clone()
    }

    fn set_environment(&mut self, unset: &[String], set: &[String]) -> Result<(), CommandError> {
        for one in set {
            assert!(one.contains('=') && !one.starts_with('='), "{one:?} is no assignment");
        }
        self.environment.retain(|have| !unset.iter().any(|name| have.split('=').next() == Some(name)));
        self.environment.extend(set.iter().cloned());
        Ok(())
    }

    fn reload(&mut self, core: &mut Core) -> Result<(), CommandError> {
        core.reload_files();
        Ok(())
    }

    fn reexecute(&mut self, _: &mut Core) -> Result<(), CommandError> {
        Ok(())
    }

    fn end(&mut self, _: &mut Core, _: End) -> Result<(), CommandError> {
        Ok(())
    }

    fn set_exit_code(&mut self, _: u8) -> Result<(), CommandError> {
        Ok(())
    }

    fn set(&mut self, _: Setting) -> Result<(), CommandError> {
        Ok(())
    }

    fn unit_files(&self) -> UnitFiles {
        let machine = specifier::Host::default();
        UnitFiles { root: self.root.clone(), folders: Folders::system(true), machine }
    }

    fn command_line(&self, pid: u32) -> Option<String> {
        Some(format!("process {pid}"))
    }

    fn freeze(&mut self, _: &str, _: bool) -> Result<(), CommandError> {
        Ok(())
    }

    fn dump(&self, core: &Core, _: &[String]) -> String {
        format!("{} units\n", core.table.len())
    }
}

const FILES: [(&str, &str); 6] = [
    ("a.service", "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=x.target\nAlias=c.service\n"),
    ("b.service", "[Unit]\nRequires=a.service\n[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ("t@.service", "[Service]\nExecStart=/bin/sleep %i\n[Install]\nDefaultInstance=1\nWantedBy=x.target\n"),
    ("a.socket", "[Socket]\nListenStream=/run/a\n"),
    ("x.target", "[Unit]\nAllowIsolate=yes\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
];

fn write_files(root: &Path) {
    let _ = fs::remove_dir_all(root);
    let folder = root.join("etc/systemd/system");
    fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in FILES {
        fs::write(folder.join(name), text).expect("a file");
    }
}

struct Stage {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    count: u64,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage {
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        folder: tempfile::tempdir_in("/dev/shm").expect("a folder"),
        count: 0,
    });
}

/// What the client heard that sent this, until it was cut off.
pub fn heard(said: &[u8]) -> Vec<u8> {
    STAGE.with_borrow_mut(|stage| {
        stage.count += 1;
        let root = stage.folder.path().join("root");
        write_files(&root);
        let place = format!("ssi-bus-fuzz-{}-{}", std::process::id(), stage.count);
        let place = SocketAddr::from_abstract_name(place).expect("a name");
        stage.runtime.block_on(serve(&root, &place, said))
    })
}

async fn serve(root: &Path, place: &SocketAddr, said: &[u8]) -> Vec<u8> {
    let listener = UnixListener::bind_addr(place).expect("a socket");
    let state = Arc::new(Mutex::new(State::default()));
    let files = RootFiles::below(root);
    let loader = Loader::new(files, SearchPath::system(), specifier::Host::default(), ManagerDefaults::default());
    let loads = Box::new(FileLoads(loader));
    let mut core = Core::new(Box::new(Double(Arc::clone(&state))), loads, Surroundings::default());
    core.begin();
    let mut host = FuzzHost { root: root.to_owned(), environment: Vec::new() };
    let transient = root.join("run/systemd/transient");
    let options = Options { system_bus: root.join("bus"), clients: 4, transient };
    let mut bus = Bus::new(listener, options).expect("a bus");
    let stream = UnixStream::connect_addr(place).expect("connects");
    stream.set_nonblocking(true).expect("a socket");
    let mut stream = tokio::net::UnixStream::from_std(stream).expect("a socket");
    let (mut ear, mut mouth) = stream.split();
    let speak = async {
        // It may be cut off before it has said all.
        let _ = mouth.write_all(said).await;
        let _ = mouth.shutdown().await;
    };
    let mut answer = Vec::new();
    let listen = async {
        speak.await;
        // It is cut off with a reset where it said more than was read.
        let _ = ear.read_to_end(&mut answer).await;
    };
    let manage = async {
        loop {
            let incoming = bus.next().await;
            bus.handle(&mut core, &mut host, incoming);
            // Not without end: what ends may be started again at once.
            for _ in 0..64 {
                let outgoing = core.take_outgoing();
                bus.tell(&core, &outgoing);
                bus.flush();
                let ended = std::mem::take(&mut state.lock().expect("nobody panicked").ended);
                if ended.is_empty() {
                    break;
                }
                for (pid, exit) in ended {
                    let group = state.lock().expect("nobody panicked").processes.get(&pid).map(|one| one.group.clone());
                    core.handle(Event::Exited { pid: Pid(pid), exit });
                    core.handle(Event::GroupEmpty(group.unwrap_or_default()));
                }
            }
            let (jobs, units) = (core.queue.len(), core.table.len());
            assert!(jobs <= 2 * units, "{jobs} jobs of {units} units");
        }
    };
    let both = async {
        tokio::select! {
            () = listen => {}
            () = manage => {}
        }
    };
    assert!(tokio::time::timeout(PATIENCE, both).await.is_ok(), "the client is neither answered nor cut off");
    answer
}

/// Takes lines of the handshake off the front of what was heard: them, and what is behind.
pub fn lines(heard: &[u8]) -> (Vec<&str>, &[u8]) {
    let (mut lines, mut rest) = (Vec::new(), heard);
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let Ok(line) = std::str::from_utf8(&rest[..end]) else { break };
        if !["OK ", "DATA", "REJECTED ", "AGREE_UNIX_FD", "ERROR "].iter().any(|word| line.starts_with(word)) {
            break;
        }
        lines.push(line);
        rest = &rest[end + 2..];
    }
    (lines, rest)
}

/// Whether these are messages one behind the other, the last of which may be cut.
pub fn are_messages(mut rest: &[u8]) -> bool {
    while rest.len() >= 16 {
        let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        if rest[0] != b'l' || !matches!(rest[1], 2..=4) || rest[3] != 1 {
            return false;
        }
        let length = 16 + number(12).next_multiple_of(8) + number(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}
