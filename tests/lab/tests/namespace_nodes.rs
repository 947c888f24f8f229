// SPDX-License-Identifier: GPL-2.0-or-later
//! Scenes with namespace nodes. They need root.

use std::time::{Duration, Instant};

use ssi_lab::{Error, ExecOptions, Exit, Install, Kind, Lab, Power, Slowness, SpawnOptions};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn name(scene: &str) -> String {
    format!("t-{scene}-{}", std::process::id())
}

fn lab(scene: &str, nodes: u32) -> std::result::Result<Lab, Error> {
    Lab::builder(name(scene)).kind(Kind::Ns).nodes(nodes).start()
}

/// One request, one second: for a way that is closed.
fn pings(from: &ssi_lab::Node, to: &str) -> Result<bool> {
    Ok(from.exec(&["ping", "-n", "-c1", "-W1", to])?.success())
}

/// Until there is an answer: a way that was just opened may have to be found again (arp(7)), and a ping that waits for
/// that ends when an earlier search does.
fn answers(from: &ssi_lab::Node, to: &str) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !pings(from, to)? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(true)
}

#[test]
fn comes_up_with_names_addresses_and_clean_directories() -> Result {
    let begin = Instant::now();
    let lab = lab("up", 3)?;
    eprintln!("three namespace nodes: {:?}", begin.elapsed());
    for node in lab.nodes() {
        assert_eq!(node.check(&["hostname"])?.text(), node.name());
        assert_eq!(node.shell("echo $SSI_NODE")?.text(), node.number().to_string());
        assert_eq!(node.shell("cat /proc/1/comm")?.text(), "ssi-lab-agent");
        assert_eq!(node.shell("ls -A /tmp /dev/shm | grep -v :")?.text(), "");
        let addresses = node.check(&["ip", "-o", "-4", "address", "show", "dev", "eth0"])?.text();
        assert!(addresses.contains(&format!("10.77.0.{}/24", node.number())), "{addresses}");
    }
    assert!(answers(&lab.client(), "node3")? && answers(&lab.node(1)?, "node2")?);
    Ok(())
}

#[test]
fn programs_give_status_output_and_take_input() -> Result {
    let lab = lab("exec", 1)?;
    let node = lab.node(1)?;
    let output = node.exec(&["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!((output.status, output.text(), output.error_text()), (Exit::Code(7), "out".into(), "err".into()));
    assert_eq!(node.exec(&["sh", "-c", "kill -9 $$"])?.status, Exit::Signal(9));
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let options = ExecOptions { stdin: Some(big.clone()), ..ExecOptions::default() };
    assert_eq!(node.exec_with(&["cat"], &options)?.stdout, big);
    let short = ExecOptions { timeout: Some(Duration::from_millis(300)), ..ExecOptions::default() };
    assert_eq!(node.exec_with(&["sleep", "60"], &short)?.status, Exit::TimedOut);
    assert!(matches!(node.exec(&["no-such-program"]), Err(Error::Refused { .. })));
    // A daemon that keeps the pipes does not keep the call.
    let begin = Instant::now();
    node.shell("sleep 30 & echo started")?;
    assert!(begin.elapsed() < Duration::from_secs(5));
    Ok(())
}

#[test]
fn many_programs_at_once_do_not_mix() -> Result {
    let lab = lab("many", 1)?;
    let node = lab.node(1)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let node = node.clone();
                scope.spawn(move || node.shell(&format!("sleep 0.1; seq {n} 2000")).map(|o| (n, o.stdout)))
            })
            .collect();
        for thread in threads {
            let (n, stdout) = thread.join().map_err(|_| "a thread panicked")??;
            let expected: String = (n..=2000).map(|n| format!("{n}\n")).collect();
            assert_eq!(String::from_utf8(stdout)?, expected);
        }
        Ok(())
    })
}

#[test]
fn orphans_are_reaped() -> Result {
    let lab = lab("reap", 1)?;
    let node = lab.node(1)?;
    node.shell("(sleep 0.05 &) ; (sleep 0.05 &); true")?;
    std::thread::sleep(Duration::from_millis(600));
    let zombies = node.shell("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l")?.text();
    assert_eq!(zombies, "0");
    Ok(())
}

#[test]
fn background_programs_respawn_and_stop() -> Result {
    let lab = lab("spawn", 1)?;
    let node = lab.node(1)?;
    let argv = ["sh", "-c", "echo hello; exec sleep 100"];
    let first = node.spawn("sleeper", &argv, SpawnOptions { respawn: true, ..SpawnOptions::default() })?;
    assert!(node.spawn("sleeper", &argv, SpawnOptions::default()).is_err(), "one name, one program");
    while node.log("sleeper")? != "hello\n" {
        std::thread::sleep(Duration::from_millis(10));
    }
    node.kill_process("sleeper", 9)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let again = loop {
        let status = node.process_status("sleeper")?;
        if status.pid.is_some() && status.pid != first.pid {
            break status;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((again.restarts, again.last_exit), (1, Some(Exit::Signal(9))));
    assert_eq!(node.stop("sleeper")?.pid, None);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(node.process_status("sleeper")?.pid, None, "a stopped program stays down");
    assert_eq!(node.log("sleeper")?, "hello\nhello\n");
    Ok(())
}

#[test]
fn killed_and_started_keeps_the_disk_and_loses_the_rest() -> Result {
    let lab = lab("kill", 2)?;
    let node = lab.node(1)?;
    node.put("/etc/kept", "yes\n", 0o640)?;
    node.put("/run/lost", "no\n", 0o644)?;
    node.spawn("sleeper", &["sleep", "100"], SpawnOptions::default())?;
    lab.kill(1)?;
    assert!(node.exec(&["true"]).is_err(), "a node that is off runs nothing");
    assert!(!pings(&lab.client(), "node1")?, "a node that is off answers nobody");
    assert_eq!(lab.status()?.nodes[1].power, Power::Off);
    assert!(lab.kill(1).is_err());
    lab.start(1)?;
    assert!(lab.start(1).is_err(), "it is on already");
    assert_eq!(node.get("/etc/kept")?, b"yes\n");
    assert_eq!(node.shell("stat -c %a /etc/kept")?.text(), "640");
    assert!(node.get("/run/lost").is_err());
    assert_eq!(node.check(&["hostname"])?.text(), "node1");
    assert!(answers(&lab.client(), "node1")?);
    assert!(!std::path::Path::new("/etc/kept").exists(), "the host's root is only read");
    Ok(())
}

#[test]
fn a_cut_silences_and_heal_brings_back() -> Result {
    let lab = lab("cut", 3)?;
    let (client, one, two, three) = (lab.client(), lab.node(1)?, lab.node(2)?, lab.node(3)?);
    lab.cut(&[2])?;
    assert!(!pings(&one, "node2")? && !pings(&two, "node3")? && !pings(&client, "node2")?);
    assert!(answers(&one, "node3")? && answers(&client, "node1")?);
    lab.heal()?;
    assert!(answers(&one, "node2")?);
    lab.cut_groups(&[vec![1, 2], vec![3]])?;
    assert!(answers(&one, "node2")? && !pings(&three, "node1")? && answers(&client, "node3")?);
    lab.heal()?;
    assert!(answers(&three, "node1")?);
    lab.link_down(1, 0)?;
    assert!(!pings(&client, "node1")?);
    assert_eq!(one.shell("cat /sys/class/net/eth0/carrier")?.text(), "0");
    lab.heal()?;
    assert!(answers(&client, "node1")?);
    assert!(lab.cut(&[4]).is_err(), "there is no node 4");
    Ok(())
}

#[test]
fn a_deaf_node_still_speaks() -> Result {
    let lab = lab("deaf", 2)?;
    let two = lab.node(2)?;
    // One packet each way without any answer: a datagram to a listener that writes down what comes.
    let listen = "exec 2>&1; timeout 20 nc -u -l -p 9 -w 20 > /run/heard";
    let hear = ["sh", "-c", "command -v nc >/dev/null || exit 99"];
    if two.exec(&hear)?.status == Exit::Code(99) {
        // Without netcat, ARP shows it: node 1's question reaches node 2, and the answer is lost.
        lab.deafen(1)?;
        assert!(!pings(&lab.node(1)?, "10.77.0.2")?);
        let seen = two.shell("ip neighbour show 10.77.0.1")?.text();
        assert!(seen.contains("52:54:00:77:00:01"), "node 2 never heard node 1: '{seen}'");
        return Ok(());
    }
    lab.deafen(1)?;
    two.spawn("listener", &["sh", "-c", listen], SpawnOptions::default())?;
    assert!(!pings(&lab.node(1)?, "10.77.0.2")?);
    let seen = two.shell("ip neighbour show 10.77.0.1")?.text();
    assert!(seen.contains("52:54:00:77:00:01"), "node 2 never heard node 1: '{seen}'");
    Ok(())
}

#[test]
fn a_frozen_node_is_silent_and_goes_on_where_it_was() -> Result {
    let lab = lab("freeze", 1)?;
    let node = lab.node(1)?;
    node.spawn("counter", &["sh", "-c", "while :; do echo x; sleep 0.02; done"], SpawnOptions::default())?;
    lab.freeze(1)?;
    assert!(!node.answers(Duration::from_millis(300)));
    assert_eq!(lab.status()?.nodes[1].power, Power::Frozen);
    lab.thaw(1)?;
    assert!(node.answers(Duration::from_secs(5)));
    let before = node.log("counter")?.len();
    std::thread::sleep(Duration::from_millis(300));
    assert!(node.log("counter")?.len() > before);
    Ok(())
}

#[test]
fn a_full_disk_is_full_until_it_is_not() -> Result {
    let lab = Lab::builder(name("fill")).nodes(1).disk_mib(16).start()?;
    lab.fill(1, "/var")?;
    let node = lab.node(1)?;
    let output = node.exec(&["sh", "-c", "head -c 100000 /dev/zero > /etc/new"])?;
    assert!(output.error_text().contains("No space left"), "{output:?}");
    lab.unfill(1, "/var")?;
    node.shell("head -c 100000 /dev/zero > /etc/new")?;
    Ok(())
}

#[test]
fn what_a_namespace_cannot_do_is_said() -> Result {
    let lab = lab("cannot", 1)?;
    let error = lab.clock(1, 60).err().ok_or("the host's clock was changed")?;
    assert!(error.to_string().contains("shares the host's clock"), "{error}");
    assert!(!lab.node(1)?.exec(&["date", "-s", "2000-01-01"])?.success(), "and no program in it can");
    let slow = Slowness { delay_ms: Some(10), ..Slowness::default() };
    assert!(lab.slow(1, slow).err().ok_or("a delay was accepted")?.to_string().contains("netem"));
    lab.slow(1, Slowness { loss_percent: Some(100), ..Slowness::default() })?;
    assert!(!pings(&lab.client(), "node1")?);
    lab.slow(1, Slowness { rate_kbit: Some(1000), ..Slowness::default() })?;
    assert!(answers(&lab.client(), "node1")?);
    Ok(())
}

#[test]
fn installed_files_and_a_shared_directory_are_there() -> Result {
    let here = std::env::temp_dir().join(name("file"));
    std::fs::write(&here, "#!/bin/sh\necho installed\n")?;
    let lab = Lab::builder(name("install"))
        .nodes(2)
        .install(vec![Install { from: here.clone(), to: "/sbin/lab-test".into(), mode: 0o755 }])
        .shared("/cluster")
        .two_networks()
        .start()?;
    std::fs::remove_file(here)?;
    assert_eq!(lab.node(2)?.check(&["lab-test"])?.text(), "installed");
    lab.node(1)?.put("/cluster/x", "1", 0o644)?;
    assert_eq!(lab.node(2)?.get("/cluster/x")?, b"1");
    assert!(answers(&lab.node(1)?, "10.78.0.2")? && answers(&lab.client(), "node1-b")?);
    Ok(())
}

#[test]
fn an_init_of_ones_own_is_pid_1_with_the_agent_beside_it() -> Result {
    let lab = Lab::builder(name("init")).nodes(1).init(["/bin/sh", "-c", "while :; do sleep 1; done"]).start()?;
    let node = lab.node(1)?;
    assert_eq!(node.shell("tr '\\0' ' ' < /proc/1/cmdline")?.text(), "/bin/sh -c while :; do sleep 1; done");
    assert!(node.shell("tr '\\0' '\\n' < /proc/1/environ")?.text().contains("SSI_NODE=1"));
    Ok(())
}

#[test]
fn a_lab_with_a_bad_init_says_what_was_wrong() {
    let error = Lab::builder(name("noinit")).nodes(1).init(["/no/such/init"]).start().map(drop);
    let text = error.map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(text.contains("/no/such/init"), "{text}");
}

#[test]
fn nothing_is_left_after_the_end() -> Result {
    let lab = lab("end", 2)?;
    let (directory, keeper) = (lab.directory().to_owned(), lab.status()?.keeper);
    let nodes: Vec<_> = lab.status()?.nodes.iter().filter_map(|node| node.pid).collect();
    assert_eq!(nodes.len(), 3);
    assert!(Lab::builder(lab.name()).start().is_err(), "one name, one lab");
    drop(lab);
    assert!(!directory.exists());
    for pid in nodes.into_iter().chain([keeper]) {
        assert!(!alive(pid), "{pid} lives on");
    }
    Ok(())
}

/// Not a scene: the owner that the next scene kills. It says how to find what is to vanish, and waits.
#[test]
fn owner_that_is_killed() -> Result {
    let Some(name) = std::env::var_os("SSI_LAB_TEST_OWNER") else { return Ok(()) };
    let lab = Lab::builder(name.to_string_lossy()).nodes(2).start()?;
    let status = lab.status()?;
    let pids: Vec<_> = status.nodes.iter().filter_map(|node| node.pid).chain([status.keeper]).collect();
    println!("\nPIDS {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

/// Starts an owner in a process of its own; gives it, its lab's name, and the lab's processes.
fn owner(scene: &str) -> Result<(std::process::Child, String, Vec<i32>)> {
    use std::io::BufRead;
    let name = name(scene);
    let mut owner = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "owner_that_is_killed", "--nocapture"])
        .env("SSI_LAB_TEST_OWNER", &name)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let output = owner.stdout.take().ok_or("no output")?;
    for line in std::io::BufReader::new(output).lines() {
        if let Some(pids) = line?.strip_prefix("PIDS ") {
            let pids = pids.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            return Ok((owner, name, pids));
        }
    }
    Err("the owner ended early".into())
}

fn wait_gone(pids: &[i32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(pid) = pids.iter().find(|&&pid| alive(pid)) {
        assert!(Instant::now() < deadline, "{pid} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_owner_takes_its_lab_along() -> Result {
    let (mut owner, name, pids) = owner("owner")?;
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|&pid| alive(pid)));
    owner.kill()?;
    owner.wait()?;
    wait_gone(&pids);
    assert!(!std::path::Path::new("/run/ssi-lab").join(name).exists());
    Ok(())
}

#[test]
fn a_killed_keeper_takes_its_nodes_along_and_the_next_lab_sweeps() -> Result {
    let (mut owner, name, pids) = owner("keeper")?;
    let keeper = *pids.last().ok_or("no keeper")?;
    let process = rustix::process::Pid::from_raw(keeper).ok_or("no keeper")?;
    rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
    wait_gone(&pids);
    owner.kill()?;
    owner.wait()?;
    // The keeper's last thread may hold its lock for a moment yet.
    let deadline = Instant::now() + Duration::from_secs(10);
    while Lab::list().contains(&name) {
        assert!(Instant::now() < deadline, "{name} is not swept away");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!std::path::Path::new("/run/ssi-lab").join(&name).exists());
    Ok(())
}

fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
