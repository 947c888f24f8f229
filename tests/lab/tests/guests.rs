// SPDX-License-Identifier: GPL-2.0-or-later
//! The scene with QEMU guests: minutes at its first run, so it wants `SSI_LAB_VM=1`, and root.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ssi_lab::{Install, Kind, Lab, Power, Slowness};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn lab(scene: &str) -> std::result::Result<Lab, ssi_lab::Error> {
    let begin = Instant::now();
    let install = vec![Install { from: "/bin/true".into(), to: "/usr/sbin/lab-test".into(), mode: 0o755 }];
    let lab = Lab::builder(format!("g-{scene}-{}", std::process::id()))
        .kind(Kind::Vm)
        .nodes(3)
        .install(install)
        .progress(move |step| eprintln!("{:6.1} s  {step}", begin.elapsed().as_secs_f32()))
        .start()?;
    eprintln!("{:6.1} s  up", begin.elapsed().as_secs_f32());
    Ok(lab)
}

#[test]
fn guests_boot_are_restored_and_suffer_faults() -> Result {
    if std::env::var_os("SSI_LAB_VM").is_none() {
        eprintln!("not run: set SSI_LAB_VM=1");
        return Ok(());
    }
    drop(lab("first")?);
    let begin = Instant::now();
    let lab = lab("second")?;
    assert!(begin.elapsed() < Duration::from_secs(30), "the second lab was not restored");
    let client = lab.client();
    for node in lab.nodes() {
        assert_eq!(node.check(&["hostname"])?.text(), node.name());
        assert_eq!(node.shell("cat /proc/1/comm")?.text(), "systemd");
        assert!(node.shell("cat /proc/cmdline")?.text().contains(&format!("ssi.node={}", node.number())));
        let clock: u64 = node.shell("date +%s")?.text().parse()?;
        assert!(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().abs_diff(clock) <= 5, "a stale clock");
        node.check(&["lab-test"])?;
        assert!(client.exec(&["ping", "-c1", "-W3", node.name()])?.success());
    }
    let begin = Instant::now();
    for _ in 0..20 {
        lab.node(1)?.check(&["true"])?;
    }
    eprintln!("one command: {:?}", begin.elapsed() / 20);

    let big: Vec<u8> = (0..2_000_000u32).map(|n| (n % 253) as u8).collect();
    lab.node(1)?.put("/root/big", &big, 0o600)?;
    assert_eq!(lab.node(1)?.get("/root/big")?, big);

    lab.cut(&[2])?;
    assert!(!client.exec(&["ping", "-c1", "-W2", "node2"])?.success());
    assert_eq!(lab.node(2)?.shell("cat /sys/class/net/eth0/carrier")?.text(), "1", "a cut is silent");
    lab.heal()?;
    assert!(client.exec(&["ping", "-c1", "-W3", "node2"])?.success());
    lab.link_down(2, 0)?;
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(lab.node(2)?.shell("cat /sys/class/net/eth0/carrier")?.text(), "0");
    lab.link_up(2, 0)?;

    lab.freeze(3)?;
    assert!(!lab.node(3)?.answers(Duration::from_secs(1)));
    lab.thaw(3)?;
    assert!(lab.node(3)?.answers(Duration::from_secs(20)));

    lab.slow(1, Slowness { delay_ms: Some(300), ..Slowness::default() })?;
    let ping = client.check(&["ping", "-c3", "-W3", "node1"])?.text();
    let least: f32 = ping.rsplit("= ").next().and_then(|t| t.split('/').next()).ok_or("no times")?.parse()?;
    assert!(least >= 290.0, "{ping}");
    lab.slow(1, Slowness::default())?;

    lab.clock(1, -3600)?;
    let clock: u64 = lab.node(1)?.shell("date +%s")?.text().parse()?;
    assert!(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().abs_diff(clock + 3600) < 30);

    lab.node(2)?.put("/etc/kept", "yes", 0o644)?;
    lab.node(2)?.check(&["sync"])?;
    lab.kill(2)?;
    assert_eq!(lab.status()?.nodes[2].power, Power::Off);
    let begin = Instant::now();
    lab.start(2)?;
    eprintln!("one guest, from power-on: {:?}", begin.elapsed());
    assert_eq!(lab.node(2)?.get("/etc/kept")?, b"yes");
    lab.node(2)?.check(&["lab-test"])?;
    assert!(client.exec(&["ping", "-c1", "-W3", "node2"])?.success());
    Ok(())
}
