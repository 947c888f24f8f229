// SPDX-License-Identifier: GPL-2.0-or-later
//! Runtime directories, private /tmp, shared namespaces, dynamic users and credentials: there while the unit runs, the
//! same for all of its processes, and gone when it stops.

mod scene;

use scene::{Stage, unit};

#[test]
fn runtime_directories_go_as_the_unit_says() {
    let mut stage = Stage::new();
    for (preserve, restart, stays) in [
        ("no", false, false),
        ("no", true, false),
        ("restart", false, false),
        ("restart", true, true),
        ("yes", false, true),
        ("yes", true, true),
    ] {
        let text = format!(
            "[Service]\nExecStart=/bin/sh -c 'mkdir $RUNTIME_DIRECTORY/below && touch $RUNTIME_DIRECTORY/below/file'\n\
             RuntimeDirectory=app/inner:app-link\nRuntimeDirectoryPreserve={preserve}\n"
        );
        let unit = unit("a.service", &text);
        assert_eq!(stage.run(&unit, |_| {}).status, 0);
        let there = stage.path("run/app/inner/below/file");
        assert!(there.exists() && stage.path("run/app-link").is_symlink());
        assert_eq!(stage.launcher.remove_directories(&unit.id, &unit.config, restart), [""; 0]);
        assert_eq!(there.exists(), stays, "{preserve} {restart}");
        assert_eq!(stage.path("run/app-link").is_symlink(), stays, "{preserve} {restart}");
        // "The innermost subdirectories are removed": what is above may be others'.
        assert!(stage.path("run/app").is_dir());
        let _ = std::fs::remove_dir_all(stage.path("run/app"));
    }
}

#[test]
fn one_private_tmp_for_all_processes_of_a_unit() {
    let mut stage = Stage::new();
    let lines = "PrivateTmp=yes";
    assert_eq!(stage.told(lines, "touch /tmp/mine /var/tmp/mine; ls /tmp", |_| {}), "mine");
    // Another process, and then another manager.
    assert_eq!(stage.told(lines, "ls /tmp /var/tmp", |_| {}), "/tmp:\nmine\n\n/var/tmp:\nmine");
    let other = unit("other.service", "[Service]\nExecStart=/bin/sh -c '! test -e /tmp/mine'\nPrivateTmp=yes\n");
    assert_eq!(stage.run(&other, |_| {}).status, 0, "a unit does not see another's");
    let joins = unit("joins.service", "[Service]\nExecStart=/bin/test -e /tmp/mine\nPrivateTmp=yes\n");
    let told = ssi_unit::name::UnitName::new("told.service").unwrap();
    assert_eq!(stage.run(&joins, |request| request.namespaces_of = Some(&told)).status, 0);
    let count = |stage: &Stage| std::fs::read_dir(stage.path("tmp")).unwrap().count();
    assert_eq!(count(&stage), 2);
    for unit in [unit("told.service", "[Service]\nExecStart=/bin/true\nPrivateTmp=yes\n"), other] {
        assert_eq!(stage.launcher.remove_directories(&unit.id, &unit.config, false), [""; 0]);
    }
    assert_eq!(count(&stage), 0);
}

#[test]
fn one_private_network_for_all_processes_of_a_unit() {
    let mut stage = Stage::new();
    let network = "readlink /proc/self/ns/net";
    let lines = "PrivateNetwork=yes\nPrivateIPC=yes";
    let first = stage.told(lines, network, |_| {});
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_ne!(first, own);
    assert_eq!(stage.told(lines, network, |_| {}), first);
    assert_eq!(stage.launcher.kept().count(), 4);
    // A new manager that is given the descriptors goes on with it.
    let kept: Vec<_> =
        stage.launcher.kept().map(|(name, fd)| (name.to_owned(), fd.try_clone_to_owned().unwrap())).collect();
    let mut next = Stage::new();
    for (name, fd) in kept {
        next.launcher.adopt(&name, fd).unwrap();
    }
    assert_eq!(next.told(lines, network, |_| {}), first);
    let unit = unit("told.service", "[Service]\nExecStart=/bin/true\nPrivateNetwork=yes\n");
    next.launcher.remove_directories(&unit.id, &unit.config, false);
    assert_eq!(next.launcher.kept().count(), 0);
    assert_ne!(next.told(lines, network, |_| {}), first);
}

#[test]
fn a_dynamic_user_owns_its_state_and_goes() {
    let mut stage = Stage::new();
    let lines = "DynamicUser=yes\nStateDirectory=app";
    let look = "id -u; id -un 2>/dev/null; echo $USER; touch $STATE_DIRECTORY/file; stat -c %u $STATE_DIRECTORY/file; \
                touch /usr/x 2>/dev/null || echo closed";
    // The output file is below /tmp, which such a unit has for itself: it is opened before that.
    let told = stage.told(lines, look, |_| {});
    let told: Vec<&str> = told.lines().collect();
    let id: u32 = told[0].parse().unwrap();
    assert!((61_184..=65_519).contains(&id), "{told:?}");
    assert_eq!(told[told.len() - 3..], ["told", told[0], "closed"]);
    assert!(stage.path("var/lib/app").is_symlink() && stage.path("var/lib/private/app/file").exists());
    assert!(stage.path(&format!("run/userdb/{id}.user")).exists());
    let unit = unit("told.service", &format!("[Service]\nExecStart=/bin/true\n{lines}\n"));
    assert_eq!(stage.launcher.remove_directories(&unit.id, &unit.config, false), [""; 0]);
    assert!(!stage.path(&format!("run/userdb/{id}.user")).exists());
    assert!(stage.path("var/lib/private/app/file").exists(), "state stays");
    assert_eq!(std::fs::read_dir(stage.path("tmp")).unwrap().count(), 0);
}

#[test]
fn credentials_are_there_and_go() {
    let mut stage = Stage::new();
    let file = stage.path("etc/secret");
    std::fs::write(&file, "from the file").unwrap();
    let name = format!("ssi-launch-test-{}.service", std::process::id());
    let text = format!(
        "[Service]\nUser=nobody\nExecStart=/bin/sh -c 'test \"$(cat ${{CREDENTIALS_DIRECTORY}}/a)\" = \"from the file\" \
         && test \"$(cat ${{CREDENTIALS_DIRECTORY}}/b)\" = set'\nLoadCredential=a:{}\nSetCredential=a:weaker\n\
         SetCredential=b:set\n",
        file.display()
    );
    let unit = unit(&name, &text);
    let ended = stage.run(&unit, |_| {});
    assert_eq!(ended.status, 0, "{ended:?}");
    let place = std::path::Path::new("/run/credentials").join(&name);
    assert!(place.is_dir());
    assert_eq!(stage.launcher.remove_directories(&unit.id, &unit.config, false), [""; 0]);
    assert!(!place.exists());
}
