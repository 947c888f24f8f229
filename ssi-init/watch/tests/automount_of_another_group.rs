// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager of another process group takes over an automount. Alone in its file: it changes the group of this process.

mod scene;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use scene::{apart, readable, unit};
use ssi_manager::core::Event;
use ssi_manager::core::automount::Ask;
use ssi_manager::core::system::FdKey;
use ssi_watch::autofs::Autofs;

const TABLE: &str = "/proc/thread-self/mountinfo";

fn look(place: &Path) -> Child {
    Command::new("ls").arg(place).process_group(0).stderr(Stdio::piped()).spawn().unwrap()
}

fn token(autofs: &mut Autofs) -> u32 {
    assert!(readable(autofs.fd()), "nothing is asked");
    match autofs.events().pop() {
        Some(Event::AutomountAsked { ask: Ask::Mount { token, .. }, .. }) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_let_through_and_asked_from_then_on() {
    apart(|| {
        let mut first = match Autofs::new(Path::new(TABLE)) {
            Ok(first) => first,
            Err(error) => {
                println!("left out: there is no autofs here: {error}");
                return;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let (name, key) = (unit("a.automount"), FdKey("autofs a.automount".into()));
        let kept = first.open(&name, dir.path(), &key, None, None).unwrap();
        drop(first);
        let mut looker = look(dir.path());
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = nix::unistd::getpgrp();
        let changed = rustix::process::setpgid(None, None);
        let is_other = changed.is_ok() && nix::unistd::getpgrp() != before;
        let mut second = Autofs::new(Path::new(TABLE)).unwrap();
        let gave_up = is_other.then(|| second.adopt(&name, dir.path(), &key, kept.try_clone().unwrap(), None));
        looker.kill().unwrap();
        looker.wait().unwrap();
        let Some(gave_up) = gave_up else {
            println!("left out: the group cannot be changed here: {changed:?}");
            return;
        };
        let error = gave_up.unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::DEADLK.raw_os_error()), "{error}");
        // With nobody waiting there any more it can be done.
        let new = second.adopt(&name, dir.path(), &key, kept, None).unwrap();
        assert!(new.is_some(), "there is another pipe to be kept");
        let mut looker = look(dir.path());
        let token = token(&mut second);
        // This would wait for itself, were it not let through.
        rustix::mount::mount("x", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        second.answer(&key, &[token], 0).unwrap();
        assert!(looker.wait().unwrap().success());
        // And the one after goes on without a break.
        drop(second);
        let mut third = Autofs::new(Path::new(TABLE)).unwrap();
        assert!(third.adopt(&name, dir.path(), &key, new.unwrap(), None).unwrap().is_none());
    });
}
