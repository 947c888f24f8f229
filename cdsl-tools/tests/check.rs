// SPDX-License-Identifier: GPL-2.0-or-later
//! What is amiss in a tree is found, by name and with its cure; what can be mended is, and nothing is lost by it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

mod support;
use support::Tree;

/// Three nodes, a file and a directory that each has its own of, and a file that is shared by default.
fn tree() -> Tree {
    let tree = Tree::new(3);
    tree.write("etc/x", "one\n");
    tree.write("etc/shared", "all\n");
    tree.write("var/d/file", "in it\n");
    tree.done(&["create", "/etc/x", "/var/d"]);
    tree.done(&["create", "--default", "/etc/shared"]);
    tree
}

/// The findings of a check, as `word path whose`.
fn found(tree: &Tree) -> Vec<String> {
    let output = tree.run(&["check", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<String> = text
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(!value["cure"].as_str().unwrap().is_empty() && !value["what"].as_str().unwrap().is_empty());
            let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("finding"), word("path"), word("whose")).trim().to_owned()
        })
        .collect();
    found.sort();
    let status = if found.is_empty() { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(status), "{text}{}", String::from_utf8_lossy(&output.stderr));
    found
}

/// Mends all, and finds nothing afterwards.
fn mended(tree: &Tree) {
    tree.done(&["check", "--repair"]);
    assert_eq!(found(tree), [""; 0]);
}

/// All files of the attic with their content.
fn attic(tree: &Tree) -> Vec<String> {
    fn look(at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => look(&entry.path(), found),
                kind if kind.is_file() => found.push(fs::read_to_string(entry.path()).unwrap()),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    look(&tree.at("cluster/.cdsl/attic"), &mut found);
    found.sort();
    found
}

/// Time has to have passed for one change to be newer than another.
fn later() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

#[test]
fn a_tree_as_it_was_made_has_nothing_amiss() {
    assert_eq!(found(&tree()), [""; 0]);
}

#[test]
fn a_link_that_is_gone_is_made_again() {
    let tree = tree();
    fs::remove_file(tree.at("etc/x")).unwrap();
    assert_eq!(found(&tree), ["link-missing /etc/x"]);
    mended(&tree);
    assert_eq!(tree.read(2, "/etc/x").as_deref(), Some("one\n"));
}

#[test]
fn a_plain_file_in_place_of_the_link_becomes_this_nodes_copy() {
    let tree = tree();
    later();
    fs::write(tree.at("etc/x.new"), "newer\n").unwrap();
    fs::rename(tree.at("etc/x.new"), tree.at("etc/x")).unwrap();
    assert_eq!(found(&tree), ["link-replaced /etc/x"]);
    mended(&tree);
    assert_eq!(tree.read(1, "/etc/x").as_deref(), Some("newer\n"));
    assert_eq!(tree.read(2, "/etc/x").as_deref(), Some("one\n"));
    assert_eq!(attic(&tree), ["one\n"]);
}

#[test]
fn a_copy_that_is_newer_than_the_plain_file_stays() {
    let tree = tree();
    fs::remove_file(tree.at("etc/x")).unwrap();
    fs::write(tree.at("etc/x"), "older\n").unwrap();
    later();
    fs::write(tree.at("cluster/node1/etc/x"), "newer\n").unwrap();
    mended(&tree);
    assert_eq!(tree.read(1, "/etc/x").as_deref(), Some("newer\n"));
    assert_eq!(attic(&tree), ["older\n"]);
}

#[test]
fn a_plain_file_in_place_of_a_shared_one_becomes_the_template() {
    let tree = tree();
    later();
    fs::remove_file(tree.at("etc/shared")).unwrap();
    fs::write(tree.at("etc/shared"), "newer\n").unwrap();
    mended(&tree);
    assert_eq!(tree.read(1, "/etc/shared").as_deref(), Some("newer\n"));
    assert_eq!(tree.read(3, "/etc/shared").as_deref(), Some("newer\n"));
    assert_eq!(attic(&tree), ["all\n"]);
}

#[test]
fn a_directory_in_place_of_the_link_is_merged_into_this_nodes() {
    let tree = tree();
    tree.write("cluster/node1/var/d/both", "older\n");
    later();
    fs::remove_file(tree.at("var/d")).unwrap();
    tree.write("var/d/both", "newer\n");
    tree.write("var/d/sub/new", "new\n");
    assert_eq!(found(&tree), ["link-replaced /var/d"]);
    mended(&tree);
    let read = |name: &str| fs::read_to_string(tree.at("cluster/node1/var/d").join(name)).unwrap();
    assert_eq!((read("both"), read("sub/new"), read("file")), ("newer\n".into(), "new\n".into(), "in it\n".into()));
    assert_eq!(attic(&tree), ["older\n"]);
}

#[test]
fn a_link_that_leads_elsewhere_is_told_and_left() {
    let tree = tree();
    fs::remove_file(tree.at("etc/x")).unwrap();
    symlink("/run/x", tree.at("etc/x")).unwrap();
    assert_eq!(found(&tree), ["link-elsewhere /etc/x"]);
    assert_eq!(tree.run(&["check", "--repair"]).status.code(), Some(1));
    assert_eq!(fs::read_link(tree.at("etc/x")).unwrap(), PathBuf::from("/run/x"));
}

#[test]
fn a_link_made_by_hand_is_taken_into_the_inventory() {
    let tree = tree();
    for holder in ["node1", "node2", "node3", "template"] {
        tree.write(&format!("cluster/{holder}/etc/hand"), holder);
    }
    symlink("/cluster/node{nodenum}/etc/hand", tree.at("etc/hand")).unwrap();
    // A link of one's own that leads to another path's copy is nobody's matter.
    symlink("/cluster/node{nodenum}/etc/hand", tree.at("etc/other")).unwrap();
    let expected = ["node1", "node2", "node3", "template"].map(|holder| format!("orphan /cluster/{holder}/etc/hand"));
    let mut expected: Vec<String> = expected.into_iter().chain(["link-unknown /etc/hand".to_owned()]).collect();
    expected.sort();
    assert_eq!(found(&tree), expected);
    tree.run(&["check", "--repair"]);
    assert_eq!(found(&tree), [""; 0]);
    assert!(tree.done(&["list"]).contains("/etc/hand"));
}

#[test]
fn copies_that_are_gone_come_back_from_the_template() {
    let tree = tree();
    fs::remove_file(tree.at("cluster/node2/etc/x")).unwrap();
    fs::remove_file(tree.at("cluster/node3/etc/shared")).unwrap();
    fs::remove_dir_all(tree.at("cluster/template/var/d")).unwrap();
    assert_eq!(
        found(&tree),
        ["copy-missing /etc/shared node 3", "copy-missing /etc/x node 2", "copy-missing /var/d the template"]
    );
    mended(&tree);
    assert_eq!(tree.read(2, "/etc/x").as_deref(), Some("one\n"));
    assert_eq!(fs::read_to_string(tree.at("cluster/template/var/d/file")).unwrap(), "in it\n");
    assert!(tree.at("cluster/node3/etc/shared").is_symlink());
}

#[test]
fn a_new_node_is_told_once_and_given_all() {
    let tree = tree();
    tree.configure(4);
    assert_eq!(found(&tree), ["copies-missing /cluster/node4 node 4"]);
    mended(&tree);
    assert_eq!(tree.read(4, "/etc/x").as_deref(), Some("one\n"));
    assert_eq!(tree.read(4, "/etc/shared").as_deref(), Some("all\n"));
}

#[test]
fn a_node_that_is_not_configured_and_what_belongs_to_nothing_are_told() {
    let tree = tree();
    tree.configure(2);
    tree.write("cluster/node1/etc/nobodys", "");
    tree.write("cluster/template/opt/deep/er", "");
    assert_eq!(
        found(&tree),
        ["holder-unknown /cluster/node3 node 3", "orphan /cluster/node1/etc/nobodys", "orphan /cluster/template/opt"]
    );
}

#[test]
fn an_owner_or_mode_that_drifted_is_the_records_again() {
    let tree = tree();
    fs::set_permissions(tree.at("cluster/node2/etc/x"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(found(&tree), ["copy-mode /etc/x node 2"]);
    mended(&tree);
    assert_eq!(fs::metadata(tree.at("cluster/node2/etc/x")).unwrap().mode() & 0o7777, 0o644);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(tree.at("cluster/node3/etc/x"), Some(7), Some(8)).unwrap();
        assert_eq!(found(&tree), ["copy-owner /etc/x node 3"]);
        mended(&tree);
        assert_eq!(
            fs::metadata(tree.at("cluster/node3/etc/x")).unwrap().uid(),
            fs::metadata(tree.root()).unwrap().uid()
        );
    }
}

#[test]
fn a_mode_that_all_copies_have_is_taken_into_the_record() {
    let tree = tree();
    for holder in ["node1", "node2", "node3", "template"] {
        let copy = tree.at(&format!("cluster/{holder}/etc/x"));
        fs::set_permissions(copy, fs::Permissions::from_mode(0o640)).unwrap();
    }
    assert_eq!(found(&tree).len(), 4);
    mended(&tree);
    assert_eq!(fs::metadata(tree.at("cluster/node1/etc/x")).unwrap().mode() & 0o7777, 0o640);
    assert!(fs::read_to_string(tree.at("cluster/.cdsl/inventory.toml")).unwrap().contains("\"0640\""));
}

#[test]
fn an_acl_that_one_copy_lacks_is_given_to_it() {
    let tree = Tree::on_disk(3);
    tree.write("etc/x", "one\n");
    // The user with number 4242 may read (acl(5); the layout is linux/posix_acl_xattr.h).
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 4242), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)]
    {
        acl.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    const ACL: &str = "system.posix_acl_access";
    if let Err(error) = rustix::fs::setxattr(tree.at("etc/x"), ACL, &acl, rustix::fs::XattrFlags::empty()) {
        println!("not tried: no ACLs on this file system: {error}");
        return;
    }
    tree.done(&["create", "/etc/x"]);
    assert_eq!(found(&tree), [""; 0]);
    rustix::fs::removexattr(tree.at("cluster/node2/etc/x"), ACL).unwrap();
    rustix::fs::setxattr(tree.at("cluster/node3/etc/x"), "user.own", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(found(&tree), ["copy-attributes /etc/x node 2", "copy-attributes /etc/x node 3"]);
    assert_eq!(tree.run(&["check", "--repair"]).status.code(), Some(1));
    // What is data is left: nobody can tell which copy is right.
    assert_eq!(found(&tree), ["copy-attributes /etc/x node 3"]);
    let mut value = [0; 100];
    let length = rustix::fs::getxattr(tree.at("cluster/node2/etc/x"), ACL, &mut value).unwrap();
    assert_eq!(&value[..length], acl);
}

#[test]
fn an_inventory_that_is_lost_or_broken_is_made_anew_from_the_tree() {
    let tree = tree();
    tree.write("etc/only", "mine\n");
    tree.done(&["create", "--only", "2", "/etc/only"]);
    tree.write("etc/role", "web\n");
    tree.done(&["create", "--var", "role", "/etc/role"]);
    let inventory = tree.at("cluster/.cdsl/inventory.toml");
    let whole = fs::read_to_string(&inventory).unwrap();
    fs::remove_file(&inventory).unwrap();
    assert!(found(&tree).contains(&"link-unknown /etc/only".to_owned()));
    tree.done(&["check", "--rebuild"]);
    assert_eq!(found(&tree), [""; 0]);
    // Who asked for it and when to the second is all that the tree does not tell.
    let known = |text: &str| -> Vec<String> {
        let told = |line: &&str| !line.starts_with("origin") && !line.starts_with("made");
        text.lines().filter(told).map(str::to_owned).collect()
    };
    assert_eq!(known(&fs::read_to_string(&inventory).unwrap()), known(&whole));

    fs::write(&inventory, whole.replacen("mode = \"only\"", "mode = nonsense", 1)).unwrap();
    let err = tree.fails(&["check"], 1);
    assert!(err.contains("inventory.toml:") && err.contains("--rebuild"), "{err}");
    tree.done(&["check", "--rebuild"]);
    assert_eq!(found(&tree), [""; 0]);
    assert!(attic(&tree).iter().any(|text| text.contains("mode = nonsense")), "the old one is kept");
}

#[test]
fn removed_ones_whose_copies_are_kept_are_no_orphans() {
    let tree = tree();
    tree.done(&["remove", "/var/d"]);
    assert_eq!(found(&tree), [""; 0]);
    // What becomes a CDSL in the place of one that was removed is told apart from what was kept.
    tree.write("var/d/file", "again\n");
    tree.done(&["create", "--force", "/var/d/file"]);
    assert_eq!(found(&tree), [""; 0]);
}

#[test]
fn nothing_is_changed_by_looking() {
    let tree = tree();
    fs::remove_file(tree.at("etc/x")).unwrap();
    let before = fs::metadata(tree.at("cluster/.cdsl")).unwrap();
    found(&tree);
    let after = fs::metadata(tree.at("cluster/.cdsl")).unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
}

#[test]
fn the_names_of_others_do_the_same() {
    let tree = Tree::new(2);
    let link = |name: &str| {
        let link = tree.at(name);
        symlink(support::CDSL, &link).unwrap();
        move |words: &[&str], root: &Path| {
            let mut command = std::process::Command::new(&link);
            command.args(["--root", root.to_str().unwrap(), "--node", "1"]).args(words).output().unwrap()
        }
    };
    let (mkcdsl, chk) = (link("mkcdsl"), link("cdslinvchk"));
    let (local, global) = (link("mklocalfile"), link("mkglobalfile"));
    for file in ["a", "c", "l"] {
        tree.write(&format!("etc/{file}"), file);
    }
    let root = tree.root();
    assert_eq!(mkcdsl(&["-a", "/etc/a"], root).status.code(), Some(0));
    assert_eq!(mkcdsl(&["-qc", "/cluster/node{nodenum}/etc/c", "/etc/c"], root).status.code(), Some(0));
    assert_eq!(mkcdsl(&["-a", "../members/{memb}/etc/l", "/etc/l"], root).status.code(), Some(4));
    assert_eq!(mkcdsl(&["/etc/l"], root).status.code(), Some(4));
    assert_eq!(mkcdsl(&["-n", "-a", "/etc/l"], root).status.code(), Some(0));
    assert!(!tree.at("etc/l").is_symlink());
    assert_eq!((tree.read(2, "/etc/a").as_deref(), tree.read(2, "/etc/c")), (Some("a"), None));
    assert_eq!(local(&["/etc/l"], root).status.code(), Some(0));
    assert!(tree.at("etc/l").is_symlink());
    assert_eq!(global(&["/etc/l"], root).status.code(), Some(0));
    assert_eq!(fs::read_to_string(tree.at("etc/l")).unwrap(), "l");

    let log = tree.at("list");
    let words = [log.to_str().unwrap()];
    let output = chk(&words, root);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(fs::read_to_string(&log).unwrap().starts_with("Successful CDSL inventory check"));
    fs::remove_file(tree.at("etc/a")).unwrap();
    assert_eq!(chk(&words, root).status.code(), Some(1));
    assert!(fs::read_to_string(&log).unwrap().contains("/etc/a"));
    assert!(tree.at("list.old").exists());
    // Out of the inventory, the way -i does it.
    assert_eq!(mkcdsl(&["-i", "/etc/a"], root).status.code(), Some(0));
    assert!(!tree.done(&["list"]).contains("/etc/a"));
    symlink("/cluster/node{nodenum}/etc/a", tree.at("etc/a")).unwrap();
    assert_eq!(mkcdsl(&["-i", "/etc/a"], root).status.code(), Some(0));
    assert!(tree.done(&["list"]).contains("/etc/a"));
}
