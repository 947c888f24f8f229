// SPDX-License-Identifier: GPL-2.0-or-later
//! A scene is recorded on a machine that is none, and done again from the recording alone.

#[path = "../../manager/tests/double/mod.rs"]
mod double;
mod stage;

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use double::World;
use ssi_init_manager::dump::{Around, Snapshot};
use ssi_init_manager::record::{About, RecordedFiles, Tape, recorder};
use ssi_init_manager::replay::{Difference, Happened, Outcome, read, replay};
use ssi_manager::core::commands::Whom;
use ssi_manager::core::system::Exit;
use ssi_manager::core::{Core, Event, FileLoads};
use ssi_manager::job::{JobMode, Request};
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::settings::manager::SystemConf;

/// A file that a test reads later.
#[derive(Clone, Default)]
struct Text(Rc<RefCell<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn get(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

fn again(recording: &str) -> (Outcome, Vec<Happened>) {
    let mut steps = Vec::new();
    let lines = read(recording.as_bytes()).unwrap();
    let outcome = replay(lines, usize::MAX, |happened| steps.push(happened)).unwrap();
    (outcome, steps)
}

/// The files of a scene, for a core that is recorded.
fn disk(files: &[(&str, &str)]) -> MemoryFiles {
    let mut disk = MemoryFiles::new();
    for target in ["sysinit", "basic", "shutdown", "sockets", "timers", "paths", "umount", "local-fs"] {
        disk.file(format!("/usr/lib/systemd/system/{target}.target"), "[Unit]\nDefaultDependencies=no\n");
    }
    disk.file("/etc/systemd/system.conf", "[Manager]\nDefaultEnvironment=TOKEN=hush\nDefaultTimeoutStartSec=7\n");
    for (name, text) in files {
        disk.file(format!("/etc/systemd/system/{name}"), *text);
    }
    disk
}

/// Another manager takes over, and is recorded: as `ssi-init record start` has it.
fn take_over(world: &mut World, files: &[(&str, &str)], tape: &Tape) {
    let ids: Vec<_> = world.core.table.iter().map(|unit| unit.id).collect();
    let units = ids.into_iter().filter_map(|id| world.core.saved(id)).collect();
    let queue = world.core.saved_queue();
    let about = About { version: "1".to_owned(), build: "b".to_owned(), at: world.core.now(), ..About::default() };
    tape.begin(about.clone());
    let files = RecordedFiles::new(disk(files), tape.clone());
    let defaults = SystemConf::load(&files).defaults;
    let loader = Loader::new(files, SearchPath::system(), about.host, defaults);
    // The machine is the same.
    let old = std::mem::replace(&mut world.core, World::new(&[]).core);
    let started = old.started;
    world.core = Core::new(recorder(old.sys, tape.clone()), Box::new(FileLoads(loader)), about.surroundings);
    world.core.started = started;
    world.core.restore(units, queue);
    world.run();
}

const FILES: &[(&str, &str)] = &[
    (
        "a.service",
        "[Service]\nType=notify\nEnvironment=PASSWORD=hush \"B=hush too\"\nExecStart=/bin/a\nExecStop=/bin/stop\n\
         Restart=on-failure\nRestartSec=3\nPIDFile=/run/a.pid\nSetCredential=key:hush\nWatchdogSec=20\n",
    ),
    ("b.service", "[Unit]\nAfter=a.service\nWants=a.service\nConditionPathExists=/b\n[Service]\nExecStart=/bin/b\n"),
    ("c.socket", "[Socket]\nListenStream=/run/c\nAccept=yes\n"),
    ("c@.service", "[Service]\nExecStart=/bin/c\n"),
    ("d.timer", "[Timer]\nOnActiveSec=10\nOnCalendar=daily\nRandomizedDelaySec=5\nPersistent=yes\nUnit=e.service\n"),
    ("e.service", "[Service]\nType=oneshot\nExecStart=/bin/e1\nExecStart=/bin/e2\n"),
    ("f.path", "[Path]\nPathExists=/f\nUnit=e.service\n"),
];

/// Much of what may happen.
fn scene() -> (World, String) {
    let mut world = World::new(FILES);
    world.state.borrow_mut().obedient = true;
    world.start("c.socket");
    let (text, files) = (Text::default(), FILES);
    let tape = Tape::new(Box::new(text.clone()), 64 << 20, 0);
    take_over(&mut world, files, &tape);
    world.start("b.service");
    world.notify(world.only("a.service"), "READY=1\nSTATUS=well\nX_SECRET=hush");
    world.start("d.timer");
    world.start("f.path");
    assert!(world.connect_from("c.socket", "10.0.0.7", 4711));
    world.exit(world.only("a.service"), Exit::Code(1));
    // What stops it.
    world.exit(world.only("a.service"), Exit::Code(0));
    world.pass(6.0);
    assert_eq!(world.state("a.service"), "activating (start)", "it was started again");
    world.notify(world.only("a.service"), "READY=1");
    world.pass(11.0);
    world.exit(world.only("e.service"), Exit::Code(0));
    world.state.borrow_mut().paths_that_hold.insert("/f".to_owned());
    world.tell(Event::PathChanged(double::name("f.path")));
    world.core.kill("b.service", Whom::Main, 1).unwrap();
    let b = world.id("b.service");
    world.core.hold_unit(b, "client :1.7");
    // As D-Bus clients change what is not a function of the core.
    world.core.unit_mut(b).runtime.markers.insert("needs-restart".to_owned());
    world.core.release_all_units("client :1.7");
    let job = world.core.request("a.service", Request::Restart, JobMode::Replace).unwrap();
    world.core.client_waits(job, true);
    world.core.client_waits(job, false);
    world.run();
    world.core.reload_files();
    world.run();
    world.stop("c.socket");
    let _ = world.core.cancel_job(ssi_manager::job::JobId(99));
    world.core.cancel_all_jobs();
    world.pass(100.0);
    assert!(world.core.request("nothing-like-this.service", Request::Start, JobMode::Replace).is_err());
    world.run();
    tape.end("the scene is over");
    (world, text.get())
}

fn states(core: &Core) -> Vec<String> {
    let mut states: Vec<String> =
        core.table.iter().map(|unit| format!("{} {:?} {:?}", unit.name, unit.load, unit.runtime)).collect();
    states.sort();
    states
}

#[test]
fn what_was_recorded_happens_again_and_ends_in_the_same_state() {
    let (world, recording) = scene();
    let (outcome, steps) = again(&recording);
    assert_eq!(outcome.difference, None);
    assert_eq!(outcome.notes, Vec::<String>::new());
    assert_eq!(outcome.ended.as_deref(), Some("the scene is over"));
    assert_eq!(states(&outcome.core.unwrap()), states(&world.core));
    let text: String = steps.iter().map(|step| format!("{step}\n")).collect();
    for words in [
        "starts `/bin/a` for a.service in system.slice/a.service",
        "a.service: loaded, activating (start) -> loaded, active (running)",
        "sends signal 1 to process",
        "says READY=1 STATUS=well",
        "b.service is to start (mode replace)",
        "failed with result 'exit-code'",
        "b.service is changed by a client",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert_eq!(outcome.steps, steps.iter().map(|step| step.step).max().unwrap());
}

#[test]
fn no_secret_is_in_it() {
    let (_, recording) = scene();
    assert!(!recording.contains("hush"), "{recording}");
    assert!(recording.contains("PASSWORD=left-out B=left-out") && recording.contains("key:left-out"));
}

fn difference(recording: &str) -> Difference {
    again(recording).0.difference.expect("a difference")
}

#[test]
fn a_build_that_acts_otherwise_is_found_in_its_step() {
    let (_, recording) = scene();
    // It was another program that was started.
    let line = recording.lines().position(|line| line.contains(r#""/bin/e1""#) && line.contains("Spawn")).unwrap();
    let other = recording.replacen(r#"["/bin/e1"]"#, r#"["/bin/e0"]"#, 1);
    let found = difference(&other);
    assert_eq!(found.line, line + 1);
    assert!(found.recorded.unwrap().contains("/bin/e0") && found.now.unwrap().contains("/bin/e1"));
    // It did one thing less, or one more.
    let without = |at: usize| -> String {
        recording.lines().enumerate().filter(|(number, _)| *number != at).map(|(_, line)| format!("{line}\n")).collect()
    };
    let found = difference(&without(line));
    assert!(found.now.unwrap().contains("/bin/e1"));
    let lines: Vec<&str> = recording.lines().collect();
    let mut more = lines.clone();
    let last = lines.iter().rposition(|line| line.contains(r#"{"Enter"#)).unwrap();
    more.insert(last, r#"{"Call":{"ask":{"RemoveGroup":"system.slice/x"},"answer":null}}"#);
    let found = difference(&more.join("\n"));
    assert_eq!((found.recorded.as_deref(), found.now), (Some("removes the control group system.slice/x"), None));
    assert_eq!(found.line, last + 1);
    // Something else happened.
    let event = lines.iter().find(|line| line.contains("Exited")).unwrap();
    let otherwise = event.replace(r#""Code":1"#, r#""Code":0"#);
    assert_ne!(*event, otherwise);
    difference(&recording.replacen(event, &otherwise, 1));
}

/// Any act or question that is not in it is missed.
#[test]
fn each_line_of_it_counts() {
    let (_, recording) = scene();
    let lines: Vec<&str> = recording.lines().collect();
    let calls: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with(r#"{"Call"#)).collect();
    assert!(calls.len() > 80, "{}", calls.len());
    for at in calls {
        let without: String = [&lines[..at], &lines[at + 1..]].concat().join("\n");
        let found = again(&without).0.difference;
        assert!(found.is_some(), "{}", lines[at]);
    }
}

#[test]
fn a_manager_that_died_leaves_what_was_written() {
    let (_, recording) = scene();
    for cut in [recording.len() - 10, recording.len() * 2 / 3, recording.len() / 2 + 1] {
        let (outcome, _) = again(&recording[..cut]);
        assert_eq!(outcome.difference, None, "cut at {cut}");
        assert_eq!(outcome.ended, None);
    }
    // The manager after it goes on with the file.
    let middle = recording.lines().count() / 2;
    let part: String = recording.lines().take(middle).map(|line| format!("{line}\n")).collect();
    let (outcome, steps) = again(&format!("{part}{recording}"));
    assert_eq!(outcome.difference, None);
    assert_eq!(steps.iter().filter(|step| step.entry.starts_with("a manager begins")).count(), 2);
    assert_eq!(outcome.ended.as_deref(), Some("the scene is over"));
}

#[test]
fn it_ends_at_its_limit_and_says_so_and_the_units_do_not_care() {
    let (whole, recording) = scene();
    let mut world = World::new(FILES);
    world.start("c.socket");
    let text = Text::default();
    let limit = recording.len() as u64 / 2;
    let tape = Tape::new(Box::new(text.clone()), limit, 0);
    take_over(&mut world, FILES, &tape);
    world.start("b.service");
    world.pass(100_000.0);
    assert_eq!(world.state("b.service"), whole.state("b.service"));
    for _ in 0..100 {
        world.core.reload_files();
    }
    let standing = tape.standing();
    assert!(!standing.recording && standing.bytes <= limit, "{standing:?}");
    assert!(text.get().len() as u64 <= limit);
    assert_eq!(text.get().len() as u64, standing.bytes);
    let (outcome, _) = again(&text.get());
    assert_eq!(outcome.difference, None);
    assert_eq!(outcome.ended, Some(format!("the limit of {limit} bytes is reached")));
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_nothing_else() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut world = World::new(FILES);
    let tape = Tape::new(Box::new(Full), 1 << 20, 0);
    take_over(&mut world, FILES, &tape);
    world.start("b.service");
    assert_eq!(world.state("a.service"), "activating (start)");
    assert!(tape.standing().ended.unwrap().starts_with("writing it failed: No space left"));
}

#[test]
fn it_stops_where_it_is_told_and_shows_what_there_was() {
    let (_, recording) = scene();
    let (_, steps) = again(&recording);
    let step = steps.iter().find(|step| step.acts.iter().any(|act| act.contains("`/bin/a`"))).unwrap().step;
    let outcome = replay(read(recording.as_bytes()).unwrap(), step, |_| {}).unwrap();
    assert_eq!((outcome.steps, outcome.difference), (step, None));
    let snapshot = Snapshot::new(&outcome.core.unwrap(), Around::default(), &["a.serv*".to_owned()]);
    let text = snapshot.to_string();
    assert!(text.contains("unit a.service: loaded, activating (start)\n"), "{text}");
    assert!(text.contains("  main process: 10") && text.contains("  deadline: state in 7.000 s\n"), "{text}");
    assert!(text.contains("job ") && text.contains("start b.service, waiting, waits for"), "{text}");
    assert!(!text.contains("unit b.service"), "{text}");
}

#[test]
fn the_json_of_a_dump_has_all_units_with_what_goes_on() {
    let (world, _) = scene();
    let snapshot = Snapshot::new(&world.core, Around { restarts: 3, ..Around::default() }, &[]);
    let read: serde_json::Value = serde_json::from_str(&snapshot.json().unwrap()).unwrap();
    assert_eq!(read["manager"]["restarts"], 3);
    let units = read["units"].as_array().unwrap();
    assert_eq!(units.len(), world.core.table.iter().count());
    let b = units.iter().find(|unit| unit["name"] == "b.service").unwrap();
    assert_eq!((b["active"].as_str(), b["sub"].as_str()), (Some("active"), Some("running")));
    assert_eq!(b["main"].as_u64(), Some(u64::from(world.only("b.service"))));
    assert_eq!(b["invocation"].as_str().unwrap().len(), 32);
    assert_eq!(b["runtime"]["markers"][0], "needs-restart");
    assert!(b["edges"]["After"].as_array().unwrap().iter().any(|name| name == "a.service"), "{b}");
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let refusal = |text: &str| read(text.as_bytes()).err().unwrap().to_string();
    assert!(refusal("").contains("no recording"));
    assert!(refusal("hello\n").starts_with("line 1 is none of a recording"));
    let (_, recording) = scene();
    let second = recording.lines().nth(1).unwrap();
    assert!(refusal(second).contains("does not begin with a manager"));
    let broken = recording.replacen(second, "{\"Now\":", 1);
    assert!(refusal(&broken).starts_with("line 2 is none"));
}

/// Much of what an administrator does, while it is recorded; the manager is killed in the middle.
const LIVE: &str = r#"
try ssi-init record status
try ssi-init record stop
systemctl set-environment PASSWORD=hush
systemctl start early.service
ssi-init record start /run/recording --limit 16 >/out/started || seen "no recording: $(cat /out/started)"
seen "mode $(stat -c %a /run/recording)"
try ssi-init record start /run/other
try test -e /run/other
systemctl start a.service b.service t.timer s.socket
systemctl kill -s KILL b.service
until_ '[ $(systemctl show -P NRestarts b.service) -ge 1 ]'
systemd-run --unit=made -E TOKEN=hush sleep 1000 >/dev/null 2>&1
systemctl set-property a.service CPUWeight=50
(echo hello | timeout 5 python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect("/run/s"); s.sendall(b"x"); s.recv(9)')
until_ 'systemctl is-active -q elapsed.service'
systemctl daemon-reload
kill -9 $(pidof ssi-init-manager)
until_ 'systemctl is-active -q a.service'
systemctl stop early.service
systemctl restart a.service
try systemctl start not-there.service
systemctl stop a.service b.service made.service s.socket
ssi-init record status >/out/status; grep -q 'it goes on$' /out/status; seen "goes on: $?"
ssi-init record stop >/out/stopped; grep -q 'it was stopped on request$' /out/stopped; seen "stopped: $?"
size=$(stat -c %s /run/recording)
systemctl start a.service; sleep 0.3
seen "grows no more: $(( $(stat -c %s /run/recording) - size ))"
grep -q hush /run/recording; seen "secrets: $?"
cp /run/recording /out/recording
env -i /usr/sbin/ssi-init replay /run/recording >/out/replayed 2>&1; seen "replay: $?"
cat /out/replayed
seen "managers: $(grep -c 'a manager begins' /out/replayed)"
tail -1 /out/replayed | grep -q 'all as recorded$'; seen "as recorded: $?"
grep -q 'b.service: loaded, active (running) -> ' /out/replayed; seen "told: $?"
ssi-init dump >/out/dump; grep -q '^unit a.service: loaded, active (running)' /out/dump; seen "dump: $?"
grep '^restarts' /out/dump >&9
ssi-init dump --json | python3 -c 'import json,sys; d=json.load(sys.stdin); u={u["name"]:u for u in d["units"]}; print(u["a.service"]["active"], u["a.service"]["main"] > 1, d["manager"]["recording"]["recording"])' >&9
[ "$(systemctl show -P MainPID a.service)" = "$(ssi-init dump --json | python3 -c 'import json,sys; print([u["main"] for u in json.load(sys.stdin)["units"] if u["name"]=="a.service"][0])')" ]; seen "main: $?"
ssi-init dump 'a.*' | grep -c '^unit ' >&9
"#;

#[test]
fn a_live_manager_is_recorded_over_its_death_and_happens_again() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: namespaces take root");
        return;
    }
    let unit = |name: &str, text: &str| (name.to_owned(), format!("[Unit]\nDefaultDependencies=no\n{text}"));
    let sleeps = "[Service]\nExecStart=/bin/sleep 100000\nEnvironment=KEY=hush\n";
    let scene = stage::Scene {
        name: "recording".to_owned(),
        units: vec![
            unit("early.service", sleeps),
            unit("a.service", sleeps),
            unit("b.service", &format!("{sleeps}Restart=always\nRestartSec=100ms\n")),
            unit("t.timer", "[Timer]\nOnActiveSec=500ms\nAccuracySec=1ms\nUnit=elapsed.service\n"),
            unit("elapsed.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"),
            unit("s.socket", "[Socket]\nListenStream=/run/s\nAccept=yes\n"),
            unit("s@.service", "[Service]\nStandardInput=socket\nExecStart=-/bin/head -c 1\n"),
        ],
        script: LIVE.to_owned(),
        words: "",
    };
    let played = stage::play_for(&scene, stage::Player::SsiInit, std::time::Duration::from_secs(90));
    let expected = "ssi-init record status -> 0\nssi-init record stop -> 1\nmode 600\n\
                    ssi-init record start /run/other -> 1\ntest -e /run/other -> 1\n\
                    systemctl start not-there.service -> 5\ngoes on: 0\nstopped: 0\ngrows no more: 0\nsecrets: 1\n\
                    replay: 0\nmanagers: 2\nas recorded: 0\ntold: 0\ndump: 0\n\
                    restarts of the manager since boot: 1\nactive True False\nmain: 0\n1\n";
    assert!(played.finished, "it did not come to its end:\n{}\n{}", played.seen, played.console);
    assert_eq!(played.seen, expected, "{}", played.console);
}
