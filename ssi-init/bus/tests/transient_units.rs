// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that are made over the bus, as logind and systemd-run make them, and settings that are changed over it.

mod scene;

use scene::Scene;

const ME: [&str; 3] = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
/// A process that is not this manager's.
const PID: u32 = 3_999_999;

fn call(scene: &Scene, arguments: &[&str]) -> Result<String, String> {
    let mut line = vec!["call", ME[0], ME[1], ME[2]];
    line.extend(arguments);
    let output = scene.busctl(&line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn scope(scene: &Scene, pid: u32) -> Result<String, String> {
    let pid = pid.to_string();
    let arguments = [
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        "session-1.scope",
        "fail",
        "3",
        "PIDs",
        "au",
        "1",
        &pid,
        "Slice",
        "s",
        "user.slice",
        "Description",
        "s",
        "Session 1",
        "0",
    ];
    call(scene, &arguments)
}

#[test]
fn a_session_begins_and_ends() {
    let scene = Scene::new(&[]);
    scene.state.lock().unwrap().stranger(PID);
    let file = scene.root().join("run/systemd/transient/session-1.scope");
    let job = scope(&scene, PID).unwrap();
    assert!(job.starts_with("o \"/org/freedesktop/systemd1/job/"), "{job}");
    assert_eq!(scene.unit("session-1.scope"), "active (running)");
    assert!(file.exists());
    assert_eq!(scene.state.lock().unwrap().processes[&PID].group, "user.slice/session-1.scope");
    let path = call(&scene, &["GetUnitByPID", "u", &PID.to_string()]).unwrap();
    assert_eq!(path, "o \"/org/freedesktop/systemd1/unit/session_2d1_2escope\"\n");
    let processes = call(&scene, &["GetUnitProcesses", "s", "session-1.scope"]).unwrap();
    assert_eq!(processes, format!("a(sus) 1 \"/user.slice/session-1.scope\" {PID} \"stranger\"\n"));
    let again = scope(&scene, PID).unwrap_err();
    assert!(again.contains("already loaded or has a fragment file"), "{again}");
    scene.systemctl(&["daemon-reload"]);
    assert_eq!(scene.systemctl(&["show", "--value", "-p", "Description", "session-1.scope"]), "Session 1\n");
    call(&scene, &["AbandonScope", "s", "session-1.scope"]).unwrap();
    assert_eq!(scene.unit("session-1.scope"), "active (abandoned)");
    scene.systemctl(&["stop", "session-1.scope"]);
    scene.until("the unit forgotten", || scene.unit("session-1.scope") == "not there");
    scene.until("its file gone", || !file.exists());
}

#[test]
fn what_cannot_be_started_leaves_nothing_behind() {
    let scene = Scene::new(&[]);
    let odd = ["StartTransientUnit", "ssa(sv)a(sa(sv))", "x.scope", "fail", "1", "NoSuchThing", "s", "x", "0"];
    let said = call(&scene, &odd).unwrap_err();
    assert!(said.contains("NoSuchThing"), "{said}");
    let said = call(&scene, &["StartTransientUnit", "ssa(sv)a(sa(sv))", "x.target", "fail", "0", "0"]).unwrap_err();
    assert!(said.contains("does not support transient units"), "{said}");
    let said = call(&scene, &["StartTransientUnit", "ssa(sv)a(sa(sv))", "x.scope", "soon", "0", "0"]).unwrap_err();
    assert!(said.contains("Job mode soon invalid"), "{said}");
    let left = std::fs::read_dir(scene.root().join("run/systemd/transient")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[test]
fn a_setting_is_changed_and_kept() {
    let scene = Scene::new(&[("a.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    scene.systemctl(&["start", "a.service"]);
    let set = ["SetUnitProperties", "sba(sv)", "a.service", "true", "1", "Description", "s", "Other words"];
    call(&scene, &set).unwrap();
    assert!(scene.root().join("run/systemd/system.control/a.service.d/50-Description.conf").exists());
    assert_eq!(scene.systemctl(&["show", "--value", "-p", "Description", "a.service"]), "Other words\n");
    assert_eq!(scene.unit("a.service"), "active (running)");
    let odd = ["SetUnitProperties", "sba(sv)", "a.service", "true", "1", "../x", "s", "Other words"];
    assert!(call(&scene, &odd).is_err());
    let mark = ["SetUnitProperties", "sba(sv)", "a.service", "true", "1", "Markers", "as", "1", "+needs-restart"];
    call(&scene, &mark).unwrap();
    let first = scene.pid("a.service");
    scene.systemctl(&["reload-or-restart", "--marked"]);
    scene.until("the restart", || scene.unit("a.service") == "active (running)" && scene.pid("a.service") != first);
}
