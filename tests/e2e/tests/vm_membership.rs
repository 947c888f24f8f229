// SPDX-License-Identifier: GPL-2.0-or-later
//! Membership on virtual machines with Debian's kernel, systemd and D-Bus: the shipped units as they are.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, moves};
use ssi_e2e::{Cluster, Options, eventually};
use ssi_lab::{Kind, Slowness};

#[test]
fn debians_own_programs_find_a_cluster_that_works() -> Result<()> {
    let cluster = Cluster::start(Options::new("vm3", Kind::Vm, 3).with_scripts())?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let node = cluster.lab.node(1)?;

    // systemd is content with the units: ready, watched, confined, nothing failed.
    let shown =
        node.check(&["systemctl", "show", "-p", "ActiveState,SubState,NRestarts,WatchdogUSec", "ssi-clusterd"])?.text();
    ensure!(shown.contains("ActiveState=active") && shown.contains("NRestarts=0"), "{shown}");
    let failed = node.exec(&["systemctl", "--failed", "--plain", "--no-legend"])?.text();
    ensure!(!failed.contains("ssi") && !failed.contains("corosync"), "{failed}");
    let verified =
        node.exec(&["systemd-analyze", "verify", "--man=no", "ssi-clusterd.service", "ssi-engine-config.service"])?;
    ensure!(!verified.error_text().contains("ssi-"), "{}", verified.error_text());

    // The interface is on the system bus; who is not root may look and not touch.
    let seen = node.check(&["busctl", "introspect", "org.openssi.Cluster1", "/org/openssi/Cluster1"])?.text();
    ensure!(seen.contains("ListNodes") && seen.contains("NodeMoved") && seen.contains("Quorate"), "{seen}");
    let call = "busctl call org.openssi.Cluster1 /org/openssi/Cluster1 org.openssi.Cluster1";
    let as_nobody = |what: &str| node.exec(&["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", what]);
    ensure!(as_nobody(&format!("{call} ListNodes"))?.success());
    ensure!(as_nobody("ssi status")?.success());
    let denied = as_nobody(&format!("{call} ShutdownNode ub 2 false"))?;
    ensure!(!denied.success() && denied.error_text().to_lowercase().contains("denied"), "{}", denied.error_text());
    let denied = as_nobody("ssi node shutdown 2")?;
    ensure!(denied.status == ssi_lab::Exit::Code(4), "{:?} {}", denied.status, denied.error_text());

    // The journal has the node and the view as fields.
    let fields = node.check(&["journalctl", "-u", "ssi-clusterd", "SSI_NODE=1", "-o", "json", "-n", "5"])?.text();
    ensure!(fields.contains("\"SSI_NODE\":\"1\""), "{fields}");

    // A machine that is turned off in order says goodbye; one whose plug is pulled is lost.
    cluster.lab.node(3)?.exec(&["systemctl", "poweroff", "--no-block"])?;
    cluster.wait_state(1, 3, "DOWN")?;
    let log = cluster.log(1)?;
    ensure!(moves(&log, 3) == ["COMINGUP", "UP", "GOINGDOWN", "KCLEANUP", "UCLEANUP", "DOWN"], "{log:?}");
    cluster.power_off(3)?;
    cluster.power_on(3)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    cluster.power_off(2)?;
    cluster.wait_state(1, 2, "DOWN")?;
    cluster.power_on(2)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(!moves(&log, 2).contains(&"GOINGDOWN"), "{log:?}");

    // The scripts ran outside the daemon's sandbox, as units of their own, once each.
    let runs = (1..=3)
        .map(|n| Ok(cluster.lab.node(n)?.shell("cat /var/log/ssi-scripts/runs 2>/dev/null || true")?.text()))
        .collect::<Result<Vec<_>>>()?
        .join("\n");
    let ran = runs.lines().filter(|l| !l.is_empty()).count();
    ensure!(ran == 7, "5 nodes came up and 2 went: {runs}");
    Ok(())
}

#[test]
fn clocks_that_jump_and_frames_that_wait_cost_no_membership() -> Result<()> {
    let cluster = Cluster::start(Options::new("vmclock", Kind::Vm, 3))?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let before = assert_same_log(&cluster, &[1, 2, 3])?;
    for seconds in [3600, -7200] {
        cluster.lab.clock(2, seconds)?;
        std::thread::sleep(std::time::Duration::from_secs(4));
        eventually("node 2 still sees three UP", || {
            Ok(cluster.ssi(2, &["wait", "--up", "3", "--timeout", "5s"])?.success())
        })?;
    }
    // Nor does a network that makes every frame of a node wait, each for another while.
    cluster.lab.slow(3, Slowness { delay_ms: Some(60), jitter_ms: Some(40), ..Slowness::default() })?;
    std::thread::sleep(std::time::Duration::from_secs(8));
    cluster.lab.slow(3, Slowness::default())?;
    ensure!(assert_same_log(&cluster, &[1, 2, 3])? == before);
    Ok(())
}
