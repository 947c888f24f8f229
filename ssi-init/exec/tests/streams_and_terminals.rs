// SPDX-License-Identifier: GPL-2.0-or-later
//! Standard input, output and error, terminals, login records and the journal.

mod scene;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, socketpair};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use scene::{Extra, is_root, run, run_with, script, with_own_run};
use ssi_exec::plan::*;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ssi-exec-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_written_over_added_to_or_cut() {
    let scratch = Scratch::new("files");
    for (mode, expected) in [
        (FileMode::Write, "new\nstart and more\n"),
        (FileMode::Append, "the old start and more\nnew\n"),
        (FileMode::Truncate, "new\n"),
    ] {
        let path = scratch.file("out");
        std::fs::write(&path, "the old start and more\n").unwrap();
        let mut plan = script("printf 'new\\n'");
        plan.streams.output = Output::File { path: path.clone(), mode };
        assert_eq!(run(plan).status, 0);
        let found = std::fs::read_to_string(&path).unwrap();
        // Written over: four bytes of what was there are gone.
        let expected = if mode == FileMode::Write { "new\nold start and more\n" } else { expected };
        assert_eq!(found, expected, "{mode:?}");
    }
    let mut plan = script("echo out; echo err >&2; echo out2");
    let path = scratch.file("both");
    plan.streams.output = Output::File { path: path.clone(), mode: FileMode::Write };
    plan.streams.error = Output::File { path: path.clone(), mode: FileMode::Write };
    plan.umask = 0o077;
    run(plan);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "out\nerr\nout2\n", "one open file serves both");
    let mode = rustix::fs::stat(&path).unwrap().st_mode & 0o777;
    assert_eq!(mode, 0o600, "created under the unit's umask");
}

#[test]
fn input_comes_from_text_files_and_nowhere() {
    assert_eq!(run(script("wc -c; readlink /proc/self/fd/0")).output, "0\n/dev/null\n");
    let mut plan = script("cat; cat");
    plan.streams.input = Input::Bytes(b"some text\n".to_vec());
    assert_eq!(run(plan).output, "some text\n");
    let scratch = Scratch::new("input");
    std::fs::write(scratch.file("in"), "from a file\n").unwrap();
    let mut plan = script("cat");
    plan.streams.input = Input::File(scratch.file("in"));
    assert_eq!(run(plan).output, "from a file\n");
}

#[test]
fn a_connection_is_all_three() {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::io::write(&ours, b"question\n").unwrap();
    let plan = script("read word; echo answer to $word; echo aside >&2");
    let told = run_with(plan, Extra { fds: vec![theirs.as_fd()], ..Extra::default() }, |plan, slots| {
        plan.streams.input = Input::Socket;
        plan.streams.output = Output::Inherit;
        plan.streams.socket = Some(slots[0]);
    });
    drop(theirs);
    assert_eq!(told.status, 0);
    let mut answer = String::new();
    std::fs::File::from(ours).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer to question\naside\n");
}

fn terminal() -> (OwnedFd, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (master, name)
}

fn read_some(master: &OwnedFd) -> String {
    let mut buffer = [0u8; 4096];
    match rustix::io::read(master, &mut buffer) {
        Ok(count) => String::from_utf8_lossy(&buffer[..count]).into_owned(),
        Err(_) => String::new(),
    }
}

#[test]
fn a_terminal_becomes_the_sessions_and_the_users() {
    if !is_root("a_terminal_becomes_the_sessions_and_the_users") {
        return;
    }
    let (master, name) = terminal();
    let scratch = Scratch::new("tty");
    std::fs::set_permissions(&scratch.0, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let out = scratch.file("seen");
    let mut plan = script(
        "{ tty; stty size; ps -o tty= -p $$; stat -c %U,%a $(tty); echo $TERM; [ -t 2 ] && echo error; } > $SEEN; [ -t 1 ] && echo output >> $SEEN",
    );
    plan.environment.unit.push(("SEEN".into(), out.clone()));
    plan.identity.user = Some("daemon".into());
    plan.streams.input = Input::Tty(TerminalAcquire::Force);
    plan.streams.output = Output::Tty;
    plan.streams.tty = Tty {
        path: Some(name.clone()),
        reset: true,
        vhangup: false,
        disallocate: true,
        rows: Some(33),
        columns: Some(99),
    };
    assert_eq!(run(plan).status, 0);
    let seen = std::fs::read_to_string(&out).unwrap();
    let short = name.strip_prefix("/dev/").unwrap();
    assert_eq!(seen, format!("{name}\n33 99\n{short}\ndaemon,600\nvt220\nerror\noutput\n"), "{seen}");
    assert!(read_some(&master).contains("\u{1b}[2J"), "the screen was cleared");
}

#[test]
fn a_taken_terminal_is_waited_for_or_refused() {
    if !is_root("a_taken_terminal_is_waited_for_or_refused") {
        return;
    }
    use ssi_exec::spawn::{Launch, Spawner};
    let (_master, name) = terminal();
    let plan = |text: &str, how| {
        let mut plan = script(text);
        plan.streams.input = Input::Tty(how);
        plan.streams.output = Output::Null;
        plan.streams.tty.path = Some(name.clone());
        plan
    };
    let mut spawner = Spawner::new(&scene::executor()).unwrap();
    let mut holder = spawner.spawn(&Launch::new(plan("exec sleep 1", TerminalAcquire::Wait))).unwrap();
    holder.wait_reports();
    assert_eq!(run(plan("exit 7", TerminalAcquire::Fail)).status, 208);
    let start = std::time::Instant::now();
    assert_eq!(run(plan("exit 8", TerminalAcquire::Wait)).status, 8);
    assert!(start.elapsed().as_millis() > 500, "it waited for the holder's end");
    rustix::process::waitpid(Some(holder.pid), rustix::process::WaitOptions::empty()).unwrap();
}

#[test]
fn the_journal_gets_the_head_and_the_lines() {
    if !is_root("the_journal_gets_the_head_and_the_lines") {
        return;
    }
    with_own_run(|| {
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        let journal = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&journal, &SocketAddrUnix::new("/run/systemd/journal/stdout").unwrap()).unwrap();
        listen(&journal, 8).unwrap();
        let mut plan = script("echo hello; echo oops >&2; echo $JOURNAL_STREAM; stat -Lc %d:%i /proc/self/fd/2");
        plan.streams.output = Output::Journal { kmsg: false, console: true };
        plan.streams.log = LogStream { identifier: None, priority: 30, level_prefix: true, namespace: None };
        assert_eq!(run(plan).status, 0);
        let connection = rustix::net::accept(&journal).unwrap();
        let mut text = String::new();
        std::fs::File::from(connection).read_to_string(&mut text).unwrap();
        let (head, lines) = text.split_at(text.match_indices('\n').nth(6).unwrap().0 + 1);
        assert_eq!(head, "sh\nscene.service\n30\n1\n0\n0\n1\n");
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[..2], ["hello", "oops"]);
        assert_eq!(lines[2], lines[3], "JOURNAL_STREAM names standard error");
    });
}

#[test]
fn without_a_journal_the_program_runs_and_somebody_is_told() {
    if !is_root("without_a_journal_the_program_runs_and_somebody_is_told") {
        return;
    }
    with_own_run(|| {
        let mut plan = script("exit 5");
        plan.streams.output = Output::Journal { kmsg: false, console: false };
        let told = run(plan);
        assert_eq!(told.status, 5);
        let warned = |report: &ssi_exec::report::Report| matches!(report, ssi_exec::report::Report::Warning(text) if text.contains("/dev/null"));
        assert!(told.reports.iter().any(warned), "{told:?}");
    });
}

#[test]
fn a_failed_start_is_in_the_journal_with_its_unit() {
    if !is_root("a_failed_start_is_in_the_journal_with_its_unit") {
        return;
    }
    with_own_run(|| {
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        let journal = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&journal, &SocketAddrUnix::new("/run/systemd/journal/socket").unwrap()).unwrap();
        let mut plan = script("");
        plan.command.program = "/nowhere/prog".into();
        plan.messages = Messages::Journal;
        plan.invocation_id = Some([0xab; 16]);
        assert_eq!(run(plan).status, 203);
        let mut buffer = [0u8; 4096];
        let count = rustix::io::read(&journal, &mut buffer).unwrap();
        let message = String::from_utf8_lossy(&buffer[..count]);
        for field in [
            "MESSAGE=scene.service: failed at step EXEC spawning /nowhere/prog: /nowhere/prog: No such file or directory",
            "PRIORITY=3",
            "UNIT=scene.service",
            "MESSAGE_ID=641257651c1b4ec9a8624d7a40a9e1e7",
            "INVOCATION_ID=abababababababababababababababab",
        ] {
            assert!(message.lines().any(|line| line == field), "{field} is not in {message}");
        }
    });
}

#[test]
fn login_records_are_left() {
    if !is_root("login_records_are_left") {
        return;
    }
    with_own_run(|| {
        std::fs::write("/run/utmp", "").unwrap();
        let mut plan = script("exit 0");
        plan.streams.tty.path = Some("/dev/tty7".into());
        plan.utmp = Some(Utmp { identifier: "tty7".into(), mode: UtmpMode::Init });
        assert_eq!(run(plan).status, 0);
        let output = std::process::Command::new("utmpdump").arg("/run/utmp").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("[5]") && text.contains("[tty7]"), "{text}");
    });
}
