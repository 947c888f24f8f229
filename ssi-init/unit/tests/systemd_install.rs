// SPDX-License-Identifier: GPL-2.0-or-later
//! Random trees of unit files, changed by `systemctl --root` of systemd 252 and by us: the links must be the same.

mod chance;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use chance::{Chance, program, rounds};
use ssi_unit::files::RootFiles;
use ssi_unit::install::{Folders, Installer, Notice, Outcome, PresetMode, apply};
use ssi_unit::specifier::Host;

const NAMES: &[&str] = &[
    "a.service",
    "b.service",
    "c-d.service",
    "t@.service",
    "u@.service",
    "s.socket",
    "x.timer",
    "y.target",
    "z.target",
    "p.path",
    "m.mount",
    "w.slice",
];
const FOLDERS: &[&str] =
    &["usr/lib/systemd/system", "usr/lib/systemd/system", "etc/systemd/system", "run/systemd/system"];
const DESTINATIONS: &[&str] =
    &["y.target", "z.target", "none.target", "a.service", "t@.service", "t@q.service", "%p.target", "%j.service"];

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::os::unix::fs::symlink(target, path);
}

fn install_section(chance: &mut Chance, name: &str) -> String {
    let mut text = "[Install]\n".to_owned();
    for _ in 0..chance.below(4) {
        let (stem, kind) = name.rsplit_once('.').unwrap();
        text += &match chance.below(12) {
            0..=4 => format!("WantedBy={}\n", chance.pick(DESTINATIONS)),
            5 => format!("RequiredBy={} {}\n", chance.pick(DESTINATIONS), chance.pick(DESTINATIONS)),
            6 => format!("Alias=alias-{stem}.{kind}\n"),
            7 => format!(
                "Alias={}\n",
                chance.pick(&[
                    "other.service",
                    "b.service",
                    "t@r.service",
                    "v@.service",
                    "q.socket",
                    "bad",
                    "y.target.wants/a.service"
                ])
            ),
            8 => format!("Also={}\n", chance.pick(NAMES)),
            9 => "DefaultInstance=one\n".to_owned(),
            10 => chance
                .pick(&["WantedBy=\n", "WantedBy=%z.target\n", "WantedBy=bad\n", "Also=none.service\n"])
                .to_owned(),
            _ => format!("WantedBy=y.target {}\n", chance.pick(DESTINATIONS)),
        };
    }
    text
}

fn plant(chance: &mut Chance, root: &Path) {
    write(root, "usr/lib/systemd/system/y.target", "[Unit]\n");
    write(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(root, "usr/lib/os-release", "ID=debian\n");
    for name in NAMES {
        if chance.once_in(5) {
            continue;
        }
        let path = format!("{}/{name}", chance.pick(FOLDERS));
        match chance.below(14) {
            0 => link(root, &path, "/dev/null"),
            1 => write(root, &path, ""),
            2 => {
                let text = install_section(chance, name);
                write(root, &format!("opt/{name}"), &text);
                link(root, &path, &format!("/opt/{name}"));
            }
            3 => {
                let other = chance.pick(NAMES);
                link(
                    root,
                    &path,
                    chance.pick(&[
                        other,
                        "../system/b.service",
                        "/usr/lib/systemd/system/a.service",
                        "nowhere.service",
                    ]),
                );
            }
            _ => {
                let text = install_section(chance, name);
                write(root, &path, &text);
            }
        }
        if chance.once_in(6) {
            let text = install_section(chance, name);
            write(root, &format!("{}/{name}.d/{}.conf", chance.pick(FOLDERS), chance.below(3)), &text);
        }
        if chance.once_in(5) {
            let folder = format!("{}/{}.wants", chance.pick(FOLDERS), chance.pick(&["y.target", "z.target"]));
            let target = format!("{}/{name}", chance.pick(&["/usr/lib/systemd/system", "..", "/etc/systemd/system"]));
            link(root, &format!("{folder}/{}", name.replace("@.", chance.pick(&["@.", "@one.", "@q."]))), &target);
        }
        if chance.once_in(8) {
            link(root, &format!("{}/alias-{name}", chance.pick(FOLDERS)), name);
        }
    }
    if chance.once_in(2) {
        let mut text = String::new();
        for _ in 0..chance.below(4) {
            let pattern =
                chance.pick(&["a.service", "b*", "*", "t@.service one two", "u@one.service", "?.target", "s.*"]);
            text += &format!("{} {pattern}\n", chance.pick(&["enable", "disable"]));
        }
        write(
            root,
            &format!("{}/systemd/system-preset/{}.preset", chance.pick(&["etc", "usr/lib"]), chance.below(3)),
            &text,
        );
    }
}

/// Every path below a root: a link with its text, a file with its content.
type Picture = BTreeMap<PathBuf, String>;

fn picture(root: &Path) -> Picture {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let short = path.strip_prefix(root).unwrap().to_owned();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(short, format!("-> {}", std::fs::read_link(path).unwrap().display()));
            } else {
                found.insert(short, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// Whether it ended well, and what it printed and complained of.
fn systemctl(root: &Path, arguments: &[String]) -> (bool, String, String) {
    let output = Command::new("systemctl")
        .arg(format!("--root={}", root.display()))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn run(root: &Path, verb: &str, units: &[&str], runtime: bool, force: bool) -> Outcome {
    let (files, folders, host) = (RootFiles::below(root), Folders::system(false), Host::read(root));
    let installer = Installer { files: &files, folders: &folders, host: &host, runtime, force };
    let outcome = match verb {
        "enable" => installer.enable(units),
        "disable" => installer.disable(units),
        "reenable" => installer.reenable(units),
        "mask" => installer.mask(units),
        "unmask" => installer.unmask(units),
        "revert" => installer.revert(units),
        "preset" => installer.preset(units, PresetMode::Full),
        "preset-all" => installer.preset_all(PresetMode::Full),
        "link" => installer.link(&units.iter().map(Path::new).collect::<Vec<_>>()),
        "add-wants" => installer.add_dependency(&units[1..], units[0], false),
        "add-requires" => installer.add_dependency(&units[1..], units[0], true),
        "set-default" => installer.set_default(units[0]),
        other => panic!("{other}"),
    };
    apply(&outcome.changes, root).unwrap();
    outcome
}

/// Below another root systemd compares a link's end, root and all, with paths less the root, and so leaves links to
/// links that it removed. On the running system it does not, and neither do we.
fn only_leaves_dangling_links(theirs: &Picture, ours: &Picture) -> bool {
    let dangles = |(path, text): (&PathBuf, &String)| {
        let target = text.strip_prefix("-> ").map(|target| Path::new("/").join(path).parent().unwrap().join(target));
        ours.get(path) == Some(text)
            || target.is_some_and(|target| !theirs.contains_key(target.strip_prefix("/").unwrap()))
    };
    theirs.iter().all(dangles) && ours.iter().all(|(path, text)| theirs.get(path) == Some(text))
}

fn scene(chance: &mut Chance, place: &Path) -> Result<(), String> {
    let roots = [place.join("theirs"), place.join("ours")];
    for root in &roots {
        let _ = std::fs::remove_dir_all(root);
        std::fs::create_dir_all(root).unwrap();
    }
    plant(chance, &roots[0]);
    let copied = Command::new("cp").args(["-a", "--no-target-directory"]).args(&roots).status().unwrap();
    assert!(copied.success());
    let before = picture(&roots[0]);
    let asked = [
        "a.service",
        "b.service",
        "c-d.service",
        "t@.service",
        "t@q.service",
        "u@one.service",
        "s.socket",
        "alias-a.service",
        "x.timer",
        "none.service",
        "m.mount",
        "y.target",
    ];
    for _ in 0..3 {
        let verbs = [
            "enable",
            "enable",
            "enable",
            "disable",
            "disable",
            "reenable",
            "mask",
            "unmask",
            "preset",
            "preset-all",
            "add-wants",
            "add-requires",
            "set-default",
            "link",
            "revert",
        ];
        let verb = chance.pick(&verbs);
        let (runtime, force) = (chance.once_in(6) && verb != "set-default", chance.once_in(4));
        let count = if chance.once_in(3) { 2 } else { 1 };
        let mut units: Vec<&str> = (0..count).map(|_| chance.pick(&asked)).collect();
        match verb {
            "preset-all" => units.clear(),
            "add-wants" | "add-requires" => {
                units.insert(0, chance.pick(&["y.target", "z.target", "none.target", "a.service"]))
            }
            "set-default" => units = vec![chance.pick(&["y.target", "z.target", "none.target", "a.service"])],
            "link" => units = vec![chance.pick(&["/opt/a.service", "/opt/b.service", "/opt/none.service"])],
            _ => {}
        }
        let mut arguments = vec![verb.to_owned()];
        arguments.extend(units.iter().map(|unit| (*unit).to_owned()));
        arguments.extend(runtime.then(|| "--runtime".to_owned()));
        arguments.extend(force.then(|| "--force".to_owned()));
        let (well, _, told) = systemctl(&roots[0], &arguments);
        if told.contains("Failed to look up unit file state") {
            // The command gave up on a broken alias before it asked for anything to be done.
            return Ok(());
        }
        if verb == "preset-all" && !well {
            // One alias of a wrong type, anywhere, and systemd presets nothing at all. We pass it over.
            return Ok(());
        }
        let outcome = run(&roots[1], verb, &units, runtime, force);
        let (theirs, ours) = (picture(&roots[0]), picture(&roots[1]));
        let context = || format!("{arguments:?}\nsystemctl: {told}\nwe: {outcome:#?}\nbefore: {before:#?}");
        if theirs != ours && only_leaves_dangling_links(&theirs, &ours) {
            return Ok(());
        }
        if theirs != ours {
            let only = |a: &Picture, b: &Picture| {
                a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v)| format!("{k:?} {v}")).collect::<Vec<_>>()
            };
            return Err(format!(
                "only systemctl: {:#?}\nonly we: {:#?}\n{}",
                only(&theirs, &ours),
                only(&ours, &theirs),
                context()
            ));
        }
        // Whether it ends well depends on the order of its errors and successes; whether it complains does not.
        let complaint = |line: &str| line.starts_with("Failed to ") && !line.contains("auxiliary unit");
        let complains = outcome.notices.iter().any(|notice| matches!(notice, Notice::Unusable(_)));
        if verb != "preset-all" && told.lines().any(complaint) != (complains || !outcome.errors.is_empty()) {
            return Err(format!("only one complains\n{}", context()));
        }
    }
    let (files, folders, host) = (RootFiles::below(&roots[1]), Folders::system(false), Host::read(&roots[1]));
    let installer = Installer { files: &files, folders: &folders, host: &host, runtime: false, force: false };
    for unit in asked {
        let (_, told, complaint) = systemctl(&roots[0], &["is-enabled".to_owned(), unit.to_owned()]);
        let ours = installer.state(unit).map(|state| state.to_string());
        let same = match &ours {
            Ok(word) => *word == told.trim_end(),
            Err(_) => told.is_empty(),
        };
        if !same {
            return Err(format!(
                "is-enabled {unit}: systemctl {told:?} {complaint:?}, we {ours:?}\n{:#?}",
                picture(&roots[0])
            ));
        }
    }
    Ok(())
}

#[test]
fn random_trees_end_up_with_the_same_links() {
    if program("systemctl").is_none() {
        return;
    }
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("install");
    let mut chance = Chance::new(41);
    let mut differences = Vec::new();
    let count = rounds(100);
    for round in 0..count {
        if let Err(difference) = scene(&mut chance, &place) {
            differences.push(format!("round {round}: {difference}"));
        }
    }
    let shown: Vec<&str> = differences.iter().take(3).map(String::as_str).collect();
    assert!(
        differences.is_empty(),
        "{} of {count} scenes differ; the first:\n{}",
        differences.len(),
        shown.join("\n\n")
    );
}
