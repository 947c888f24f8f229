// SPDX-License-Identifier: GPL-2.0-or-later
//! `shutdown` at a time where no logind waits for it: the time is kept, a process waits, logins are refused for the last
//! minutes, and all of it is taken back. In a namespace with a /run and processes of its own, where there is neither a
//! bus nor a manager that could be asked for more.

use std::io::Write as _;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ssi-sysv");

/// What `script` says inside, with the program as `$1`; none, and a line, where no namespace can be made.
fn inside(script: &str) -> Option<String> {
    // Nothing is called unless /run is really another one.
    let enter = "mount -t tmpfs none /run && mount -t proc none /proc && [ ! -e /run/dbus ] || exit 77\n\
                 waiting() { for p in /proc/[0-9]*; do\n\
                 tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q '^ssi-sysv await-shutdown' && echo $p; done | wc -l; }\n\
                 nologin() { if [ -e /run/nologin ]; then echo no logins; else echo logins; fi; }\n\
                 until_waiting() { i=0; while [ $(waiting) != $1 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; \
                 echo \"$(waiting) waiting\"; }\n";
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // With the first process of the namespace, all others in it end.
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", &format!("{enter}{script}"), "sh", PROGRAM]).stdin(Stdio::null()).env("TZ", "UTC");
    command.env_remove("DBUS_SYSTEM_BUS_ADDRESS");
    let output = command.output().expect("unshare(1)");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || complaint.contains("unshare failed") {
        let _ = writeln!(std::io::stderr(), "skipped: shutdown at a time: no namespace can be made here: {complaint}");
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn a_time_is_kept_waited_for_shown_and_taken_back() {
    let script = "exec 2>&1\n\
        $1 shutdown --show; echo status $?\n\
        $1 shutdown --no-wall -r +90 new kernel; echo status $?\n\
        grep -v USEC /run/systemd/shutdown/scheduled\n\
        until_waiting 1; $1 shutdown --show; echo status $?; nologin\n\
        $1 shutdown --no-wall -c; echo status $?; until_waiting 0; ls /run/systemd/shutdown\n\
        $1 shutdown --no-wall -c; echo status $?";
    let Some(said) = inside(script) else { return };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["No shutdown is to come.", "status 1"], "{said}");
    assert!(lines[2].starts_with("Reboot scheduled for "), "{said}");
    let kept = ["status 0", "WARN_WALL=0", "MODE=reboot", "WALL_MESSAGE=new kernel", "1 waiting"];
    assert_eq!(lines[3..8], kept, "{said}");
    assert_eq!(lines[8], lines[2], "{said}");
    assert_eq!(lines[9..], ["status 0", "logins", "status 0", "0 waiting", "status 0"], "{said}");
}

#[test]
fn nobody_logs_in_within_the_last_five_minutes_until_it_is_taken_back() {
    let script = "exec 2>&1\n\
        $1 shutdown --no-wall -P +3 >/dev/null 2>&1; until_waiting 1\n\
        i=0; while [ ! -s /run/nologin ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; cat /run/nologin\n\
        $1 shutdown --no-wall -c; until_waiting 0; nologin";
    let Some(said) = inside(script) else { return };
    let expected = "1 waiting\nThe system will power off. Logging in is no longer possible.\n0 waiting\nlogins\n";
    assert_eq!(said, expected);
}

#[test]
fn a_later_word_takes_the_place_of_the_one_before() {
    let script = "exec 2>&1\n\
        $1 shutdown --no-wall -P +60 >/dev/null 2>&1; until_waiting 1\n\
        $1 shutdown --no-wall -H +70 >/dev/null 2>&1; sleep 0.5; until_waiting 1\n\
        grep MODE /run/systemd/shutdown/scheduled; $1 shutdown --no-wall -c; until_waiting 0";
    let Some(said) = inside(script) else { return };
    assert_eq!(said, "1 waiting\n1 waiting\nMODE=halt\n0 waiting\n");
}
