// SPDX-License-Identifier: GPL-2.0-or-later
//! The interfaces beside those of the distribution's own systemd, which prints them without running
//! (`systemd --bus-introspect=`).

mod scene;

use std::collections::BTreeMap;
use std::process::Command;

use scene::Scene;

/// Interface, then member, then all that is said of it.
type Members = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// An attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    let from = tag.find(&format!(" {name}=\"")).map(|at| at + name.len() + 3);
    from.and_then(|from| tag[from..].split('"').next()).unwrap_or_default()
}

/// Reads an introspection document: each tag is on a line of its own in both.
fn members(text: &str) -> Members {
    let mut found = Members::new();
    let (mut interface, mut member) = (String::new(), String::new());
    for tag in text.lines().map(str::trim) {
        let kind = tag.trim_start_matches(['<', '/']).split([' ', '>', '/']).next().unwrap_or_default();
        if tag.starts_with("</") {
            continue;
        }
        match kind {
            "interface" => interface = attribute(tag, "name").to_owned(),
            "method" | "signal" | "property" => {
                member = format!("{kind} {}", attribute(tag, "name"));
                let said = [attribute(tag, "type"), attribute(tag, "access")].join(" ");
                found.entry(interface.clone()).or_default().insert(member.clone(), vec![said]);
            }
            "arg" | "annotation" => {
                let words = ["type", "name", "direction", "value"].map(|word| attribute(tag, word));
                let said = format!("{kind} {}", words.join(" "));
                found.entry(interface.clone()).or_default().entry(member.clone()).or_default().push(said);
            }
            _ => {}
        }
    }
    found
}

fn of_systemd(path: &str) -> Members {
    let output = Command::new("/lib/systemd/systemd").arg(format!("--bus-introspect={path}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    members(&String::from_utf8(output.stdout).unwrap())
}

fn ours(scene: &Scene, path: &str) -> Members {
    let me =
        ["call", "org.freedesktop.systemd1", path, "org.freedesktop.DBus.Introspectable", "Introspect", "--json=short"];
    let output = scene.busctl(&me);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    members(&text.replace("\\n", "\n").replace("\\\"", "\""))
}

fn same(scene: &Scene, path: &str, theirs: &str) {
    let (ours, theirs) = (ours(scene, path), of_systemd(theirs));
    assert!(theirs.values().map(BTreeMap::len).sum::<usize>() > 5, "nothing was read: {theirs:?}");
    for (interface, members) in &theirs {
        let own = ours.get(interface).unwrap_or_else(|| panic!("{path} has no {interface}"));
        for (member, said) in members {
            assert_eq!(own.get(member), Some(said), "{member} of {interface}");
        }
        let more: Vec<_> = own.keys().filter(|member| !members.contains_key(*member)).collect();
        assert!(more.is_empty(), "{interface} has what systemd has not: {more:?}");
    }
}

#[test]
fn the_manager_has_the_interfaces_of_systemd() {
    let scene = Scene::new(&[]);
    same(&scene, "/org/freedesktop/systemd1", "/org/freedesktop/systemd1");
    same(&scene, "/org/freedesktop/LogControl1", "/org/freedesktop/LogControl1");
}

#[test]
fn jobs_and_units_have_the_interfaces_of_systemd() {
    let slow = "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep 1000\n";
    let scene =
        Scene::new(&[("slow.service", slow), ("x.target", ""), ("y.socket", "[Socket]\nListenStream=/run/y\n")]);
    scene.systemctl(&["start", "--no-block", "slow.service"]);
    let job = scene.core(|core| core.queue.jobs().next().map(|job| job.id.to_string())).unwrap();
    same(&scene, &format!("/org/freedesktop/systemd1/job/{job}"), "/org/freedesktop/systemd1/job");
    for (unit, kind) in [
        ("slow_2eservice", "Service"),
        ("x_2etarget", "Target"),
        ("y_2esocket", "Socket"),
        ("z_2etimer", "Timer"),
        ("z_2epath", "Path"),
        ("system_2eslice", "Slice"),
        ("init_2escope", "Scope"),
        ("_2d_2emount", "Mount"),
        ("z_2eautomount", "Automount"),
        ("z_2eswap", "Swap"),
        ("z_2edevice", "Device"),
    ] {
        same(&scene, &format!("/org/freedesktop/systemd1/unit/{unit}"), &format!("org.freedesktop.systemd1.{kind}"));
    }
}
