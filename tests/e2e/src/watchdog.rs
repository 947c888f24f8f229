// SPDX-License-Identifier: GPL-2.0-or-later
//! A stand-in for hardware watchdogs: a named pipe for each namespace node, in the folder that the lab shares, which
//! process 1 takes for the device; and a thread outside of the nodes that resets the node whose pipe went silent.
//!
//! What hardware does while a node is frozen, this does too: it is not part of the node.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use ssi_lab::{Lab, Power};

/// The program that a node runs as process 1, with its own pipe as the device.
pub fn init(shared: &str) -> Vec<String> {
    let script = format!(
        "test -p {shared}/watchdog-$(hostname) && exec /usr/sbin/ssi-init ssi.init.watchdog_device={shared}/watchdog-$(hostname); \
         exec /usr/sbin/ssi-init"
    );
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
}

/// Watches all nodes of a lab; dropped, it leaves them alone.
#[derive(Debug)]
pub struct Watchdogs {
    over: Arc<AtomicBool>,
    bitten: Arc<Mutex<BTreeMap<u32, u32>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The process that is the machine, while it is on.
fn machine(lab: &Lab, node: u32) -> Option<i32> {
    let status = lab.status().ok()?;
    status.nodes.iter().find(|n| n.number == node && n.power != Power::Off)?.pid
}

/// For open(2), which takes its flags as a C int.
const NON_BLOCKING: i32 = OFlags::NONBLOCK.bits().cast_signed();

struct Dog {
    pipe: File,
    armed: bool,
    petted: Instant,
    /// Who petted it.
    machine: Option<i32>,
}

/// Makes the pipes. Before the nodes boot: a node without one has no watchdog.
///
/// # Errors
/// What could not be made.
pub fn make_pipes(folder: &Path, nodes: u32) -> Result<()> {
    for node in 1..=nodes {
        let path = folder.join(format!("watchdog-node{node}"));
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).with_context(|| format!("making {}", path.display()))?;
    }
    Ok(())
}

impl Watchdogs {
    /// Begins. `timeout` is what the nodes' process 1 believes it to be. `folder` is the shared one on this machine.
    ///
    /// # Errors
    /// When a pipe cannot be opened, or the lab cannot be reached.
    pub fn watch(lab: &str, folder: &Path, nodes: u32, timeout: Duration) -> Result<Watchdogs> {
        let mut dogs = BTreeMap::new();
        for node in 1..=nodes {
            let path = folder.join(format!("watchdog-node{node}"));
            // Open for writing as well, it is never at its end, and those who open it do not wait.
            let mut options = File::options();
            let pipe = options.read(true).write(true).custom_flags(NON_BLOCKING).open(&path);
            let pipe = pipe.with_context(|| format!("opening {}", path.display()))?;
            dogs.insert(node, Dog { pipe, armed: false, petted: Instant::now(), machine: None });
        }
        let lab = Lab::attach(lab)?;
        let (over, bitten) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let thread = std::thread::spawn({
            let (over, bitten) = (Arc::clone(&over), Arc::clone(&bitten));
            move || {
                while !over.load(Ordering::Relaxed) {
                    for (node, dog) in &mut dogs {
                        // It goes off with its machine, and does not turn it on; the machine that comes on has not armed it.
                        if dog.is_due(&lab, *node, timeout) && lab.kill(*node).is_ok() {
                            if let Ok(mut bitten) = bitten.lock() {
                                *bitten.entry(*node).or_default() += 1;
                            }
                            let _ = lab.start(*node);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Ok(Watchdogs { over, bitten, thread: Some(thread) })
    }

    /// How often each node was reset.
    pub fn bitten(&self) -> BTreeMap<u32, u32> {
        self.bitten.lock().map(|bitten| bitten.clone()).unwrap_or_default()
    }
}

impl Dog {
    /// Takes in what was written since; whether the machine is to be reset now.
    fn is_due(&mut self, lab: &Lab, node: u32, timeout: Duration) -> bool {
        let mut bytes = [0; 256];
        let before = self.petted;
        while let Ok(count @ 1..) = self.pipe.read(&mut bytes) {
            self.petted = Instant::now();
            // 'V' as the last word: it was closed on purpose.
            self.armed = bytes[count - 1] != b'V';
        }
        if self.petted != before {
            self.machine = machine(lab, node);
        }
        let due = self.armed && self.petted.elapsed() >= timeout;
        if due {
            self.armed = false;
        }
        due && self.machine.is_some() && self.machine == machine(lab, node)
    }
}

impl Drop for Watchdogs {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
