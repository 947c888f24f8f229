// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-init` as process 1 of namespace nodes, asked by the distribution's own systemctl(1).

use anyhow::{Result, ensure};
use ssi_e2e::{Cluster, Options, eventually, put_unit, said, wait_off};
use ssi_lab::Kind;

#[test]
fn a_node_boots_with_nothing_failed() -> Result<()> {
    let cluster = Cluster::alone("i-boot")?;
    let node = cluster.lab.node(1)?;
    ensure!(said(&node, &["cat", "/proc/1/comm"])? == "ssi-init");
    ensure!(said(&node, &["systemctl", "is-system-running"])? == "running");
    let failed = said(&node, &["systemctl", "--failed", "--no-legend", "--plain"])?;
    ensure!(failed.is_empty(), "{failed}");
    for name in ["systemd-journald.service", "systemd-tmpfiles-setup.service", "dbus.socket", "sysinit.target"] {
        ensure!(said(&node, &["systemctl", "is-active", name])? == "active", "{name}");
    }
    // The distribution's own programs take it for what they need.
    let by = said(&node, &["journalctl", "-b", "--no-pager", "-o", "cat", "-u", "systemd-tmpfiles-setup.service"])?;
    ensure!(by.contains("is up"), "{by}");
    ensure!(
        said(
            &node,
            &[
                "busctl",
                "get-property",
                "org.freedesktop.systemd1",
                "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager",
                "NFailedUnits"
            ]
        )? == "u 0"
    );
    Ok(())
}

#[test]
fn what_services_have_stored_goes_when_its_other_end_does() -> Result<()> {
    let cluster = Cluster::alone("i-store")?;
    let node = cluster.lab.node(1)?;
    // journald stores the stream of each service, to go on with it after a restart of its own.
    let stored = || -> Result<usize> {
        let journald = "systemd-journald.service";
        Ok(said(&node, &["systemctl", "show", "-P", "NFileDescriptorStore", journald])?.parse()?)
    };
    let run = |count: usize| node.shell(&format!("for n in $(seq {count}); do systemd-run --quiet --wait true; done"));
    run(1)?;
    put_unit(&node, "lasting.service", "[Service]\nExecStart=/bin/sleep 100000\n")?;
    node.check(&["systemctl", "start", "lasting.service"])?;
    eventually("the stream of what lasts is stored", || Ok(stored()? > 0))?;
    run(20)?;
    eventually("streams of what has ended are let go", || Ok(stored()? < 15))?;
    node.shell("kill -KILL $(pidof ssi-init-manager)")?;
    cluster.wait_booted(1)?;
    let before = stored()?;
    ensure!(before > 0, "the next manager has lost the stream of what lasts");
    run(20)?;
    eventually("streams are let go by the next manager too", || Ok(stored()? <= before))?;
    // With no other end, and told not to look: it stays.
    put_unit(
        &node,
        "keeps.service",
        "[Service]\nType=notify\nNotifyAccess=all\nFileDescriptorStoreMax=8\nExecStart=/usr/bin/python3 /usr/local/keeps\n",
    )?;
    node.put("/usr/local/keeps", KEEPS, 0o755)?;
    node.check(&["systemctl", "start", "keeps.service"])?;
    // One watched whose other end is there, one unwatched whose is not; one told twice, and one whose other end is gone.
    eventually("two are left of four", || {
        Ok(said(&node, &["systemctl", "show", "-P", "NFileDescriptorStore", "keeps.service"])? == "2")
    })?;
    Ok(())
}

/// Stores descriptors of each kind.
const KEEPS: &str = "import array, os, socket, time\n\
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    notify.connect(os.environ['NOTIFY_SOCKET'])\n\
    def store(fd, more=''):\n    \
        notify.sendmsg([f'FDSTORE=1\\nFDNAME=x{more}'.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd.fileno()]))])\n\
    one, other = socket.socketpair()\n\
    store(one)\nstore(one)\n\
    for more in ('', '\\nFDPOLL=0'):\n    \
        gone, end = socket.socketpair()\n    \
        end.close()\n    \
        store(gone, more)\n\
    notify.send(b'READY=1')\n\
    time.sleep(100000)\n";

#[test]
fn the_manager_and_process_1_are_replaced_with_nothing_stopped() -> Result<()> {
    let cluster = Cluster::alone("i-again")?;
    let node = cluster.lab.node(1)?;
    put_unit(&node, "lasting.service", "[Service]\nExecStart=/bin/sleep 100000\n")?;
    put_unit(
        &node,
        "ends.service",
        "[Service]\nExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.05; done; exit 7'\n",
    )?;
    node.check(&["systemctl", "start", "lasting.service", "ends.service"])?;
    let pid = cluster.main_process(1, "lasting.service")?;
    let manager = || said(&node, &["pidof", "ssi-init-manager"]);
    let still = |what: &str| -> Result<()> {
        cluster.wait_booted(1)?;
        ensure!(cluster.main_process(1, "lasting.service")? == pid, "{what} has cost a service its process");
        Ok(())
    };
    node.check(&["systemctl", "daemon-reexec"])?;
    still("daemon-reexec")?;
    // Killed, and what ends while there is none is known to the next one.
    let before = manager()?;
    node.shell("kill -STOP $(pidof ssi-init-manager); touch /run/go; sleep 0.3; kill -KILL $(pidof ssi-init-manager)")?;
    eventually("there is another manager", || manager().map(|now| !now.is_empty() && now != before))?;
    still("the manager's death")?;
    eventually("the exit that nobody heard is known", || {
        Ok(said(&node, &["systemctl", "show", "-P", "ExecMainStatus", "ends.service"])? == "7")
    })?;
    node.check(&["systemctl", "reset-failed"])?;
    // Process 1 executes its own file anew, as after an upgrade.
    node.check(&["cp", "/usr/sbin/ssi-init", "/usr/sbin/ssi-init.new"])?;
    node.check(&["mv", "/usr/sbin/ssi-init.new", "/usr/sbin/ssi-init"])?;
    node.check(&["systemctl", "daemon-reexec"])?;
    still("the new program of process 1")
}

#[test]
fn a_node_is_turned_off_by_systemctl_and_its_services_end_in_order() -> Result<()> {
    let cluster = Cluster::alone("i-off")?;
    let node = cluster.lab.node(1)?;
    let service = |after: &str| {
        format!(
            "[Unit]\nAfter={after}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n\
            ExecStop=/bin/sh -c 'echo %n >>/var/log/ends; sync'\n"
        )
    };
    put_unit(&node, "first.service", &service("basic.target"))?;
    put_unit(&node, "second.service", &service("first.service"))?;
    put_unit(
        &node,
        "stubborn.service",
        "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\n\
        TimeoutStopSec=1\n",
    )?;
    node.check(&["systemctl", "start", "first.service", "second.service", "stubborn.service"])?;
    // The node may be gone before it has answered.
    let _ = node.exec(&["systemctl", "--no-block", "poweroff"]);
    wait_off(&cluster.lab, 1)?;
    cluster.power_on(1)?;
    cluster.wait_booted(1)?;
    let ends = said(&cluster.lab.node(1)?, &["cat", "/var/log/ends"])?;
    ensure!(ends == "second.service\nfirst.service", "{ends}");
    Ok(())
}

#[test]
fn isolate_rescue_and_back() -> Result<()> {
    let cluster = Cluster::alone("i-isolate")?;
    let node = cluster.lab.node(1)?;
    put_unit(&node, "shop.service", "[Service]\nExecStart=/bin/sleep 100000\n")?;
    put_unit(
        &node,
        "shop.target",
        "[Unit]\nRequires=basic.target shop.service\nAfter=basic.target shop.service\nAllowIsolate=yes\n",
    )?;
    let is_active = |name: &str| said(&node, &["systemctl", "is-active", name]);
    node.check(&["systemctl", "isolate", "shop.target"])?;
    ensure!(is_active("shop.service")? == "active" && is_active("default.target")? == "inactive");
    // What waits for a person at the console finds no terminal on a namespace node, and the target is reached without.
    node.check(&["systemctl", "isolate", "rescue.target"])?;
    ensure!(is_active("shop.service")? == "inactive" && is_active("rescue.target")? == "active");
    ensure!(is_active("systemd-journald.service")? == "active", "what sysinit.target needs is kept");
    node.check(&["systemctl", "default"])?;
    eventually("the node is as it was", || Ok(is_active("default.target")? == "active"))?;
    // What may not be isolated is refused by name.
    let refused = node.exec(&["systemctl", "isolate", "sysinit.target"])?;
    ensure!(!refused.success() && refused.error_text().contains("may not be isolated"), "{}", refused.error_text());
    Ok(())
}

#[test]
fn a_member_boots_its_own_contexts_and_joins_by_itself() -> Result<()> {
    let cluster = Cluster::start(Options::new("i-member", Kind::Ns, 2))?;
    cluster.all_see_up(&[1, 2], 2)?;
    let node = cluster.lab.node(2)?;
    node.put("/etc/shop.conf", "for all\n", 0o644)?;
    node.check(&["cdsl", "create", "/etc/shop.conf"])?;
    cluster.power_off(2)?;
    cluster.wait_state(1, 2, "DOWN")?;
    cluster.power_on(2)?;
    // Nobody starts anything: units do.
    cluster.all_see_up(&[1, 2], 2)?;
    let node = cluster.lab.node(2)?;
    ensure!(said(&node, &["cat", "/etc/shop.conf"])? == "for all");
    let mounted = said(&node, &["findmnt", "-rn", "-o", "TARGET"])?;
    ensure!(
        mounted.lines().any(|place| place.starts_with("/cluster/")),
        "process 1 has mounted no contexts: {mounted}"
    );
    Ok(())
}
