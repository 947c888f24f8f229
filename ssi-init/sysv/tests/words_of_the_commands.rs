// SPDX-License-Identifier: GPL-2.0-or-later
//! The program through links of the commands' names. Only what asks and what is refused: whoever runs the tests may be
//! root, and nothing here can bring a machine down even if it goes wrong.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ssi-sysv");
const COMMANDS: [&str; 8] = ["init", "telinit", "shutdown", "halt", "poweroff", "reboot", "runlevel", "service"];

/// Calls the program through a link, with `variables` for its environment.
fn called(command: &str, words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join(command);
    symlink(PROGRAM, &link).expect("a link");
    let mut run = Command::new(link);
    run.args(words).env_remove("RUNLEVEL").env_remove("PREVLEVEL").envs(variables.iter().copied());
    let Output { status, stdout, stderr } = run.stdin(Stdio::null()).output().expect("runs");
    (status.code(), String::from_utf8(stdout).expect("UTF-8"), String::from_utf8(stderr).expect("UTF-8"))
}

fn said(command: &str, words: &[&str]) -> (Option<i32>, String, String) {
    called(command, words, &[])
}

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let (status, help, complaints) = said(command, &["--help"]);
        assert_eq!((status, complaints.as_str()), (Some(0), ""), "{command}");
        assert!(help.contains(&format!("Usage: {command}")), "{help}");
        let direct = Command::new(PROGRAM).args([command, "--help"]).output().expect("runs");
        assert_eq!(String::from_utf8_lossy(&direct.stdout), help, "{command}");
    }
    assert_eq!(said("service", &["-h"]).0, Some(0));
    assert_eq!(said("service", &["--version"]).1, format!("service {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_use_is_status_2_and_a_sentence() {
    for (command, words, part) in [
        ("shutdown", ["25:00"].as_slice(), "\"25:00\" is not a time"),
        ("shutdown", &["soon", "we", "go"], "\"soon\" is not a time"),
        ("shutdown", &["+99999999999999999999"], "too far away"),
        ("shutdown", &["--show", "-c"], "cannot be used with"),
        ("telinit", &["7"], "telinit: \"7\" is none of"),
        ("init", &["a"], "init: \"a\" is none of"),
        ("telinit", &[], "required"),
        ("runlevel", &["extra"], "unexpected argument"),
        ("service", &[], "required"),
        ("service", &["--status-all", "cron"], "cannot be used with"),
    ] {
        let (status, answer, complaint) = said(command, words);
        assert_eq!((status, answer.as_str()), (Some(2), ""), "{command} {words:?}: {complaint}");
        assert!(complaint.contains(part), "{command} {words:?}: {complaint}");
    }
    let none = Command::new(PROGRAM).arg("sleep").output().expect("runs");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("\"sleep\" is no command"));
}

#[test]
fn the_run_level_of_the_environment_is_printed() {
    let (status, answer, _) = called("runlevel", &[], &[("RUNLEVEL", "3"), ("PREVLEVEL", "5")]);
    assert_eq!((status, answer.as_str()), (Some(0), "5 3\n"));
}

#[test]
fn a_reader_that_is_gone_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(PROGRAM)
        .arg("runlevel")
        .env("RUNLEVEL", "3")
        .stdout(writer.try_clone().expect("a descriptor"))
        .stderr(writer)
        .status()
        .expect("runs");
    assert_eq!(status.code(), Some(0), "a panic would be 101");
}

#[test]
fn a_service_has_a_name_and_not_a_path() {
    for name in ["../../bin/true", "/bin/true", "", "a/b"] {
        let (status, _, complaint) = said("service", &[name, "configtest"]);
        assert_eq!(status, Some(1), "{name}");
        assert!(complaint.contains("is not the name of a service"), "{complaint}");
    }
    let (status, _, complaint) = said("service", &["no-such-script-here", "configtest"]);
    assert_eq!(status, Some(1));
    assert!(complaint.contains("/etc/init.d/no-such-script-here is no script"), "{complaint}");
}
