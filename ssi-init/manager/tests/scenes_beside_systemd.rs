// SPDX-License-Identifier: GPL-2.0-or-later
//! The scenes of `tests/scenes` once more, played to systemd itself: the one installed here, booted in namespaces
//! (`referee/boot.sh`), one boot a scene.
//!
//! After each step three things are held against what the engine does in the same scene: the jobs of the transaction (as
//! `systemctl --show-transaction` tells them) or the error, the jobs that ended with their results (systemd's own log), and
//! the states of all units and the jobs that are left. Independent jobs may end in any order; ordered ones may not.
//!
//! Where there is no systemd 252, or no root, this shows nothing and says so.

mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use ssi_manager::core::state::ActiveState;
use ssi_manager::job::transaction::Notice;
use ssi_manager::job::{JobMode, Request};
use ssi_unit::dependency::Atoms;
use world::World;
use world::scene::{Scene, Step};

/// What is to be seen of a step.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// The jobs of the transaction, for steps of one unit.
    jobs: Option<BTreeSet<String>>,
    error: Option<String>,
    /// Jobs that ended, in order.
    ended: Vec<String>,
    /// States of units, and `JOB unit/type`.
    rest: BTreeSet<String>,
    /// Which of two jobs that contradict each other is dropped hung on which unit was looked at first. systemd keeps them
    /// in a hash table with a seed of its own each time.
    by_chance: bool,
}

/// Whether systemd 252 can be booted here; says so when it cannot.
fn can_be_booted() -> bool {
    let output = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default()
    };
    let found =
        output("/lib/systemd/systemd", &["--version"]).starts_with(b"systemd 252") && output("id", &["-u"]) == b"0\n";
    if !found {
        eprintln!("skipped: without systemd 252 and root there is nothing to compare with");
    }
    found
}

/// Plays a scene with the engine.
fn play_here(scene: &Scene) -> (World, Vec<Seen>) {
    let mut world = World::new(scene.units.iter().map(|(unit, text)| (unit, text)));
    let mut all = Vec::new();
    for step in &scene.steps {
        world.ended.clear();
        let mut seen = Seen::default();
        for unit in &step.units {
            let (request, mode) = match step.verb.as_str() {
                "release" => {
                    world.release(unit);
                    continue;
                }
                "die" => {
                    world.change(world.id(unit), ActiveState::Failed);
                    continue;
                }
                "cancel" => {
                    let job = world.queue.job_of(world.id(unit)).unwrap().id;
                    world.queue.cancel(&world.graph, &world.rows, job);
                    world.tell();
                    continue;
                }
                "isolate" => (Request::Start, JobMode::Isolate),
                verb => (Request::from_word(verb).unwrap(), step.mode.unwrap_or(JobMode::Replace)),
            };
            match world.wish(unit, request, mode) {
                Ok(plan) => {
                    seen.by_chance |=
                        plan.notices.iter().any(|notice| matches!(notice, Notice::ConflictSettled { .. }));
                    seen.jobs = Some(world.installed(&plan).into_iter().collect());
                }
                Err(error) => seen.error = Some(error.to_string()),
            }
        }
        if step.units.len() > 1 {
            seen.jobs = None;
        }
        world.drain();
        seen.ended = world.ended.clone();
        seen.rest = world.queued().into_iter().map(|job| format!("JOB {job}")).collect();
        seen.rest.extend(scene.units.iter().map(|(unit, _)| format!("{unit} {}", world.active(unit).word())));
        all.push(seen);
    }
    (world, all)
}

/// The shell's part of a step, for the unit that plays the scene under systemd.
fn script(number: usize, step: &Step, expected: &Seen) -> String {
    let units = step.units.join(" ");
    let mode = step.mode.map(|mode| format!("--job-mode={mode}")).unwrap_or_default();
    let act = match step.verb.as_str() {
        "release" => step.units.iter().map(|unit| format!("touch /run/scene/{unit}\n")).collect(),
        "die" => format!("systemctl kill --kill-who=main --signal=KILL {units}"),
        "cancel" => format!(
            "systemctl cancel $(systemctl list-jobs --plain --no-legend | awk '$2 == \"{units}\" {{print $1}}')"
        ),
        "isolate" => format!("systemctl start -T --job-mode=isolate --no-block {units}"),
        "reload-or-start" => format!("systemctl reload-or-restart -T --no-block {units}"),
        verb => format!("systemctl {verb} -T {mode} --no-block -- {units}"),
    };
    let mut text = format!("echo STEP {number} >/dev/console\n{act} >/out/{number}.said 2>&1\n");
    let expected: String = expected.rest.iter().map(|line| format!("{line}\n")).collect();
    let _ = write!(text, "cat >/tmp/expected <<'END'\n{expected}END\n");
    let _ = write!(
        text,
        "for try in $(seq 60); do\n{{ systemctl is-active -- $(cat /out/names) | paste -d ' ' /out/names -\n\
         systemctl list-jobs --plain --no-legend | awk '{{print \"JOB \" $2 \"/\" $3}}'; }} | LC_ALL=C sort >/out/{number}.rest\n\
         cmp -s /out/{number}.rest /tmp/expected && break; sleep 0.03; done\n",
    );
    text
}

/// Plays a scene to systemd, and says what it saw. `None` when it could not be played to its end.
fn play_there(scene: &Scene, expected: &[Seen]) -> Option<Vec<Seen>> {
    let place = PathBuf::from(format!("/tmp/ssi-scene-{}-{}", std::process::id(), scene.name));
    for folder in ["root", "units", "out"] {
        std::fs::create_dir_all(place.join(folder)).unwrap();
    }
    let units = place.join("units");
    for (unit, text) in &scene.units {
        if text.trim().is_empty() {
            std::os::unix::fs::symlink("/dev/null", units.join(unit)).unwrap();
        } else {
            std::fs::write(units.join(unit), text).unwrap();
        }
    }
    let stage = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\nWants=play.service\n";
    std::fs::write(units.join("stage.target"), stage).unwrap();
    let play = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\n[Service]\nExecStart=/bin/sh /out/play.sh\n";
    std::fs::write(units.join("play.service"), play).unwrap();
    let mut text: String =
        "while [ -n \"$(systemctl list-jobs --plain --no-legend)\" ]; do sleep 0.02; done\n".to_owned();
    for (number, (step, expected)) in scene.steps.iter().zip(expected).enumerate() {
        text += &script(number, step, expected);
    }
    text += "touch /out/finished\n";
    let names: String = scene.units.iter().map(|(unit, _)| format!("{unit}\n")).collect();
    std::fs::write(place.join("out/names"), names).unwrap();
    std::fs::write(place.join("out/play.sh"), text).unwrap();
    // PID 1 logs to its console, and takes only a terminal for one.
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&terminal).unwrap();
    let slave = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    // Held open, so that the terminal is not gone between two lines.
    let held = std::fs::OpenOptions::new().read(true).write(true).open(&slave).unwrap();
    let lines = std::thread::spawn(move || {
        let reader = BufReader::new(std::fs::File::from(terminal));
        reader
            .split(b'\n')
            .map_while(Result::ok)
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .collect::<Vec<_>>()
    });
    let mut process = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"])
        .args(["--propagation", "private", "bash"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/referee/boot.sh"))
        .arg(&place)
        .arg(&slave)
        .spawn()
        .unwrap();
    let start = Instant::now();
    let finished = place.join("out/finished");
    while !finished.exists() && start.elapsed() < Duration::from_secs(300) && process.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let done = finished.exists();
    let _ = process.kill();
    let _ = process.wait();
    drop(held);
    let lines = lines.join().unwrap();
    let seen = done.then(|| read_back(&place, scene, &lines));
    let _ = std::fs::remove_dir_all(&place);
    seen
}

/// What systemd said and logged.
fn read_back(place: &std::path::Path, scene: &Scene, lines: &[String]) -> Vec<Seen> {
    let mut all: Vec<Seen> = scene.steps.iter().map(|_| Seen::default()).collect();
    let mut at = None;
    for line in lines {
        if let Some((_, number)) = line.split_once("STEP ") {
            at = number.trim().parse::<usize>().ok();
        } else if let Some((_, job)) = line.split_once(": Job ")
            && let Some((job, result)) = job.split_once(" finished, result=")
            && let Some(at) = at
        {
            let job = job.split_whitespace().nth(1).unwrap_or(job);
            all[at].ended.push(format!("{job}/{}", result.trim()));
        }
    }
    for (number, seen) in all.iter_mut().enumerate() {
        let read = |what: &str| std::fs::read_to_string(place.join(format!("out/{number}.{what}"))).unwrap_or_default();
        seen.rest = read("rest").lines().map(str::to_owned).collect();
        for line in read("said").lines() {
            if let Some((_, job)) = line.split_once(" job ").filter(|_| line.starts_with("Enqueued")) {
                let job = job.split_whitespace().nth(1).unwrap_or(job).trim_end_matches('.');
                seen.jobs.get_or_insert_default().insert(job.to_owned());
            } else if let Some((_, error)) = line.split_once("Failed to ").and_then(|(_, rest)| rest.split_once(": ")) {
                seen.error = Some(error.to_owned());
            }
        }
    }
    all
}

/// Where the two are not alike.
fn differences(scene: &Scene, world: &World, here: &[Seen], there: &[Seen]) -> Vec<String> {
    let mut all = Vec::new();
    for ((step, here), there) in scene.steps.iter().zip(here).zip(there) {
        let mut differ = |what: &str, here: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            let at = format!("{}:{} {} {}", scene.name, step.line, step.verb, step.units.join(" "));
            all.push(format!("{at}: {what}:\n    here  {here:?}\n    there {there:?}"));
        };
        if here.rest != there.rest {
            let only = |one: &Seen, two: &Seen| one.rest.difference(&two.rest).cloned().collect::<Vec<_>>();
            differ("states and jobs left", &only(here, there), &only(there, here));
        }
        if here.jobs.is_some() && here.jobs != there.jobs {
            differ("jobs", &here.jobs, &there.jobs);
        }
        match (&here.error, &there.error) {
            (None, None) => {}
            // The cycle is told in other words.
            (Some(here), Some(there))
                if here.starts_with("Transaction order is cyclic") && there.contains("cyclic") => {}
            // Where several units stand in the way, any of them may be named.
            (Some(one), Some(two))
                if ["conflicting jobs", "is destructive"].iter().any(|why| one.contains(why) && two.contains(why)) => {}
            (Some(one), Some(two)) if two.starts_with(one.trim_end_matches('.')) => {}
            _ => differ("error", &here.error, &there.error),
        }
        let sorted = |ended: &[String]| {
            let mut ended = ended.to_vec();
            ended.sort();
            // Several wishes are not granted at one moment there: a unit may have one job for two of them, or two.
            if step.units.len() > 1 {
                ended.dedup();
            }
            ended
        };
        if sorted(&here.ended) != sorted(&there.ended) {
            differ("ended", &here.ended, &there.ended);
            continue;
        }
        for (place, first) in here.ended.iter().enumerate() {
            for second in &here.ended[place + 1..] {
                let unit = |job: &str| world.id(job.split('/').next().unwrap());
                let ordered = world.graph.has(unit(first), Atoms::BEFORE | Atoms::AFTER, unit(second));
                let position = |job: &String| there.ended.iter().position(|other| other == job);
                // What ends without having run does so at any time.
                let ran = |job: &str| !job.ends_with("/canceled") && !job.ends_with("/dependency");
                if ordered && ran(first) && ran(second) && first != second && position(first) > position(second) {
                    differ("order", &here.ended, &there.ended);
                }
            }
        }
    }
    all
}

#[test]
fn every_scene_goes_as_with_systemd() {
    if !can_be_booted() {
        return;
    }
    let scenes = world::scene::all();
    let next = Mutex::new(scenes.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(scene) = next.lock().unwrap().next() else { break };
                    let (world, here) = play_here(scene);
                    let found = match play_there(scene, &here) {
                        Some(there) => differences(scene, &world, &here, &there),
                        None => vec![format!("{}: systemd did not play it to its end", scene.name)],
                    };
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A small generator of numbers, so that a scene is told by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Many small random sets of units in one scene, each with a few random deeds.
///
/// A unit depends on units of higher numbers only, and is ordered after what it requires: else systemd itself decides by
/// the order of its hash tables, or by which process is quicker.
fn random_scene(seed: u64, towns: usize) -> Scene {
    let mut dice = Dice(seed);
    let bodies = [
        "RemainAfterExit=yes\nExecStart=/bin/true\n",
        "RemainAfterExit=yes\nExecStart=/bin/true\n",
        "ExecStart=/bin/true\n",
        "ExecStart=/bin/false\n",
        "RemainAfterExit=yes\nExecStart=/bin/sh -c 'until test -e /run/scene/%n; do sleep 0.02; done'\nSuccessExitStatus=SIGTERM\n",
    ];
    let mut scene = Scene { name: format!("seed-{seed}"), units: Vec::new(), steps: Vec::new() };
    for town in 0..towns {
        let name = |unit: usize| format!("t{town}u{unit}.service");
        let count = 3 + dice.below(4);
        let mut held = Vec::new();
        for unit in 0..count {
            let mut text = "[Unit]\nDefaultDependencies=no\n".to_owned();
            for other in unit + 1..count {
                match dice.below(8) {
                    0 | 1 => {
                        let kind = dice.pick(&["Requires", "BindsTo", "Requisite", "Requires"]);
                        text += &format!("{kind}={0}\nAfter={0}\n", name(other));
                    }
                    2 => text += &format!("Wants={}\n", name(other)),
                    3 => {
                        text += &format!(
                            "{}={1}\nAfter={1}\n",
                            dice.pick(&["Wants", "PartOf", "PropagatesStopTo"]),
                            name(other)
                        )
                    }
                    4 => text += &format!("{}={}\n", dice.pick(&["After", "Conflicts"]), name(other)),
                    _ => {}
                }
            }
            let body = dice.below(bodies.len());
            if body == bodies.len() - 1 {
                held.push(name(unit));
            }
            scene.units.push((name(unit), format!("{text}[Service]\nType=oneshot\n{}", bodies[body])));
        }
        for _ in 0..4 {
            let verb = dice.pick(&["start", "start", "stop", "restart", "try-restart"]).to_owned();
            let mode = [None, None, None, Some(JobMode::Fail), Some(JobMode::IgnoreRequirements)][dice.below(5)];
            let units = vec![name(dice.below(count))];
            scene.steps.push(Step { line: town, verb, units, mode, seen: Vec::new() });
        }
    }
    scene
}

#[test]
fn random_scenes_go_as_with_systemd() {
    if !can_be_booted() {
        return;
    }
    let seed = std::env::var("SCENE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut scene = random_scene(seed, 25);
    let (world, here) = loop {
        let (world, here) = play_here(&scene);
        // Without that step the next ones may go otherwise, so all is played again.
        match here.iter().position(|seen| seen.by_chance) {
            Some(place) => scene.steps.remove(place),
            None => break (world, here),
        };
    };
    assert!(scene.steps.len() > 50, "{} steps are too few to show anything", scene.steps.len());
    let there = play_there(&scene, &here).expect("systemd did not play it to its end");
    let wrong = differences(&scene, &world, &here, &there);
    let lines: BTreeSet<usize> =
        wrong.iter().filter_map(|wrong| wrong.split([':', ' ']).nth(1)?.parse().ok()).collect();
    let concerned = |unit: &str| lines.iter().any(|town| unit == format!("t{town}u"));
    let files: String = scene
        .units
        .iter()
        .filter(|(unit, _)| concerned(&unit[..unit.find('u').unwrap_or(0) + 1]))
        .map(|(unit, text)| format!("--- {unit}\n{text}"))
        .collect();
    let deeds: String = scene
        .steps
        .iter()
        .filter(|step| lines.contains(&step.line))
        .map(|step| format!("{} {:?} {:?}\n", step.verb, step.units, step.mode))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n{files}--- steps\n{deeds}", wrong.join("\n"));
}
