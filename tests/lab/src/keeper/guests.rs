// SPDX-License-Identifier: GPL-2.0-or-later
//! Bringing guests up: from a snapshot, making it first where there is none, or from power-on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::agent::lock;
use crate::faults::{Boot, Slowness};
use crate::install;
use crate::protocol::{ClockChange, Exec, Exit, Message, Outcome};
use crate::spec::NodeNumber;
use crate::vm::snapshot::{self, Snapshot};
use crate::vm::{Begin, VmHost, VmNode};

use super::cluster::{Body, Cluster, Machine};
use super::link::Link;

/// How long a guest may take from power-on to its agent's word, with others booting beside it.
const AGENT_PATIENCE: Duration = Duration::from_secs(300);
/// How long its init may take from there.
const BOOT_PATIENCE: Duration = Duration::from_secs(240);
/// How long an agent may take for one small thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest before it has its place in the cluster.
type Guest = (VmNode, Arc<Link>);

impl Cluster {
    /// Makes image, drive and disks, and brings all guests up if that is wanted.
    pub(super) fn bring_up_guests(self: &Arc<Self>, step: &dyn Fn(String)) -> Result<()> {
        let host = VmHost::new(&self.spec, &self.directory, &self.agent, step)?;
        install::write_drive(&super::cluster::layer_of(&self.directory), &host.drive())?;
        let nodes: Vec<_> = (1..=self.spec.nodes).collect();
        let from_snapshot = self.spec.boot && self.spec.snapshot && self.spec.init.is_none();
        if !from_snapshot {
            for &node in &nodes {
                host.make_disk(&host.disk(node), None)?;
            }
            self.vm.set(host).map_err(|_| anyhow!("the guests were brought up twice"))?;
            if self.spec.boot {
                step(format!("booting {} guests", nodes.len()));
                on_each(&nodes, |node| self.start(node, &Boot::default()))?;
            }
            return Ok(());
        }
        let snapshot = Snapshot::ensure(&host, |directory| self.make_snapshot(&host, &nodes, directory, step))?;
        step(format!("restoring {} guests", nodes.len()));
        for &node in &nodes {
            host.make_disk(&host.disk(node), Some(&snapshot.disk(node)))?;
        }
        let host = self.vm.get_or_init(|| host);
        on_each(&nodes, |node| self.restore(host, &snapshot, node))?;
        *lock(&self.snapshot) = Some(snapshot);
        Ok(())
    }

    /// Boots all guests into frozen disks and saves them.
    fn make_snapshot(
        self: &Arc<Self>,
        host: &VmHost,
        nodes: &[NodeNumber],
        directory: &Path,
        step: &dyn Fn(String),
    ) -> Result<()> {
        step(format!("booting {} guests, to be saved for the next time", nodes.len()));
        let mut guests: BTreeMap<NodeNumber, Guest> = BTreeMap::new();
        for &node in nodes {
            let disk = snapshot::disk(directory, node);
            host.make_disk(&disk, None)?;
            guests.insert(node, self.power_on(host, node, disk, Begin::Cold, &Boot::default())?);
        }
        on_each_value(&mut guests, |node, (_, link)| {
            link.wait_hello(0, AGENT_PATIENCE).and_then(|()| wait_booted(link)).with_context(|| self.last_words(node))
        })?;
        step(format!("saving {} guests", nodes.len()));
        // All stand still before the first is saved: no guest sees another go on without it.
        on_each_value(&mut guests, |_, (guest, _)| guest.freeze(true))?;
        on_each_value(&mut guests, |node, (guest, _)| snapshot::save(directory, guest, node))?;
        on_each_value(&mut guests, |node, (guest, link)| {
            link.close();
            self.network.unplug(&self.spec, node);
            guest.kill()
        })
    }

    fn power_on(
        self: &Arc<Self>,
        host: &VmHost,
        node: NodeNumber,
        disk: PathBuf,
        begin: Begin,
        boot: &Boot,
    ) -> Result<Guest> {
        let (cluster, host, boot) = (self.clone(), host.clone(), boot.clone());
        let (guest, stream) = self.on_main(move || host.start(node, &disk, begin, &boot, &cluster.network))??;
        Ok((guest, Link::new(stream)?))
    }

    fn restore(self: &Arc<Self>, host: &VmHost, snapshot: &Snapshot, node: NodeNumber) -> Result<()> {
        let (mut guest, link) = self.power_on(host, node, host.disk(node), Begin::Incoming, &Boot::default())?;
        let finish = || -> Result<()> {
            snapshot.restore(&mut guest, node)?;
            guest.freeze(false)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
            let now = i64::try_from(now.as_nanos()).context("reading the clock")?;
            link.call(Message::Clock(ClockChange::Set(now)), PATIENCE).context("setting the restored guest's clock")?;
            self.install_into(node, &link)
        };
        let mut finish = finish;
        finish().with_context(|| self.last_words(node))?;
        self.slot(node)?.take_place(Machine { body: Body::Vm(guest), frozen: false }, link);
        Ok(())
    }

    fn install_into(&self, node: NodeNumber, link: &Link) -> Result<()> {
        if !self.spec.install.is_empty() {
            link.call(Message::Install, PATIENCE).context("installing files in the guest")?;
        }
        self.slot(node)?.installed.store(true, Ordering::Release);
        Ok(())
    }

    /// Boots a guest that is off.
    pub(super) fn start_guest(self: &Arc<Self>, node: NodeNumber, boot: &Boot) -> Result<(Body, Arc<Link>)> {
        let host = self.vm.get().context("the guests' image is not ready yet")?;
        let slot = self.slot(node)?;
        let first = !slot.installed.load(Ordering::Acquire) && !self.spec.install.is_empty();
        let begin = if first { Begin::ColdWithDrive } else { Begin::Cold };
        let (mut guest, link) = self.power_on(host, node, host.disk(node), begin, boot)?;
        let foreign_init = boot.init.is_some() || self.spec.init.is_some();
        let up =
            link.wait_hello(0, AGENT_PATIENCE).and_then(|()| if foreign_init { Ok(()) } else { wait_booted(&link) });
        if let Err(error) = up {
            let _ = guest.kill();
            return Err(error);
        }
        slot.installed.store(true, Ordering::Release);
        Ok((Body::Vm(guest), link))
    }
}

/// Makes a guest's links bad, from within: its kernel has netem.
pub(super) fn slow_guest(link: &Link, networks: usize, slowness: &Slowness) -> Result<()> {
    for network in 0..networks {
        let card = format!("eth{network}");
        let words = netem(&card, slowness);
        if let Err(error) = run(link, &words.iter().map(String::as_str).collect::<Vec<_>>()) {
            // There is nothing to take away from a card that was never slowed.
            if *slowness != Slowness::default() {
                return Err(error).context("slowing a guest's card");
            }
        }
    }
    Ok(())
}

/// The tc(8) command for it.
fn netem(card: &str, slowness: &Slowness) -> Vec<String> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    if *slowness == Slowness::default() {
        return words(format!("tc qdisc delete dev {card} root"));
    }
    let mut command = words(format!("tc qdisc replace dev {card} root netem"));
    if slowness.delay_ms.is_some() || slowness.jitter_ms.is_some() {
        command.extend(words(format!(
            "delay {}ms {}ms",
            slowness.delay_ms.unwrap_or(0),
            slowness.jitter_ms.unwrap_or(0)
        )));
    }
    if let Some(percent) = slowness.loss_percent {
        command.extend(words(format!("loss {percent}%")));
    }
    if let Some(kbit) = slowness.rate_kbit {
        command.extend(words(format!("rate {kbit}kbit")));
    }
    command
}

/// Waits until systemd has nothing left to start.
fn wait_booted(link: &Link) -> Result<()> {
    // Asking costs an emulated processor a second; --wait fails as long as there is no bus to wait on. It is asked anew
    // after a while, so that the boot is not held up by one answer that does not come.
    let line = "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.5; done; \
                until timeout 15 systemctl is-system-running --wait 2>/dev/null | grep -qE '^(running|degraded)$'; \
                do sleep 1; done";
    let exec = Exec {
        argv: ["sh", "-c", line].map(str::to_owned).to_vec(),
        timeout_ms: u64::try_from(BOOT_PATIENCE.as_millis()).ok(),
        ..Exec::default()
    };
    match link.call(Message::Exec(exec), BOOT_PATIENCE + PATIENCE)? {
        Outcome::Exited(Exit::Code(0)) => Ok(()),
        _ => bail!("the guest's init did not finish booting within {} s", BOOT_PATIENCE.as_secs()),
    }
}

fn run(link: &Link, argv: &[&str]) -> Result<()> {
    let exec =
        Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), timeout_ms: Some(20_000), ..Exec::default() };
    match link.call(Message::Exec(exec), PATIENCE)? {
        Outcome::Exited(Exit::Code(0)) => Ok(()),
        other => bail!("'{}' in the guest ended with {other:?}", argv.join(" ")),
    }
}

/// Does something for all nodes at once.
fn on_each(nodes: &[NodeNumber], work: impl Fn(NodeNumber) -> Result<()> + Sync) -> Result<()> {
    let mut nodes: BTreeMap<_, _> = nodes.iter().map(|&node| (node, ())).collect();
    on_each_value(&mut nodes, |node, ()| work(node))
}

/// Does something to all guests at once.
fn on_each_value<T: Send>(
    guests: &mut BTreeMap<NodeNumber, T>,
    work: impl Fn(NodeNumber, &mut T) -> Result<()> + Sync,
) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = guests.iter_mut().map(|(&node, guest)| scope.spawn(move || work(node, guest))).collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a guest's thread panicked"))));
        // All are waited for before the first error is told.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowness_is_told_in_tcs_words() {
        let slow = Slowness { delay_ms: Some(50), loss_percent: Some(3), ..Slowness::default() };
        assert_eq!(netem("eth0", &slow).join(" "), "tc qdisc replace dev eth0 root netem delay 50ms 0ms loss 3%");
        assert_eq!(netem("eth1", &Slowness::default()).join(" "), "tc qdisc delete dev eth1 root");
    }
}
