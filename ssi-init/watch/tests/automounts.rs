// SPDX-License-Identifier: GPL-2.0-or-later
//! Who looks at an automount waits for the answer, and what is out of use expires.

mod scene;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};
use scene::{apart, readable, readable_now, unit};
use ssi_manager::core::Event;
use ssi_manager::core::automount::Ask;
use ssi_manager::core::system::{FdKey, Pid};
use ssi_watch::autofs::Autofs;

const TABLE: &str = "/proc/thread-self/mountinfo";

fn autofs() -> Option<Autofs> {
    Autofs::new(Path::new(TABLE)).inspect_err(|error| println!("left out: there is no autofs here: {error}")).ok()
}

fn key() -> FdKey {
    FdKey("autofs a.automount".into())
}

/// A process of another group that looks into the place.
fn look(place: &Path) -> Child {
    let mut command = Command::new("ls");
    command.arg(place).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ask(autofs: &mut Autofs) -> Ask {
    assert!(readable(autofs.fd()), "nothing is asked");
    let mut events = autofs.events();
    match (events.pop(), events.is_empty()) {
        (Some(Event::AutomountAsked { unit: name, ask }), true) => {
            assert_eq!(name, unit("a.automount"));
            ask
        }
        other => panic!("{other:?}"),
    }
}

fn autofs_there(place: &Path) -> bool {
    let table = std::fs::read(TABLE).unwrap();
    let (entries, _) = ssi_watch::tables::mountinfo::parse(&table);
    entries.iter().any(|entry| entry.mounted.kind == "autofs" && Path::new(&entry.mounted.place) == place)
}

fn mount(place: &Path) {
    rustix::mount::mount("x", place, "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::write(place.join("file"), "").unwrap();
}

#[test]
fn who_looks_waits_for_the_mount() {
    apart(|| {
        let Some(mut autofs) = autofs() else { return };
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("with blank");
        std::fs::create_dir(&place).unwrap();
        let kept = autofs.open(&unit("a.automount"), &place, &key(), None, None).unwrap();
        assert!(autofs_there(&place) && !readable_now(autofs.fd()));
        let mut looker = look(&place);
        let Ask::Mount { token, by } = ask(&mut autofs) else { panic!() };
        assert_eq!(by, Some(Pid(looker.id())));
        assert!(looker.try_wait().unwrap().is_none(), "it waits");
        mount(&place);
        autofs.answer(&key(), &[token], 0).unwrap();
        let output = looker.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "file\n");
        assert!(autofs.answer(&key(), &[token], 0).is_err(), "it was answered already");
        rustix::mount::unmount(&place, UnmountFlags::empty()).unwrap();
        // A failure is the looker's.
        let looker = look(&place);
        let Ask::Mount { token, .. } = ask(&mut autofs) else { panic!() };
        autofs.answer(&key(), &[token], -rustix::io::Errno::HOSTDOWN.raw_os_error()).unwrap();
        let output = looker.wait_with_output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("Host is down"), "{output:?}");
        drop(kept);
        autofs.close(&key()).unwrap();
        assert!(!autofs_there(&place) && look(&place).wait().unwrap().success());
        assert!(autofs.troubles().is_empty());
    });
}

#[test]
fn the_next_manager_takes_it_up_with_who_waits() {
    apart(|| {
        let Some(mut first) = autofs() else { return };
        let dir = tempfile::tempdir().unwrap();
        let kept = first.open(&unit("a.automount"), dir.path(), &key(), None, None).unwrap();
        drop(first);
        let mut looker = look(dir.path());
        std::thread::sleep(Duration::from_millis(50));
        assert!(looker.try_wait().unwrap().is_none(), "it waits for the next manager");
        let mut second = autofs().unwrap();
        let again = second.adopt(&unit("a.automount"), dir.path(), &key(), kept.try_clone().unwrap(), None).unwrap();
        assert!(again.is_none(), "it is of the same group");
        let Ask::Mount { token, .. } = ask(&mut second) else { panic!() };
        mount(dir.path());
        second.answer(&key(), &[token], 0).unwrap();
        assert!(looker.wait().unwrap().success());
        // With something on top it stays, and lets everybody through.
        second.close(&key()).unwrap();
        assert!(autofs_there(dir.path()) && dir.path().join("file").exists());
        rustix::mount::unmount(dir.path(), UnmountFlags::empty()).unwrap();
        assert!(look(dir.path()).wait().unwrap().success());
        rustix::mount::unmount(dir.path(), UnmountFlags::empty()).unwrap();
        let error = second.adopt(&unit("a.automount"), dir.path(), &key(), kept, None).unwrap_err();
        assert!(error.to_string().contains("not mounted any more"), "{error}");
    });
}

#[test]
fn what_is_out_of_use_expires() {
    apart(|| {
        let Some(mut autofs) = autofs() else { return };
        let dir = tempfile::tempdir().unwrap();
        let _kept = autofs.open(&unit("a.automount"), dir.path(), &key(), None, Some(900_000)).unwrap();
        let mut looker = look(dir.path());
        let Ask::Mount { token, .. } = ask(&mut autofs) else { panic!() };
        mount(dir.path());
        autofs.answer(&key(), &[token], 0).unwrap();
        looker.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        let token = loop {
            assert!(Instant::now() < end, "it never expired");
            autofs.expire(&key()).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            if readable_now(autofs.fd()) {
                let Ask::Expire { token } = ask(&mut autofs) else { panic!() };
                break token;
            }
        };
        rustix::mount::unmount(dir.path(), UnmountFlags::empty()).unwrap();
        autofs.answer(&key(), &[token], 0).unwrap();
        // And the next one who looks asks anew.
        let mut looker = look(dir.path());
        let Ask::Mount { token, .. } = ask(&mut autofs) else { panic!() };
        autofs.answer(&key(), &[token], -2).unwrap();
        assert!(!looker.wait().unwrap().success());
        autofs.close(&key()).unwrap();
        assert!(autofs.troubles().is_empty(), "{:?}", autofs.troubles());
    });
}

#[test]
fn somebody_else_unmounts_it() {
    apart(|| {
        let Some(mut autofs) = autofs() else { return };
        let dir = tempfile::tempdir().unwrap();
        autofs.open(&unit("a.automount"), dir.path(), &key(), None, None).unwrap();
        // As `umount -l`: the manager has it open.
        rustix::mount::unmount(dir.path(), UnmountFlags::DETACH).unwrap();
        if readable(autofs.fd()) {
            assert_eq!(ask(&mut autofs), Ask::Unmounted);
        } else {
            panic!("it was not told");
        }
        assert!(!readable_now(autofs.fd()));
        autofs.close(&key()).unwrap();
        let error = autofs.open(&unit("a.automount"), &dir.path().join("missing"), &key(), None, None).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        let error = autofs.open(&unit("a.automount"), dir.path(), &key(), Some("nonsense=1"), None).unwrap_err();
        assert!(error.to_string().contains("Invalid argument") && !autofs_there(dir.path()), "{error}");
        let error = autofs.open(&unit("a.automount"), dir.path(), &key(), Some("x,pgrp=1"), None).unwrap_err();
        assert!(error.to_string().contains("the manager's") && !autofs_there(dir.path()), "{error}");
    });
}
