// SPDX-License-Identifier: GPL-2.0-or-later
//! What is around a path and must not get at what becomes of it: links with relative texts, mounts, the ACL of a
//! directory, the umask and the limits of whoever runs the command, a file system that lacks something.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{CDSL, Tree};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Runs the command in a shell that does something first.
fn after(tree: &Tree, first: &str, words: &[&str]) -> Output {
    let script = format!("{first} && exec \"$CDSL\" --root \"$TREE\" --node 1 \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(words).env("CDSL", CDSL).env("TREE", tree.root());
    command.output().unwrap()
}

/// The same, with mounts of its own; `None` where this is not allowed.
fn with_mounts(tree: &Tree, first: &str, words: &[&str]) -> Option<Output> {
    let allowed = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("mounts of one's own are not allowed here");
        assert!(std::env::var_os("CI").is_none(), "they are needed in CI");
        return None;
    }
    let script = format!("{first} && exec \"$CDSL\" --root \"$TREE\" --node 1 \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", &script, "sh"]).args(words).env("CDSL", CDSL).env("TREE", tree.root());
    Some(command.output().unwrap())
}

fn good(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_relative_link_leads_to_the_same_file_afterwards() {
    let tree = Tree::on_disk(2);
    tree.write("/usr/share/zoneinfo/UTC", "utc");
    symlink("../usr/share/zoneinfo/UTC", tree.at("etc/localtime")).unwrap();
    tree.write("/usr/share/doc/README", "read me");
    tree.write("/var/log/app/log", "lines");
    symlink("../../usr/share/doc/README", tree.at("var/log/README")).unwrap();
    symlink("app/log", tree.at("var/log/inside")).unwrap();
    let before = fs::metadata(tree.at("var/log")).unwrap();
    for words in [["create", "/etc/localtime"], ["create", "/var/log"]] {
        let dry = tree.done(&[words[0], "--dry-run", words[1]]);
        assert!(dry.contains("the whole path for its text"), "{dry}");
        tree.done(&words);
    }
    for place in ["node1", "node2", "template"] {
        let link = |path: &str| fs::read_link(tree.at(&format!("cluster/{place}/{path}"))).unwrap();
        assert_eq!(link("etc/localtime"), Path::new("/usr/share/zoneinfo/UTC"), "{place}");
        assert_eq!(link("var/log/README"), Path::new("/usr/share/doc/README"), "{place}");
        assert_eq!(link("var/log/inside"), Path::new("app/log"), "{place}");
        let now = fs::metadata(tree.at(&format!("cluster/{place}/var/log"))).unwrap();
        assert_eq!((now.mtime(), now.mtime_nsec()), (before.mtime(), before.mtime_nsec()), "{place}");
    }
    assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new());
    tree.done(&["revert", "--all"]);
    assert_eq!(fs::read_link(tree.at("etc/localtime")).unwrap(), Path::new("/usr/share/zoneinfo/UTC"));
}

#[test]
fn programs_of_all_users_get_at_their_files_whatever_the_umask() {
    let tree = Tree::on_disk(2);
    tree.write("/srv/open/file", "x");
    tree.write("/srv/closed/file", "x");
    fs::set_permissions(tree.at("srv/closed"), Permissions::from_mode(0o710)).unwrap();
    good(&after(&tree, "umask 077", &["create", "/srv/open/file", "/srv/closed/file"]));
    for place in ["", "/node1", "/node2", "/template", "/node{nodenum}", "/.cdsl", "/node2/srv", "/node2/srv/open"] {
        assert_eq!(mode(&tree.at(&format!("cluster{place}"))), 0o755, "{place}");
    }
    assert_eq!(mode(&tree.at("cluster/node2/srv/closed")), 0o710, "as the original's directory");
    assert_eq!(mode(&tree.at("cluster/.cdsl/inventory.toml")), 0o644);
}

#[test]
fn what_a_directory_kept_from_others_is_kept_from_them_in_the_attic() {
    let tree = Tree::on_disk(3);
    tree.write("/etc/private/key", "secret");
    fs::set_permissions(tree.at("etc/private"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(tree.at("etc/private/key"), Permissions::from_mode(0o644)).unwrap();
    tree.done(&["create", "/etc/private/key"]);
    tree.done(&["node", "remove", "3"]);
    assert_eq!(mode(&tree.at("cluster/.cdsl/attic")), 0o700);
    assert_eq!(mode(&tree.at("cluster/node2/etc/private")), 0o700);
}

#[test]
fn a_directorys_default_acl_gives_nobody_the_copies() {
    let tree = Tree::on_disk(2);
    tree.write("/srv/app/secret", "x");
    fs::create_dir(tree.at("srv/app/inside")).unwrap();
    // acl(5) by its bytes: user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::r-x.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 7u16, u32::MAX), (2, 7, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.at("srv/app"), "system.posix_acl_default", &acl, flags).unwrap();
    tree.done(&["create", "/srv/app/secret", "/srv/app/inside"]);
    for copy in ["cluster/node1", "cluster/node2", "cluster/template"] {
        for (path, acls) in [("srv/app", 1), ("srv/app/secret", 0), ("srv/app/inside", 0)] {
            let at = tree.at(&format!("{copy}/{path}"));
            let found = ["system.posix_acl_access", "system.posix_acl_default"]
                .into_iter()
                .filter(|name| rustix::fs::getxattr(&at, *name, &mut [0u8; 256][..]).is_ok())
                .count();
            assert_eq!(found, acls, "{copy}/{path}");
        }
    }
}

#[test]
fn more_links_and_directories_than_files_may_be_open() {
    let tree = Tree::new(2);
    fs::create_dir_all(tree.at("srv/many/names")).unwrap();
    for number in 0..700 {
        tree.write(&format!("/srv/many/{number}"), "x");
        let (file, name) = (tree.at(&format!("srv/many/{number}")), tree.at(&format!("srv/many/names/{number}")));
        fs::hard_link(file, name).unwrap();
    }
    let deep = "d/".repeat(600);
    tree.write(&format!("/srv/many/{deep}bottom"), "deep");
    good(&after(&tree, "ulimit -S -n 256", &["create", "/srv/many"]));
    let inode = |path: &str| fs::metadata(tree.at(path)).unwrap().ino();
    for number in [0, 350, 699] {
        let copy = inode(&format!("cluster/node2/srv/many/{number}"));
        assert_eq!(copy, inode(&format!("cluster/node2/srv/many/names/{number}")));
        assert_ne!(copy, inode(&format!("cluster/template/srv/many/{number}")));
    }
    let bottom = tree.at(&format!("cluster/node2/srv/many/{deep}bottom"));
    assert_eq!(fs::read_to_string(bottom).unwrap(), "deep");
}

#[test]
fn what_is_mounted_there_is_refused_and_what_is_in_memory_too() {
    let tree = Tree::on_disk(2);
    fs::create_dir_all(tree.at("srv/jail/proc")).unwrap();
    let Some(refused) = with_mounts(&tree, "mount -t proc proc \"$TREE/srv/jail/proc\"", &["create", "/srv/jail"])
    else {
        return;
    };
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/srv/jail/proc"), "{refused:?}");
    tree.write("/etc/hosts", "x");
    let first = "mount --bind \"$TREE/etc/ssi/cluster.toml\" \"$TREE/etc/hosts\"";
    let refused = with_mounts(&tree, first, &["create", "/etc/hosts"]).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    fs::create_dir(tree.at("run")).unwrap();
    let first = "mount -t tmpfs tmpfs \"$TREE/run\" && echo x > \"$TREE/run/file\"";
    let refused = with_mounts(&tree, first, &["create", "--force", "/run/file"]).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("in memory"), "{refused:?}");
}

#[test]
fn cluster_is_another_mount_of_the_same_file_system() {
    let tree = Tree::on_disk(2);
    fs::create_dir_all(tree.at("shared")).unwrap();
    fs::create_dir_all(tree.at("cluster")).unwrap();
    tree.write("/etc/file", "text");
    tree.write("/srv/app/file", "text");
    let first = "mount --bind \"$TREE/shared\" \"$TREE/cluster\"";
    let Some(made) = with_mounts(&tree, first, &["create", "/etc/file", "/srv/app"]) else { return };
    good(&made);
    for path in ["node1/etc/file", "node2/etc/file", "node1/srv/app/file", "template/srv/app/file"] {
        assert_eq!(fs::read_to_string(tree.at(&format!("shared/{path}"))).unwrap(), "text", "{path}");
    }
    good(&with_mounts(&tree, first, &["remove", "--purge", "/etc/file", "/srv/app"]).unwrap());
    assert_eq!(fs::read_to_string(tree.at("etc/file")).unwrap(), "text");
    assert_eq!(fs::read_to_string(tree.at("srv/app/file")).unwrap(), "text");
    assert!(!tree.at("shared/node2/etc/file").exists());
    assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new());
}

/// Every rename with a flag fails, as on NFS.
fn without_flags(tree: &Tree, words: &[&str]) -> Option<Output> {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        eprintln!("strace is not installed: no file system can be made to lack something");
        assert!(std::env::var_os("CI").is_none(), "strace is needed in CI");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL"]);
    command.arg(CDSL).arg("--root").arg(tree.root()).args(["--node", "1"]).args(words);
    Some(command.output().unwrap())
}

#[test]
fn a_file_system_without_an_exchange() {
    let tree = Tree::on_disk(2);
    tree.write("/etc/file", "text");
    let inode = fs::metadata(tree.at("etc/file")).unwrap().ino();
    let Some(made) = without_flags(&tree, &["create", "/etc/file"]) else { return };
    good(&made);
    for node in [1, 2] {
        assert_eq!(tree.read(node, "/etc/file").as_deref(), Some("text"));
    }
    assert_eq!(fs::metadata(tree.at("cluster/node1/etc/file")).unwrap().ino(), inode, "the original itself");
    tree.write("/srv/app/file", "text");
    let refused = without_flags(&tree, &["create", "/srv/app"]).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("everything is as it was"), "{refused:?}");
    assert_eq!(fs::read_to_string(tree.at("srv/app/file")).unwrap(), "text");
    good(&without_flags(&tree, &["remove", "--purge", "/etc/file"]).unwrap());
    assert_eq!(fs::read_to_string(tree.at("etc/file")).unwrap(), "text");
    assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_full_disk_says_what_became_of_it() {
    let tree = Tree::on_disk(2);
    tree.write("/etc/file", "text");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:error=ENOSPC:when=1"])
        .arg(CDSL)
        .arg("--root")
        .arg(tree.root())
        .args(["--node", "1", "create", "/etc/file"])
        .output();
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "strace is needed in CI");
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("everything is as it was") && said.contains("/attic/"), "{said}");
    assert_eq!(fs::read_to_string(tree.at("etc/file")).unwrap(), "text");
}

#[test]
fn a_new_nodes_copies_are_whole_or_not_there() {
    let tree = Tree::new(2);
    for number in 0..30 {
        tree.write(&format!("/etc/app/{number}"), "text");
    }
    tree.done(&["create", "--recursive", "/etc/app"]);
    tree.configure(3);
    let mut cuts = 0;
    for when in (1..200).step_by(7) {
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fchmod,renameat2,syncfs", "-e"])
            .arg(format!("inject=fchmod,renameat2,syncfs:signal=SIGKILL:when={when}"))
            .arg(CDSL)
            .arg("--root")
            .arg(tree.root())
            .args(["node", "add", "3"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let Ok(status) = status else {
            assert!(std::env::var_os("CI").is_none(), "strace is needed in CI");
            return;
        };
        cuts += u32::from(!status.success());
        for number in 0..30 {
            let copy = tree.at(&format!("cluster/node3/etc/app/{number}"));
            assert!(
                fs::read_to_string(copy).is_ok_and(|text| text == "text")
                    || tree.read(3, &format!("/etc/app/{number}")).is_none()
            );
        }
    }
    assert!(cuts > 3, "only {cuts} cuts");
    tree.done(&["node", "add", "3"]);
    for number in 0..30 {
        assert_eq!(tree.read(3, &format!("/etc/app/{number}")).as_deref(), Some("text"), "{number}");
    }
    assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new());
    assert!(!tree.at("cluster/.cdsl/staging").exists());
}

#[test]
fn what_was_a_removed_nodes_alone_goes_to_the_attic() {
    let tree = Tree::new(3);
    for (var, path) in [("nodenum", "/etc/number"), ("nodename", "/etc/name"), ("role", "/etc/role")] {
        tree.write(path, "text");
        tree.done(&["create", "--var", var, path]);
    }
    tree.write("/cluster/nodename/n3/etc/name", "third");
    let output = tree.run(&["node", "remove", "3"]);
    good(&output);
    assert!(!tree.at("cluster/node3").exists());
    assert!(!tree.at("cluster/nodename/n3").exists());
    assert!(tree.at("cluster/nodename/n2/etc/name").exists());
    assert!(tree.at("cluster/role/db/etc/role").exists(), "node 2 has that role too");
    let attic = fs::read_dir(tree.at("cluster/.cdsl/attic")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(attic.join("cluster/nodename/n3/etc/name")).unwrap(), "third");
    assert!(attic.join("cluster/node3/etc/number").exists());
}
