// SPDX-License-Identifier: GPL-2.0-or-later
//! Nodes that are QEMU guests, emulated in software: Debian's kernel, Debian's root, a PID 1 of its own.
//!
//! ```text
//!   image (Debian, raw) <- snapshot's disk (booted, frozen) <- run's disk (one lab's)     vda
//!                                                              drive (tar of installed files)  vdb
//!   early user space: drivers, addresses, the agent; then systemd, or the init under test
//! ```
//!
//! QEMU runs inside the lab's network namespace, where its taps are, and dies with the keeper.

pub(crate) mod cache;
pub(crate) mod image;
mod initramfs;
mod modules;
mod qmp;
pub(crate) mod snapshot;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::agent::install::SERIAL;
use crate::command::run;
use crate::faults::Boot;
use crate::network::{Network, port};
use crate::ns::cgroup::Cgroup;
use crate::ns::machine_id;
use crate::spec::{CLIENT, LabSpec, NodeNumber};

use image::Image;
use qmp::Monitor;

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";
/// How long QEMU may take to make its sockets.
const SOCKETS: Duration = Duration::from_secs(20);
/// Words for every guest's kernel: its console, old card names, no waste on an emulated processor.
const KERNEL_WORDS: &str =
    "console=ttyS0 quiet net.ifnames=0 mitigations=off tsc=reliable panic=5 systemd.show_status=0";

/// What all guests of a lab have in common.
#[derive(Debug, Clone)]
pub(crate) struct VmHost {
    spec: LabSpec,
    directory: PathBuf,
    image: Image,
    initramfs: PathBuf,
    initramfs_key: String,
    /// Keeps the early user space in the cache.
    _held: Option<Arc<File>>,
}

/// A guest that is on.
pub(crate) struct VmNode {
    qemu: Child,
    monitor: Monitor,
}

/// How a guest comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// From power-on.
    Cold,
    /// From power-on, unpacking the drive before init starts.
    ColdWithDrive,
    /// Waiting for a saved state.
    Incoming,
}

impl VmHost {
    /// Sees to image and early user space.
    pub(crate) fn new(spec: &LabSpec, directory: &Path, agent: &Path, step: &dyn Fn(String)) -> Result<Self> {
        let image = image::ensure(&spec.packages, step)?;
        let (initramfs, initramfs_key) = initramfs::ensure(&image, agent)?;
        let held = initramfs.parent().map(|place| cache::hold(place, 2)).transpose()?.map(Arc::new);
        let runs = cache::run_directory(&spec.name);
        let _ = fs::remove_dir_all(&runs);
        fs::create_dir_all(&runs).with_context(|| format!("making {}", runs.display()))?;
        Ok(Self { spec: spec.clone(), directory: directory.to_owned(), image, initramfs, initramfs_key, _held: held })
    }

    /// The drive with the installed files.
    pub(crate) fn drive(&self) -> PathBuf {
        cache::run_directory(&self.spec.name).join("drive.raw")
    }

    /// A node's disk in this run.
    pub(crate) fn disk(&self, node: NodeNumber) -> PathBuf {
        cache::disk(&self.spec.name, node)
    }

    /// Gives a node a fresh disk on top of another, or of the image.
    pub(crate) fn make_disk(&self, disk: &Path, below: Option<&Path>) -> Result<()> {
        let (below, format) = below.map_or_else(|| (self.image.root(), "raw"), |below| (below.to_owned(), "qcow2"));
        let words: [OsString; 8] = [
            "create".into(),
            "-q".into(),
            "-f".into(),
            "qcow2".into(),
            "-F".into(),
            format.into(),
            "-b".into(),
            below.into(),
        ];
        run("qemu-img", words.iter().map(OsString::as_os_str).chain([disk.as_os_str()])).map(drop)
    }

    /// Starts QEMU; to be called on the keeper's main thread. Gives the agent's stream too.
    pub(crate) fn start(
        &self,
        node: NodeNumber,
        disk: &Path,
        begin: Begin,
        boot: &Boot,
        network: &Network,
    ) -> Result<(VmNode, UnixStream)> {
        network.plug_taps(&self.spec, node)?;
        let directory = self.directory.join(self.spec.host_name(node));
        fs::create_dir_all(&directory)?;
        for socket in ["agent.sock", "qmp.sock", "serial.sock"] {
            let _ = fs::remove_file(directory.join(socket));
        }
        let log = File::create(directory.join("qemu.log")).context("making QEMU's log")?;
        let mut qemu = Command::new("nsenter")
            .arg(format!("--net={}", network.namespace().path().display()))
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--", QEMU])
            .args(self.arguments(node, &directory, disk, begin, boot))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting QEMU")?;
        let in_cgroup =
            Cgroup::new(&self.spec.name, &self.spec.host_name(node)).and_then(|cgroup| cgroup.take(qemu.id()));
        let connected = in_cgroup.and_then(|()| self.connect(&directory, &mut qemu));
        match connected {
            Ok((monitor, agent)) => Ok((VmNode { qemu, monitor }, agent)),
            Err(error) => {
                let _ = qemu.kill();
                let _ = qemu.wait();
                let said = fs::read_to_string(directory.join("qemu.log")).unwrap_or_default();
                Err(error).with_context(|| format!("starting QEMU, which said: {}", said.trim()))
            }
        }
    }

    fn connect(&self, directory: &Path, qemu: &mut Child) -> Result<(Monitor, UnixStream)> {
        let mut gone = || !matches!(qemu.try_wait(), Ok(None));
        let monitor = Monitor::new(qmp::connect(&directory.join("qmp.sock"), SOCKETS, &mut gone)?)?;
        let agent = qmp::connect(&directory.join("agent.sock"), SOCKETS, &mut gone)?;
        Ok((monitor, agent))
    }

    /// QEMU's command line.
    fn arguments(&self, node: NodeNumber, directory: &Path, disk: &Path, begin: Begin, boot: &Boot) -> Vec<String> {
        let socket = |name: &str| directory.join(name).display().to_string();
        let mut words: Vec<String> = [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35",
            "-accel",
            // One guest with a thread a processor is quicker; three on two processors are not.
            "tcg,thread=single",
            "-cpu",
            "qemu64",
            "-smp",
            "1",
            "-rtc",
            "base=utc,clock=host",
            "-device",
            "virtio-rng-pci",
            "-device",
            "virtio-serial-pci",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        add("-name", format!("{}-{}", self.spec.name, self.spec.host_name(node)));
        add("-m", format!("{}M", self.spec.memory_mib));
        add("-uuid", uuid(node));
        add("-kernel", self.image.kernel().display().to_string());
        add("-initrd", self.initramfs.display().to_string());
        add("-append", self.kernel_line(node, begin, boot));
        add("-drive", format!("if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={}", disk.display()));
        add("-device", "virtio-blk-pci,drive=disk,serial=disk".to_owned());
        add("-drive", format!("if=none,id=drive,format=raw,readonly=on,file={}", self.drive().display()));
        add("-device", format!("virtio-blk-pci,drive=drive,serial={SERIAL}"));
        add("-chardev", format!("socket,id=agent,server=on,wait=off,path={}", socket("agent.sock")));
        add("-device", "virtserialport,chardev=agent,name=ssi.agent".to_owned());
        add("-chardev", format!("socket,id=qmp,server=on,wait=off,path={}", socket("qmp.sock")));
        add("-mon", "chardev=qmp,mode=control".to_owned());
        add(
            "-chardev",
            format!(
                "socket,id=serial,server=on,wait=off,logappend=on,logfile={},path={}",
                socket("console.log"),
                socket("serial.sock")
            ),
        );
        add("-serial", "chardev:serial".to_owned());
        for network in 0..self.spec.networks.len() {
            add("-netdev", format!("tap,id=net{network},ifname={},script=no,downscript=no", port(network, node)));
            add(
                "-device",
                format!(
                    "virtio-net-pci,id=card{network},netdev=net{network},romfile=,mac={}",
                    self.spec.mac(network, node)
                ),
            );
        }
        if begin == Begin::Incoming {
            add("-incoming", "defer".to_owned());
        }
        words
    }

    /// The kernel's command line.
    fn kernel_line(&self, node: NodeNumber, begin: Begin, boot: &Boot) -> String {
        let networks: Vec<_> = self.spec.networks.iter().map(|[a, b, c]| format!("{a}.{b}.{c}")).collect();
        let client = self.spec.address(0, CLIENT).map_or(0, |address| address.octets()[3]);
        let mut line = format!(
            "{KERNEL_WORDS} ssi.node={node} ssi.lab.net={} ssi.lab.nodes={} ssi.lab.client={client}",
            networks.join(","),
            self.spec.nodes,
        );
        if begin == Begin::ColdWithDrive {
            line.push_str(" ssi.lab.install=vdb");
        }
        if let Some(init) = boot.init.as_ref().or(self.spec.init.as_ref()) {
            line.push_str(&format!(" ssi.lab.init={}", init.join(",")));
        }
        for word in self.spec.kernel_arguments.iter().chain(&boot.kernel_arguments) {
            line.push(' ');
            line.push_str(word);
        }
        line
    }

    /// What a saved state depends on.
    fn snapshot_key(&self) -> Result<String> {
        let version = run(QEMU, ["--version"])?;
        // Paths of the lab do not matter, and node 1's line stands for all.
        let line = self.kernel_line(1, Begin::Cold, &Boot::default());
        let shape = format!("{} {} {line}", self.spec.nodes, self.spec.memory_mib);
        // An image that was built anew by the same recipe is another disk: what the saved guest remembers of the old one's
        // blocks is wrong there.
        let disk = self.image.root();
        let built = fs::metadata(&disk).and_then(|disk| disk.modified());
        let built = built.with_context(|| format!("reading when {} was built", disk.display()))?;
        let built = built.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos().to_le_bytes();
        let parts: [&[u8]; 5] =
            [self.image.key.as_bytes(), &built, self.initramfs_key.as_bytes(), &version, shape.as_bytes()];
        Ok(cache::key(parts))
    }
}

impl VmNode {
    /// Power off.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.qemu.kill().context("killing QEMU")?;
        self.qemu.wait().context("waiting for QEMU's end").map(drop)
    }

    /// Stops the guest's processors, or lets them go on.
    pub(crate) fn freeze(&mut self, frozen: bool) -> Result<()> {
        self.monitor.stop(frozen)
    }

    /// Takes a card's carrier away or gives it back.
    pub(crate) fn set_link(&mut self, network: usize, up: bool) -> Result<()> {
        self.monitor.set_link(&format!("card{network}"), up)
    }

    /// QEMU's process number.
    pub(crate) fn pid(&self) -> Option<i32> {
        i32::try_from(self.qemu.id()).ok()
    }

    /// Whether it ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.qemu.try_wait(), Ok(None))
    }
}

/// A product UUID that is the same for a node each time, in whichever lab: a saved guest has seen it.
fn uuid(node: NodeNumber) -> String {
    let digits = machine_id("product", node);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    fn host() -> VmHost {
        let image = Image::for_test();
        VmHost {
            spec: spec(),
            directory: "/d".into(),
            image,
            initramfs: "/r".into(),
            initramfs_key: "r".to_owned(),
            _held: None,
        }
    }

    #[test]
    fn the_kernel_learns_who_it_is() {
        let boot = Boot {
            init: Some(vec!["/sbin/x".to_owned(), "-v".to_owned()]),
            kernel_arguments: vec!["debug".to_owned()],
        };
        let line = host().kernel_line(2, Begin::ColdWithDrive, &boot);
        assert!(line.ends_with("ssi.node=2 ssi.lab.net=10.77.0,10.78.0 ssi.lab.nodes=2 ssi.lab.client=200 ssi.lab.install=vdb ssi.lab.init=/sbin/x,-v debug"), "{line}");
        assert!(line.contains("console=ttyS0"));
    }

    #[test]
    fn uuids_differ_and_have_their_form() {
        let (one, two) = (uuid(1), uuid(2));
        assert_ne!(one, two);
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
