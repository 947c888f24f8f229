// SPDX-License-Identifier: GPL-2.0-or-later
//! The distribution's own systemctl asks, and must not notice a difference.

mod scene;

use scene::Scene;

const A: (&str, &str) = (
    "a.service",
    "[Unit]\nDescription=The A\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n",
);
const ONE_SHOT: (&str, &str) = ("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
const BAD: (&str, &str) = ("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
const SLOW: (&str, &str) =
    ("slow.service", "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep 1000\n");

#[test]
fn start_stop_restart_and_what_is_said_of_it() {
    let scene = Scene::new(&[A]);
    assert_eq!(scene.systemctl(&["start", "a"]), "");
    assert_eq!(scene.unit("a.service"), "active (running)");
    assert_eq!(scene.systemctl(&["is-active", "a.service"]), "active\n");
    let first = scene.pid("a.service");
    scene.systemctl(&["restart", "a.service"]);
    assert_ne!(scene.pid("a.service"), first);
    scene.systemctl(&["stop", "a.service"]);
    assert_eq!(scene.fails(3, &["is-active", "a.service"]), "inactive\n");
    scene.systemctl(&["try-restart", "a.service"]);
    assert_eq!(scene.fails(3, &["is-active", "a.service"]), "inactive\n", "what is down stays down");
    scene.systemctl(&["start", "--no-block", "a.service"]);
    scene.until("the start", || scene.unit("a.service") == "active (running)");
}

#[test]
fn a_job_that_fails_is_told() {
    let scene = Scene::new(&[ONE_SHOT, BAD]);
    scene.systemctl(&["start", "once.service"]);
    let said = scene.fails(1, &["start", "bad.service"]);
    assert!(said.contains("Job for bad.service failed"), "{said}");
    assert_eq!(scene.systemctl(&["is-failed", "bad.service"]), "failed\n");
    assert_eq!(scene.fails(1, &["is-system-running"]), "degraded\n");
    scene.systemctl(&["reset-failed", "bad.service"]);
    assert_eq!(scene.systemctl(&["is-system-running"]), "running\n");
    let said = scene.fails(5, &["start", "nowhere.service"]);
    assert!(said.contains("Unit nowhere.service not found."), "{said}");
    let said = scene.fails(5, &["stop", "nowhere.service"]);
    assert!(said.contains("Unit nowhere.service not loaded."), "{said}");
}

#[test]
fn lists_and_properties() {
    let scene = Scene::new(&[A]);
    scene.systemctl(&["start", "a.service"]);
    let list = scene.systemctl(&["list-units", "--plain", "--no-legend"]);
    assert!(
        list.lines().any(|line| line.split_whitespace().eq("a.service loaded active running The A".split(' '))),
        "{list}"
    );
    let list = scene.systemctl(&["list-units", "--plain", "--no-legend", "a*.service"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    let show = scene.systemctl(&["show", "a.service", "-p", "Id,LoadState,ActiveState,SubState,Description"]);
    for line in ["Id=a.service", "LoadState=loaded", "ActiveState=active", "SubState=running", "Description=The A"] {
        assert!(show.lines().any(|found| found == line), "{line} is not in {show}");
    }
    assert_eq!(scene.systemctl(&["show", "--value", "-p", "LoadState", "nowhere.service"]), "not-found\n");
    let manager = scene.systemctl(&["show"]);
    for line in ["Version=252 (ssi)", "NJobs=0", "SystemState=running", "DefaultTimeoutStartUSec=1min 30s"] {
        assert!(manager.lines().any(|found| found == line), "{line} is not in {manager}");
    }
    let status = scene.systemctl(&["status", "a.service"]);
    for words in ["a.service - The A", "Active: active (running)", "/bin/sleep 1000"] {
        assert!(status.contains(words), "{words} is not in {status}");
    }
    assert!(scene.fails(4, &["status", "nowhere.service"]).contains("could not be found"));
    let whole = scene.systemctl(&["status"]);
    assert!(whole.contains("State: running"), "{whole}");
}

#[test]
fn files_are_read_again() {
    let scene = Scene::new(&[A]);
    scene.systemctl(&["start", "a.service"]);
    scene.write("a.service", &A.1.replace("The A", "Another"));
    scene.write("new.service", ONE_SHOT.1);
    scene.systemctl(&["daemon-reload"]);
    assert_eq!(scene.asked.lock().unwrap().reloads, 1);
    assert_eq!(scene.systemctl(&["show", "--value", "-p", "Description", "a.service"]), "Another\n");
    assert_eq!(scene.unit("a.service"), "active (running)");
    scene.systemctl(&["start", "new.service"]);
    // It gets no answer, and takes the end of the connection for one; here the connection stays.
    let mut asking = scene.begin(&["daemon-reexec"]);
    scene.until("the wish", || scene.asked.lock().unwrap().reexecutions == 1);
    asking.kill().unwrap();
    asking.wait().unwrap();
}

#[test]
fn jobs_are_listed_and_taken_back() {
    let scene = Scene::new(&[SLOW]);
    let mut starting = scene.begin(&["start", "slow.service"]);
    scene.until("the job", || scene.core(|core| !core.queue.is_empty()));
    let jobs = scene.systemctl(&["list-jobs", "--no-legend"]);
    let words: Vec<&str> = jobs.split_whitespace().collect();
    assert_eq!(words[1..], ["slow.service", "start", "running"]);
    scene.systemctl(&["cancel", words[0]]);
    assert!(!starting.wait().unwrap().success());
    assert!(scene.fails(1, &["cancel", "4711"]).contains("Job 4711 does not exist."));
    assert_eq!(scene.systemctl(&["list-jobs"]).trim(), "No jobs running.");
}

#[test]
fn signals_environment_and_ends() {
    let scene = Scene::new(&[A]);
    scene.systemctl(&["start", "a.service"]);
    let pid = scene.pid("a.service");
    scene.systemctl(&["kill", "--signal=SIGHUP", "a.service"]);
    assert_eq!(scene.state.lock().unwrap().signals, [(pid, 1)]);
    scene.systemctl(&["kill", "--kill-whom=main", "a.service"]);
    // Nothing needs it, so it is forgotten.
    scene.until("the end", || scene.unit("a.service") == "not there");
    let said = scene.fails(1, &["kill", "--kill-whom=main", "--signal=1", "multi-user.target"]);
    assert!(said.contains("multi-user.target"), "{said}");
    scene.systemctl(&["set-environment", "A=b", "C=d"]);
    scene.systemctl(&["unset-environment", "A"]);
    assert_eq!(scene.systemctl(&["show-environment"]), "C=d\n");
    scene.systemctl(&["start", "a.service"]);
    // systemctl freezes over the system bus alone, and restarts the machine by itself where the manager does not answer.
    let me = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    assert!(scene.busctl(&["call", me[0], me[1], me[2], "FreezeUnit", "s", "a.service"]).status.success());
    assert_eq!(scene.asked.lock().unwrap().frozen, [("system.slice/a.service".to_owned(), true)]);
    assert!(scene.busctl(&["call", me[0], me[1], me[2], "Reboot"]).status.success());
    assert_eq!(scene.asked.lock().unwrap().ends, [ssi_bus::End::Reboot]);
}

#[test]
fn units_are_enabled_masked_and_listed() {
    let scene = Scene::new(&[A, ("b.service", "[Service]\nExecStart=/bin/true\n")]);
    let link = scene.root().join("etc/systemd/system/multi-user.target.wants/a.service");
    assert_eq!(scene.fails(1, &["is-enabled", "a.service"]), "disabled\n");
    scene.systemctl(&["enable", "a.service"]);
    assert_eq!(std::fs::read_link(&link).unwrap(), std::path::Path::new("/etc/systemd/system/a.service"));
    assert_eq!(scene.systemctl(&["is-enabled", "a.service"]), "enabled\n");
    scene.systemctl(&["disable", "--now", "a.service"]);
    assert!(!link.exists() && !link.is_symlink());
    let said = scene.fails(1, &["enable", "nowhere.service"]);
    assert!(said.contains("Unit file nowhere.service does not exist."), "{said}");
    let output = scene.run(&["enable", "b.service"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no installation config"), "{output:?}");
    scene.systemctl(&["mask", "--runtime", "x.service"]);
    assert_eq!(scene.fails(1, &["is-enabled", "x.service"]), "masked-runtime\n");
    assert!(scene.fails(1, &["start", "x.service"]).contains("is masked"));
    scene.systemctl(&["unmask", "--runtime", "x.service"]);
    let list = scene.systemctl(&["list-unit-files", "--no-legend", "a.service", "b.service"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["a.service", "disabled"], ["b.service", "static"]]);
    scene.systemctl(&["set-default", "multi-user.target"]);
    assert_eq!(scene.systemctl(&["get-default"]), "multi-user.target\n");
    scene.systemctl(&["add-wants", "multi-user.target", "b.service"]);
    assert!(scene.root().join("etc/systemd/system/multi-user.target.wants/b.service").is_symlink());
}

#[test]
fn busctl_sees_what_systemd_shows() {
    let scene = Scene::new(&[A]);
    let call = |arguments: &[&str]| {
        let output = scene.busctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    const ME: [&str; 3] = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let path = call(&["call", ME[0], ME[1], ME[2], "LoadUnit", "s", "a.service"]);
    assert_eq!(path, "o \"/org/freedesktop/systemd1/unit/a_2eservice\"\n");
    assert_eq!(call(&["get-property", ME[0], ME[1], ME[2], "NJobs"]), "u 0\n");
    let shown = call(&["introspect", ME[0], ME[1]]);
    assert!(shown.contains(".StartUnit") && shown.contains(".JobRemoved") && shown.contains(".LogLevel"), "{shown}");
    let unit = call(&["introspect", ME[0], "/org/freedesktop/systemd1/unit/a_2eservice"]);
    assert!(unit.contains(".ActiveState") && unit.contains(".GetProcesses"), "{unit}");
    let refused = |arguments: &[&str], words: &str| {
        let output = scene.busctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    };
    refused(&["call", ME[0], ME[1], ME[2], "StartUnit", "s", "a.service"], "expecting 'ss'");
    refused(&["call", ME[0], ME[1], ME[2], "Nonsense"], "Unknown method Nonsense");
    refused(&["call", ME[0], "/no/where", ME[2], "Dump"], "Unknown object '/no/where'");
    refused(&["call", ME[0], ME[1], ME[2], "StartUnit", "ss", "a.service", "soon"], "Job mode soon invalid");
    refused(&["call", ME[0], ME[1], ME[2], "GetUnit", "s", "nowhere.service"], "Unit nowhere.service not loaded.");
    refused(&["set-property", ME[0], ME[1], ME[2], "Version", "s", "9"], "not writable");
}
