// SPDX-License-Identifier: GPL-2.0-or-later
//! A copy is like the original in all that can be told, on a disk's file system, as `stat`, `getfattr` and `du` would.

mod support;

use std::fs::{self, File, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, getxattr, mknodat, setxattr, utimensat};
use support::Tree;

/// What can be told of a file without reading it.
fn looks(path: &Path) -> (u32, u32, u32, i64, i64, u64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec(), found.len())
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = getxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

fn age(path: &Path) {
    let time = Timespec { tv_sec: 981_173_106, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn a_directory_with_everything_in_it() {
    let tree = Tree::on_disk(2);
    let at = |name: &str| tree.at(&format!("srv/all/{name}"));
    fs::create_dir_all(at("sub/deep")).unwrap();
    fs::write(at("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("program"), Permissions::from_mode(0o6755)).unwrap();
    std::os::unix::fs::chown(at("program"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(at("program"), Permissions::from_mode(0o6755)).unwrap();
    setxattr(at("program"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    // An ACL (acl(5)) by its bytes: version 2, user::rwx, user:1000:r, group::r-x, mask::r-x, other::r-x.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 7u16, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 5, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    setxattr(at("program"), "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
    fs::write(at("one"), "several names").unwrap();
    fs::hard_link(at("one"), at("sub/two")).unwrap();
    symlink("../one", at("sub/link")).unwrap();
    let mut sparse = File::create(at("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(64 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    sparse.set_len(128 << 20).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3)).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let names = ["program", "one", "sub/two", "sub/link", "sparse", "pipe", "null", "sub/deep", "sub", ""];
    names.iter().for_each(|name| age(&at(name)));
    let original: Vec<_> = names.iter().map(|name| looks(&at(name))).collect();
    let inode = fs::metadata(at("one")).unwrap().ino();

    let output = tree.run(&["create", "/srv/all"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 sockets were not copied"), "{said}");

    for copy in ["cluster/node1", "cluster/node2", "cluster/template"] {
        let at = |name: &str| tree.at(&format!("{copy}/srv/all/{name}"));
        for (name, before) in names.iter().zip(&original) {
            let mut now = looks(&at(name));
            if fs::symlink_metadata(at(name)).unwrap().is_dir() {
                // A directory's own length is its file system's affair.
                now.5 = before.5;
            }
            assert_eq!(now, *before, "{copy}: {name}");
        }
        assert_eq!(attribute(&at("program"), "user.note").as_deref(), Some(b"kept".as_slice()), "{copy}");
        assert_eq!(attribute(&at("program"), "system.posix_acl_access").as_deref(), Some(acl.as_slice()), "{copy}");
        assert_eq!(fs::metadata(at("one")).unwrap().ino(), fs::metadata(at("sub/two")).unwrap().ino(), "{copy}");
        assert_eq!(fs::read_link(at("sub/link")).unwrap(), Path::new("../one"), "{copy}");
        let blocks = fs::metadata(at("sparse")).unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "{copy}: the holes were filled, {blocks} blocks");
        assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo(), "{copy}");
        assert_eq!(fs::metadata(at("null")).unwrap().rdev(), rustix::fs::makedev(1, 3), "{copy}");
        assert_eq!(at("socket").exists(), copy == "cluster/node1", "{copy}: a socket belongs to its process");
    }
    assert_eq!(fs::metadata(tree.at("cluster/node1/srv/all/one")).unwrap().ino(), inode, "the original was copied");
    // And back again.
    tree.done(&["remove", "--purge", "/srv/all"]);
    for (name, before) in names.iter().zip(&original).filter(|(name, _)| !name.is_empty()) {
        assert_eq!(looks(&at(name)), *before, "{name}");
    }
}

#[test]
fn who_has_the_file_open_goes_on_with_it() {
    let tree = Tree::on_disk(2);
    tree.write("/var/log/app/log", "before\n");
    let mut log = File::options().append(true).open(tree.at("/var/log/app/log")).unwrap();
    tree.done(&["create", "/var/log/app"]);
    log.write_all(b"after\n").unwrap();
    assert_eq!(tree.read(1, "/cluster/node1/var/log/app/log").as_deref(), Some("before\nafter\n"));
    assert_eq!(fs::read_to_string(tree.at("cluster/node2/var/log/app/log")).unwrap(), "before\n");
}

#[test]
fn what_cannot_be_one_is_refused_by_name_and_left_alone() {
    let tree = Tree::on_disk(2);
    tree.write("/etc/{nodenum}.conf", "x");
    assert!(tree.fails(&["create", "/etc/{nodenum}.conf"], 4).contains("{nodenum}"));
    assert!(tree.fails(&["create", "/"], 4).contains("root"));
    assert!(tree.fails(&["create", "/etc/ssi/cluster.toml"], 4).contains("cluster.toml"));
    assert!(tree.fails(&["create", "/etc"], 4).contains("cluster.toml"));
    assert!(tree.fails(&["create", "/etc/none"], 1).contains("/etc/none"));
    assert!(tree.fails(&["create", "etc/x"], 2).contains("etc/x"));
    assert!(tree.fails(&["create", "--only", "9", "/etc/{nodenum}.conf"], 4).contains('9'));
    let _listener = std::os::unix::net::UnixListener::bind(tree.at("etc/socket")).unwrap();
    assert!(tree.fails(&["create", "/etc/socket"], 4).contains("socket"));
    tree.write("/etc/d/x", "x");
    tree.done(&["create", "/etc/d"]);
    // Inside of a CDSL is nothing while no node's directory is mounted, and that node's own part while one is.
    assert!(tree.fails(&["create", "/etc/d/x"], 1).contains("/etc/d/x"));
    assert!(tree.fails(&["create", "/cluster/node1/etc/d/x"], 4).contains("own part"));
    // Copies that are there are somebody's.
    tree.write("/etc/y", "shared");
    tree.write("/cluster/node2/etc/y", "hand-made");
    assert!(tree.fails(&["create", "/etc/y"], 4).contains("--force"));
    assert_eq!(fs::read_to_string(tree.at("etc/y")).unwrap(), "shared");
    tree.done(&["create", "--force", "/etc/y"]);
    assert_eq!(tree.read(2, "/etc/y").as_deref(), Some("hand-made"));
    assert_eq!(tree.read(1, "/etc/y").as_deref(), Some("shared"));
}

#[test]
fn one_by_role_and_one_of_a_single_node() {
    let tree = Tree::on_disk(3);
    tree.write("/etc/role", "r");
    tree.write("/etc/only", "o");
    tree.done(&["create", "--var", "role", "/etc/role"]);
    assert_eq!(fs::read_link(tree.at("etc/role")).unwrap(), Path::new("/cluster/role/{role}/etc/role"));
    assert_eq!(fs::read_to_string(tree.at("cluster/role/web/etc/role")).unwrap(), "r");
    assert_eq!(fs::read_to_string(tree.at("cluster/role/db/etc/role")).unwrap(), "r");
    let said = tree.done(&["create", "--only", "2", "/etc/only"]);
    assert!(said.contains("missing"), "{said}");
    assert_eq!((tree.read(1, "/etc/only"), tree.read(2, "/etc/only").as_deref()), (None, Some("o")));
    let resolved = tree.run(&["resolve", "--all", "/etc/only"]);
    assert_eq!(resolved.status.code(), Some(1), "a path that is missing on a node");
}

/// Everything below a directory: its path, kind and time of change.
fn everything(at: &Path, found: &mut Vec<(std::path::PathBuf, u32, i64, i64)>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let looked = fs::symlink_metadata(&path).unwrap();
        if looked.is_dir() {
            everything(&path, found);
        }
        found.push((path, looked.mode(), looked.ctime(), looked.ctime_nsec()));
    }
}

#[test]
fn a_dry_run_tells_every_step_and_touches_nothing() {
    let tree = Tree::on_disk(2);
    tree.write("/etc/new", "x");
    tree.write("/etc/default", "x");
    let seen = |tree: &Tree| {
        let mut found = Vec::new();
        everything(tree.root(), &mut found);
        found.sort();
        found
    };
    // On a tree where there is not even a /cluster.
    let before = seen(&tree);
    let told = tree.done(&["create", "--dry-run", "/etc/new"]);
    assert!(told.contains("cluster/node2/etc/new") && told.contains("in one step"), "{told}");
    assert_eq!(seen(&tree), before);

    tree.done(&["create", "--default", "/etc/default"]);
    let before = seen(&tree);
    for words in [
        &["own", "--dry-run", "/etc/default"][..],
        &["remove", "--dry-run", "/etc/default"],
        &["revert", "--all", "--dry-run"],
        &["node", "add", "--dry-run", "2"],
        &["node", "remove", "--dry-run", "2"],
    ] {
        tree.done(words);
        assert_eq!(seen(&tree), before, "{words:?}");
    }
}
