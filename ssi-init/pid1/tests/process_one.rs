// SPDX-License-Identifier: GPL-2.0-or-later
//! Process 1 by itself: boot, signals, executing anew, memory, the end.

#[allow(dead_code, unreachable_pub)]
mod scene;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

use scene::Scene;

fn script(scene: &Scene, name: &str, text: &str) {
    let path = scene.file(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_bare_root_is_booted() {
    let setup = "echo box > etc/hostname";
    let mut scene =
        Scene::with(setup, &["single", "ssi.init.nonsense=1", "systemd.machine_id=0123456789abcdef0123456789abcdef"]);
    let hello = scene.heard("Greeting");
    // A container, and the first boot of this /etc.
    assert!(hello.contains("flags: 5, starts: 0, kept: 0"), "{hello}");
    let begun = scene.heard("begun");
    assert!(begun.contains(" single "), "what was said to process 1 is handed on: {begun}");
    let of = |file: &str| format!("/proc/{}/root/{file}", scene.pid1());
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", scene.pid1())).unwrap();
    for place in ["/proc", "/sys", "/dev/shm", "/dev/pts", "/run", "/sys/fs/cgroup"] {
        assert!(mounts.lines().any(|line| line.split(' ').nth(4) == Some(place)), "{place}:\n{mounts}");
    }
    let run = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/run")).unwrap();
    assert!(run.contains("nosuid,nodev") && run.contains("mode=755"), "{run}");
    for file in ["run/systemd/system", "run/lock", "run/systemd/first-boot", "dev/fd/0"] {
        assert!(std::fs::metadata(of(file)).is_ok(), "{file}");
    }
    for (file, mode) in [
        ("run/systemd/system", 0o755),
        ("run/lock", 0o1777),
        ("run/machine-id", 0o644),
        ("run/systemd/first-boot", 0o644),
    ] {
        let found = std::fs::metadata(of(file)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{file} is {found:o}");
    }
    let id = std::fs::read_to_string(of("etc/machine-id")).unwrap();
    assert_eq!(id, "0123456789abcdef0123456789abcdef\n");
    assert!(mounts.contains(" /etc/machine-id "), "it is for this boot");
    let console = scene.read("console");
    assert!(console.contains("ssi.init.nonsense=1 is not understood"), "{console}");
    let name = std::process::Command::new("nsenter").args(["-t", &scene.pid1().to_string(), "-u", "hostname"]).output();
    assert_eq!(name.unwrap().stdout, b"box\n");
    // IFF_UP and IFF_LOOPBACK.
    assert_eq!(std::fs::read_to_string(of("sys/class/net/lo/flags")).unwrap(), "0x9\n");
}

const CLUSTER: &str = r#"
mkdir -p etc/ssi
cat > etc/ssi/cluster.toml <<'END'
name = "alpha"
[membership]
engine = "solo"
[[node]]
id = 3
name = "node3"
address = "192.0.2.13"
END
"#;

#[test]
fn the_node_is_known_and_its_contexts_are_activated_before_the_manager() {
    let setup = format!(
        "{CLUSTER}\nprintf '#!/bin/sh\\necho cdsl \"$@\" $SSI_NODE >> /lab/log\\n' > lab/cdsl; chmod +x lab/cdsl; export SSI_NODE=3"
    );
    let mut scene = Scene::with(&setup, &["ssi.init.cdsl=/lab/cdsl"]);
    let hello = scene.heard("Greeting");
    assert!(hello.contains("node: 3"), "{hello}");
    let log = scene.read("log");
    assert!(log.starts_with("cdsl mount 3\nbegun") && log.contains("SSI_NODE=3"), "{log}");
}

#[test]
fn without_a_number_a_container_ends_with_a_sentence() {
    let mut scene = Scene::with(CLUSTER, &[]);
    let ended = scene.end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let console = scene.read("console");
    assert!(console.contains("which node this machine is cannot be told"), "{console}");
    assert!(console.contains("add to its [[node]] in cluster.toml"), "{console}");
}

#[test]
fn signals_are_passed_on_and_those_that_end_do() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    // SIGHUP, SIGINT, SIGUSR1, SIGWINCH, SIGPWR, SIGRTMIN+3; SIGALRM means nothing.
    for signal in [14, 1, 2, 10, 28, 30, 37] {
        scene.signal(signal);
        if signal != 14 {
            scene.heard(&format!("Signal(Signal {{ number: {signal},"));
        }
    }
    assert_eq!(scene.count("Signal"), 6);
    // What comes while there is no manager is told to the next.
    let manager = scene.manager();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(manager), nix::sys::signal::Signal::SIGSTOP).unwrap();
    scene.signal(12);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(manager), nix::sys::signal::Signal::SIGKILL).unwrap();
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
    // SIGRTMIN+14: power off now. A pid namespace tells its parent by SIGINT.
    scene.signal(48);
    assert_eq!(scene.end().signal(), Some(2));
}

#[test]
fn ctrl_alt_del_seven_times_reboots_whatever_the_manager_does() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order("hang");
    for _ in 0..7 {
        scene.signal(2);
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    // A pid namespace tells its parent of a reboot by SIGHUP.
    assert_eq!(scene.end().signal(), Some(1));
    assert!(scene.read("console").contains("seven times within 2 s"));
}

#[test]
fn it_is_executed_anew_with_all_that_is_kept_and_the_manager_does_not_notice() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order("keep a one\nsnapshot state\nspawn 3\nping 1");
    scene.heard("number: 1");
    let manager = scene.manager();
    scene.order("reexec");
    scene.until("the exec", |scene| scene.read("console").contains("executed anew; 1 descriptors kept").then_some(()));
    scene.order("spawn 4\nping 2");
    let counters = scene.heard("number: 2");
    assert!(counters.contains("kept: 1, allocations: 0"), "{counters}");
    scene.until("the exit", |scene| (scene.count("exit 1 ") == 1).then_some(()));
    assert_eq!((scene.manager(), scene.count("begun")), (manager, 1));
    scene.kill_manager();
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
    let log = scene.read("log");
    assert!(log.contains("kept a one") && log.contains("snapshot state"), "{log}");
    assert!(log.contains("flags: 7, starts: 1"), "a container, first boot, executed anew: {log}");
}

#[test]
fn a_new_program_that_does_not_work_is_not_executed() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    script(&scene, "broken", "exit 1");
    std::fs::rename(scene.file("broken"), scene.file("ssi-init")).unwrap();
    scene.order("reexec");
    scene.heard("why: NewProgramFails");
    scene.signal(15);
    scene.until("the message", |scene| {
        (scene.read("console").matches("it goes on as it is").count() == 2).then_some(())
    });
    scene.order("ping 3");
    scene.heard("number: 3");
}

#[test]
fn a_fault_of_its_own_is_survived() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order("keep a one\nspawn 3\nping 1");
    scene.heard("number: 1");
    for faults in 1..=3 {
        // SIGSEGV
        scene.signal(11);
        scene.until("the exec", |scene| {
            (scene.read("console").matches("executed anew; 1 descriptors kept").count() == faults).then_some(())
        });
    }
    scene.order("spawn 4\nping 2");
    scene.heard("number: 2");
    scene.until("the exit", |scene| (scene.count("exit 1 ") == 1).then_some(()));
    assert_eq!(scene.count("begun"), 1, "the manager does not notice");
    let console = scene.read("console");
    assert!(console.contains("SIGSEGV, 1 in a row") && console.contains("SIGSEGV, 3 in a row"), "{console}");
    // One more, and it holds still instead: what runs runs on.
    scene.signal(11);
    scene.until("the end of trying", |scene| scene.read("console").contains("starts nothing any more").then_some(()));
    let manager = scene.manager();
    assert!(std::fs::metadata(format!("/proc/{manager}")).is_ok());
}

#[test]
fn it_asks_for_no_memory_and_has_little() {
    let mut scene = Scene::new(&["ssi.init.restart_max=0", "ssi.init.quick_deaths=0"]);
    scene.heard("over");
    let keeps: String = (0..200).map(|n| format!("keep unit-{n}.socket/0 {n}\n")).collect();
    scene.order(&keeps);
    for _ in 0..5 {
        scene.order("spawn 1\norphan 2\nspawn 3");
        scene.signal(10);
        scene.kill_manager();
        let over = scene.count("over");
        scene.until("the next manager", |scene| (scene.count("over") > over).then_some(()));
    }
    scene.order("watchdog 5000 1000\nraw 00\nping 9");
    let counters = scene.heard("number: 9");
    assert!(counters.contains("kept: 200, allocations: 0"), "{counters}");
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", scene.pid1())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The program's own pages are its file's; what nobody else can share is anonymous.
    let private = kib("Anonymous:");
    println!("with 200 descriptors kept: private {private} KiB, PSS {} KiB, RSS {} KiB", kib("Pss:"), kib("Rss:"));
    assert!(private < 1024, "{rollup}");
}

#[test]
fn the_watchdog_is_petted_and_left_alone_when_asked() {
    // Somebody has its other end before process 1 looks for it: a pipe without one is no device.
    let setup = "mkfifo lab/watchdog; sleep 1000 <>lab/watchdog &";
    let mut scene = Scene::with(setup, &["ssi.init.watchdog=2s", "ssi.init.watchdog_device=/lab/watchdog"]);
    let mut device = std::fs::OpenOptions::new().read(true).write(true).open(scene.file("watchdog")).unwrap();
    let mut pets = |count: usize| {
        use std::io::Read as _;
        let mut bytes = vec![0; count];
        device.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(pets(3), [0; 3]);
    scene.heard("over");
    scene.order("hang");
    assert_eq!(pets(2), [0; 2], "while the manager hangs too");
    scene.kill_manager();
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
    scene.signal(15);
    scene.until("the exec", |scene| scene.read("console").contains("executed anew").then_some(()));
    assert_eq!(pets(2), [0; 2], "after an exec too");
    scene.order("watchdog 2000 100");
    scene.until("the message", |scene| scene.read("console").contains("the watchdog is left alone").then_some(()));
    scene.order("watchdog 0 4294967295");
    assert_eq!(pets(2), [0; 2], "as it was set at the boot");
    scene.order("watchdog 0 0");
    let mut last = 0;
    while last == 0 {
        last = pets(1)[0];
    }
    assert_eq!(last, b'V');
}

#[test]
fn shutdown_ends_processes_in_order_and_says_how() {
    let setup = "mkdir -p var/sleepers";
    let mut scene = Scene::with(setup, &["ssi.init.term=1s"]);
    scene.heard("over");
    script(
        &scene,
        "heeds",
        "trap 'echo heeds >> /lab/order; exit 0' TERM; echo ready >> /lab/order; while :; do sleep 0.05; done",
    );
    script(
        &scene,
        "ignores",
        "trap '' TERM; echo ready >> /lab/order; sleep 1; while :; do echo ignores >> /lab/order; sleep 0.2; done",
    );
    let inside = |command: &str| {
        let pid1 = scene.pid1().to_string();
        let mut run = std::process::Command::new("nsenter");
        run.args(["-t", &pid1, "-p", "-m", "-r", "sh", "-c", &format!("{command} </dev/null >/dev/null 2>&1 &")]);
        assert!(run.status().unwrap().success());
    };
    inside("/lab/heeds");
    inside("/lab/ignores");
    scene.until("both", |scene| (scene.read("order").matches("ready").count() == 2).then_some(()));
    scene.order("shutdown exit 7 argument");
    assert_eq!(scene.end().code(), Some(7));
    let (order, console) = (scene.read("order"), scene.read("console"));
    assert!(order.contains("heeds"), "{order}");
    let steps = ["shutting down: exit", "have got SIGTERM", "do not heed SIGTERM and get SIGKILL: ignores"];
    let places: Vec<_> =
        steps.iter().map(|step| console.find(step).unwrap_or_else(|| panic!("{step}: {console}"))).collect();
    assert!(places.is_sorted(), "{console}");
}

#[test]
fn a_shutdown_that_hangs_is_ended_in_time() {
    let mut scene = Scene::new(&["ssi.init.term=60s", "ssi.init.shutdown=1s"]);
    scene.heard("over");
    script(&scene, "ignores", "trap '' TERM; echo ready >> /lab/order; while :; do sleep 0.2; done");
    let pid1 = scene.pid1().to_string();
    let mut run = std::process::Command::new("nsenter");
    run.args(["-t", &pid1, "-p", "-m", "-r", "sh", "-c", "/lab/ignores </dev/null >/dev/null 2>&1 &"]);
    assert!(run.status().unwrap().success());
    scene.until("it", |scene| scene.read("order").contains("ready").then_some(()));
    scene.order("shutdown exit 5");
    scene.end();
    assert!(scene.read("console").contains("did not come to its end in time"), "{}", scene.read("console"));
}

#[test]
fn as_any_other_process_it_is_a_command() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ssi-init")).arg("verify").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ssi-init-manager"), "{said}");
}
