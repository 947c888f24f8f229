// SPDX-License-Identifier: GPL-2.0-or-later
//! Each step that fails ends with systemd's exit status for it, and says so on the pipe.

mod scene;

use scene::{is_root, run, script};
use ssi_exec::plan::*;
use ssi_exec::report::{Outcome, Report};
use ssi_exec::step::Step;

#[track_caller]
fn fails(step: Step, change: impl FnOnce(&mut ExecPlan)) {
    let mut plan = script("echo must not run");
    change(&mut plan);
    let told = run(plan);
    assert_eq!(told.status, i32::from(step.exit_status()), "{told:?}");
    assert!(!told.output.contains("must not run"), "{told:?}");
    let Outcome::Failed(failure) = &told.outcome else { panic!("{told:?}") };
    assert_eq!(failure.step, step);
    assert!(!failure.message.is_empty());
}

#[test]
fn by_every_setting() {
    let own = |text: &str| Some(text.to_owned());
    fails(Step::Exec, |plan| plan.command.program = "/nowhere/prog".into());
    fails(Step::Exec, |plan| plan.command.program = "no-such-program".into());
    fails(Step::Exec, |plan| plan.command.program = "/etc/passwd".into());
    fails(Step::Exec, |plan| plan.command.arguments.push("nul\0byte".into()));
    fails(Step::User, |plan| plan.identity.user = own("nobody-of-that-name"));
    fails(Step::User, |plan| plan.identity.user = own("54321"));
    fails(Step::Group, |plan| plan.identity.group = own("no-such-group"));
    fails(Step::Group, |plan| plan.identity.supplementary = vec!["no-such-group".into()]);
    fails(Step::Chdir, |plan| plan.working_directory.place = WorkingPlace::Path("/nowhere".into()));
    fails(Step::Stdin, |plan| plan.streams.input = Input::File("/nowhere/in".into()));
    fails(Step::Stdout, |plan| {
        plan.streams.output = Output::File { path: "/nowhere/out".into(), mode: FileMode::Write };
    });
    fails(Step::Stderr, |plan| {
        plan.streams.error = Output::File { path: "/nowhere/err".into(), mode: FileMode::Append };
    });
    fails(Step::Stdin, |plan| {
        plan.streams.input = Input::Tty(TerminalAcquire::Fail);
        plan.streams.tty.path = own("/dev/null");
    });
    fails(Step::CpuAffinity, |plan| plan.scheduling.affinity = Some(vec![]));
    fails(Step::SetScheduler, |plan| {
        plan.scheduling.cpu = Some(Scheduler { policy: 1, priority: 1000, reset_on_fork: false });
    });
    fails(Step::Ioprio, |plan| plan.scheduling.io = Some(IoPriority { class: IoClass::None, level: 3 }));
    fails(Step::Limits, |plan| {
        plan.limits = vec![Limit { resource: Resource::Nofile, soft: Some(9), hard: Some(8) }];
    });
    fails(Step::OomAdjust, |plan| plan.scheduling.oom_score_adjust = Some(5000));
    fails(Step::Credentials, |plan| {
        plan.credentials.entries = vec![("a".into(), CredentialSource::Path("/nowhere/secret".into()))];
    });
    fails(Step::Network, |plan| {
        plan.protections = vec![Protection::NetworkNamespacePath("/nowhere/ns".into())];
    });
    if is_root("by_every_setting") {
        fails(Step::Chroot, |plan| plan.root_directory = own("/nowhere"));
        fails(Step::Namespace, |plan| {
            let rule = PathRule { path: "/nowhere".into(), missing_ok: false, in_root: false };
            plan.protections = vec![Protection::ReadOnlyPaths(vec![rule])];
        });
        for kind in DirectoryKind::ALL {
            fails(kind.step(), |plan| {
                // A file where a directory has to be.
                plan.directories.prefix = own("/etc/passwd");
                let entries = vec![ManagedDirectory { path: "a".into(), symlinks: vec![] }];
                plan.directories.sets = vec![DirectorySet { kind, mode: 0o755, entries, preserve: false }];
            });
        }
    }
}

#[test]
fn a_missing_program_may_be_no_failure() {
    let mut plan = script("");
    plan.command.program = "/nowhere/prog".into();
    plan.command.ignore_failure = true;
    let told = run(plan);
    assert_eq!(told.status, 0);
    assert!(matches!(told.outcome, Outcome::Skipped(_)));
}

#[test]
fn what_the_kernel_refuses_at_execve_is_told_after_the_last_step() {
    let directory = tempdir();
    let path = format!("{directory}/script");
    std::fs::write(&path, "no interpreter\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut plan = script("");
    plan.command.program = path;
    let told = run(plan);
    assert_eq!(told.status, 203);
    assert!(told.reports.contains(&Report::Executing));
    assert!(matches!(told.outcome, Outcome::Failed(failure) if failure.errno == Some(8)));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_executor_that_is_none_is_an_error_of_the_spawn() {
    use ssi_exec::spawn::{Launch, SpawnError, Spawner};
    let mut spawner = Spawner::new("/etc/passwd".as_ref()).unwrap();
    for _ in 0..3 {
        let error = spawner.spawn(&Launch::new(script(""))).unwrap_err();
        assert!(matches!(error, SpawnError::Executor(rustix::io::Errno::ACCESS)), "{error}");
    }
    // Something that runs and is no executor: it vanishes without a word.
    let mut spawner = Spawner::new("/bin/false".as_ref()).unwrap();
    let mut spawned = spawner.spawn(&Launch::new(script(""))).unwrap();
    assert_eq!(spawned.wait_reports().1, Outcome::Vanished);
    let _ = rustix::process::waitpid(Some(spawned.pid), rustix::process::WaitOptions::empty());
}

#[test]
fn protections_that_are_not_given_are_told() {
    let mut plan = script("true");
    plan.protections = vec![Protection::MemoryDenyWriteExecute, Protection::PrivateMounts];
    let told = run(plan);
    let warnings: Vec<&Report> = told.reports.iter().filter(|report| matches!(report, Report::Warning(_))).collect();
    assert!(
        matches!(&warnings[..], [Report::Warning(text)] if text.starts_with("MemoryDenyWriteExecute=")),
        "{told:?}"
    );
}

#[test]
fn run_by_hand_it_says_what_it_is() {
    let output = std::process::Command::new(scene::executor()).output().unwrap();
    assert_eq!(output.status.code(), Some(204));
    assert!(String::from_utf8_lossy(&output.stderr).contains("descriptor 3"));
}

fn tempdir() -> String {
    let path =
        format!("/tmp/ssi-exec-test-{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "");
    std::fs::create_dir_all(&path).unwrap();
    path
}
