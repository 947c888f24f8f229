// SPDX-License-Identifier: GPL-2.0-or-later
//! The lists: as they are shipped, with mistakes, against each other; and what `cdsl apply` makes of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use cdsl_tools::lists::{List, Lists};
use cdsl_tools::os_release::OsRelease;
use cdsl_tools::path::TreePath;

mod support;
use support::Tree;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../distro/cdsl.d");

fn system(id: &str, version: &str) -> OsRelease {
    OsRelease::parse(&format!("ID={id}\nVERSION_ID=\"{version}\"\n"))
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// The lists as they are shipped, on a system.
fn shipped(system: &OsRelease) -> Lists {
    let mut files: Vec<_> = fs::read_dir(SHIPPED).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4);
    let lists = files.iter().filter_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        List::parse(&file.to_string_lossy(), &text, system).unwrap_or_else(|error| panic!("{error}"))
    });
    Lists::merge(lists.collect(), Vec::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_shipped_lists_fit_together_on_every_system() {
    for (id, version) in [("debian", "12"), ("debian", "13"), ("fedora", "43"), ("arch", "")] {
        let lists = shipped(&system(id, version));
        // What the cluster cannot do without, wherever it runs.
        for needed in ["/etc/hostname", "/etc/machine-id", "/var/log", "/var/lib/systemd/random-seed", "/etc/fstab"] {
            assert!(lists.wants(&path(needed)).is_some(), "{id} {version}: {needed}");
        }
        for shared in ["/etc/ssh/ssh_host_ed25519_key", "/etc/passwd", "/etc/ssi/cluster.toml", "/usr/bin/cdsl"] {
            assert!(lists.shares(&path(shared)).is_some(), "{id} {version}: {shared}");
        }
        // Below a directory that is one for all there may be what is not; the closer one holds.
        assert!(lists.shares(&path("/etc/systemd/network")).is_none());
        assert!(lists.shares(&path("/etc/systemd/system")).is_some());
        for wanted in lists.wanted() {
            let reason = wanted.reason.trim();
            assert!(reason.len() > 20 && reason.ends_with('.'), "{}: {reason:?}", wanted.said);
        }
    }
    let names = |id: &str, version: &str| -> BTreeSet<String> {
        shipped(&system(id, version)).wanted().map(|wanted| wanted.path.to_string()).collect()
    };
    assert!(names("debian", "12").contains("/tmp") && !names("debian", "13").contains("/tmp"));
    assert!(
        names("fedora", "43").contains("/var/lib/dhclient") && !names("debian", "12").contains("/var/lib/dhclient")
    );
}

fn mistake(text: &str) -> String {
    List::parse("a.toml", text, &system("debian", "12")).expect_err("this list has a mistake").to_string()
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let head = "[[cdsl]]\npath = \"/etc/x\"\nkind = \"file\"\nreason = \"r\"\n";
    for (text, line, word) in [
        (format!("{head}colour = 1\n"), 5, "colour"),
        (head.replace("/etc/x", "etc/x"), 2, "etc/x"),
        (head.replace("/etc/x", "/etc//x"), 2, "/etc/x"),
        (head.replace("/etc/x", "/cluster/x"), 2, "/cluster/x"),
        (head.replace("\"file\"", "\"flie\""), 3, "flie"),
        (head.replace("\"r\"", "\" \""), 4, "reason"),
        (head.replace("reason = \"r\"\n", ""), 1, "reason"),
        (format!("{head}mode = \"only\"\n"), 5, "only"),
        (format!("{head}var = \"Role\"\n"), 5, "Role"),
        (format!("{head}content = \"text\"\n"), 5, "text"),
        (format!("{head}text = \"x\"\n"), 5, "content"),
        (format!("{head}content = \"skeleton\"\n"), 5, "skeleton"),
        (format!("{head}mode = \"default\"\ncontent = \"empty\"\n"), 6, "default"),
        ("[when]\nid = \"debian\"\nrelease = 12\n".to_owned(), 3, "release"),
        ("[[shared]]\npath = \"/etc/x\"\n".to_owned(), 1, "reason"),
        // Also in a list that is for another system.
        (format!("[when]\nid = \"fedora\"\n{head}colour = 1\n"), 7, "colour"),
        ("[[cdsl]\n".to_owned(), 1, ""),
    ] {
        let told = mistake(&text);
        assert!(told.starts_with(&format!("a.toml:{line}: ")) && told.contains(word), "{text}\n{told}");
    }
}

fn list(file: &str, text: &str) -> List {
    List::parse(file, text, &system("debian", "12")).unwrap().unwrap()
}

fn cdsl(path: &str, kind: &str) -> String {
    format!("[[cdsl]]\npath = \"{path}\"\nkind = \"{kind}\"\nreason = \"r\"\n")
}

fn shared(path: &str) -> String {
    format!("[[shared]]\npath = \"{path}\"\nreason = \"r\"\n")
}

#[test]
fn lists_of_one_place_may_not_contradict_each_other() {
    let a = || list("a.toml", &cdsl("/etc/x", "file"));
    for other in [cdsl("/etc/x", "directory"), shared("/etc/x"), cdsl("/etc/x/y", "file"), cdsl("/etc", "directory")] {
        let error = Lists::merge(vec![a(), list("b.toml", &other)], Vec::new()).expect_err(&other).to_string();
        assert!(error.contains("a.toml") && error.contains("b.toml"), "{error}");
        // What the site says goes before.
        Lists::merge(vec![a()], vec![list("b.toml", &other)]).unwrap();
    }
    Lists::merge(vec![a(), list("b.toml", &cdsl("/etc/x", "file"))], Vec::new()).unwrap();
}

#[test]
fn the_sites_word_goes_before_that_of_packages() {
    let packages = || vec![list("a.toml", &(cdsl("/etc/x", "file") + &cdsl("/etc/y", "file") + &shared("/etc/z")))];
    let site = list("s.toml", &(shared("/etc/x") + &cdsl("/etc/z", "file")));
    let lists = Lists::merge(packages(), vec![site]).unwrap();
    let wanted: Vec<_> = lists.wanted().map(|wanted| wanted.path.to_string()).collect();
    assert_eq!(wanted, ["/etc/y", "/etc/z"]);
    assert!(lists.shares(&path("/etc/x/below")).is_some() && lists.shares(&path("/etc/z")).is_none());
}

fn debian(tree: &Tree) {
    tree.write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    for entry in fs::read_dir(SHIPPED).unwrap() {
        let entry = entry.unwrap().path();
        tree.write(
            &format!("usr/lib/ssi/cdsl.d/{}", entry.file_name().unwrap().to_string_lossy()),
            &fs::read_to_string(&entry).unwrap(),
        );
    }
    tree.write("etc/hostname", "n1\n");
    tree.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    tree.write("etc/fstab", "/dev/vda / ext4 defaults 0 1\n");
    tree.write("var/log/syslog", "said\n");
    tree.write("var/log/apache2/access.log", "seen\n");
    tree.write("var/spool/exim4/input/1", "mail\n");
    fs::set_permissions(tree.at("var/log/apache2"), fs::Permissions::from_mode(0o750)).unwrap();
    for directory in ["tmp", "var/tmp"] {
        fs::create_dir_all(tree.at(directory)).unwrap();
        fs::set_permissions(tree.at(directory), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    symlink("../run/resolv.conf", tree.at("etc/resolv.conf")).unwrap();
}

#[test]
fn a_debian_is_made_node_specific_by_its_lists() {
    let tree = Tree::new(2);
    debian(&tree);
    assert!(tree.fails(&["check"], 1).is_empty());
    let before = tree.done(&["apply", "--dry-run"]);
    assert!(before.contains("\"n2\\n\"") && !tree.at("cluster/node1").exists(), "{before}");
    tree.done(&["apply"]);
    tree.done(&["check"]);
    assert_eq!(tree.read(1, "/etc/hostname").as_deref(), Some("n1\n"));
    assert_eq!(tree.read(2, "/etc/hostname").as_deref(), Some("n2\n"));
    assert_eq!(tree.read(1, "/etc/machine-id").unwrap().len(), 33);
    // Two machines with one machine id is what it is all about.
    assert_eq!(tree.read(2, "/etc/machine-id").as_deref(), Some(""));
    assert_eq!(tree.read(1, "/var/log/syslog"), None, "the directory is the link, not the file");
    assert_eq!(fs::read_to_string(tree.at("cluster/node1/var/log/syslog")).unwrap(), "said\n");
    let others = tree.at("cluster/node2/var/log/apache2");
    assert_eq!(fs::metadata(&others).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_dir(&others).unwrap().count(), 0);
    assert_eq!(fs::metadata(tree.at("cluster/node2/tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert!(tree.at("cluster/node2/var/spool/exim4/input").is_dir());
    assert!(!tree.at("cluster/node2/var/spool/exim4/input/1").exists());
    assert_eq!(fs::read_link(tree.at("etc/resolv.conf")).unwrap(), Path::new("../run/resolv.conf"));
    assert!(tree.at("cluster/node2/etc/fstab").is_symlink(), "one for all until a node is given its own");
    assert!(!tree.at("cluster/.cdsl/staging").exists());
    // Again: nothing.
    assert_eq!(tree.done(&["apply", "--dry-run"]), "");
    assert!(tree.done(&["apply", "--show"]).contains("/etc/hostname"));

    // A node that is added is given the template's, and its name by the next apply.
    tree.configure(3);
    tree.done(&["node", "add", "3"]);
    tree.done(&["apply"]);
    assert_eq!(tree.read(3, "/etc/hostname").as_deref(), Some("n3\n"));
    assert_eq!(tree.read(3, "/etc/machine-id").as_deref(), Some(""));
    tree.done(&["check"]);
}

#[test]
fn in_an_image_nobodys_identity_becomes_the_template() {
    let tree = Tree::new(2);
    debian(&tree);
    let mut command = std::process::Command::new(support::CDSL);
    // Of another machine than any of the nodes.
    let output = command.arg("--root").arg(tree.root()).arg("apply").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for node in [1, 2] {
        assert_eq!(tree.read(node, "/etc/machine-id").as_deref(), Some(""), "node {node}");
        assert_eq!(tree.read(node, "/etc/hostname"), Some(format!("n{node}\n")));
    }
    let template = fs::read_to_string(tree.at("cluster/template/etc/machine-id")).unwrap();
    assert_eq!(template, "");
    tree.done(&["check"]);
}

#[test]
fn what_is_otherwise_than_a_list_says_is_told_and_left() {
    let tree = Tree::new(2);
    tree.write(
        "etc/ssi/cdsl.d/site.toml",
        &(cdsl("/etc/x", "file") + &cdsl("/etc/d", "directory") + &shared("/etc/s")),
    );
    for file in ["x", "d", "s"] {
        tree.write(&format!("etc/{file}"), file);
    }
    tree.done(&["create", "--only", "2", "/etc/x"]);
    tree.done(&["create", "/etc/s"]);
    let output = tree.run(&["check", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words: BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|value| format!("{} {}", value["finding"].as_str().unwrap(), value["path"].as_str().unwrap()))
        .collect();
    let expected = ["listed-otherwise /etc/d", "listed-otherwise /etc/x", "listed-shared /etc/s"];
    assert_eq!(words, expected.map(str::to_owned).into());
    tree.fails(&["apply"], 1);
    assert_eq!(fs::read_to_string(tree.at("etc/d")).unwrap(), "d");
}

#[test]
fn what_a_list_needs_and_is_not_there_is_made() {
    let tree = Tree::new(2);
    let text = "[[cdsl]]\npath = \"/etc/name\"\nkind = \"file\"\ncontent = \"text\"\ntext = \"I am {nodenum}\\n\"\nreason = \"r\"\n";
    tree.write("etc/ssi/cdsl.d/site.toml", &(text.to_owned() + &cdsl("/srv/deep/d", "directory")));
    tree.done(&["apply"]);
    assert_eq!(tree.read(1, "/etc/name").as_deref(), Some("I am 1\n"));
    assert_eq!(tree.read(2, "/etc/name").as_deref(), Some("I am 2\n"));
    assert!(tree.at("cluster/node2/srv/deep/d").is_dir());
    tree.done(&["check"]);
}

#[test]
fn a_list_with_a_mistake_stops_before_anything_is_done() {
    let tree = Tree::new(2);
    tree.write("etc/ssi/cdsl.d/site.toml", &(cdsl("/etc/x", "file") + "nonsense = 1\n"));
    tree.write("etc/x", "x");
    let told = tree.fails(&["apply"], 1);
    assert!(told.contains("site.toml:5: ") && told.contains("nonsense"), "{told}");
    assert!(!tree.at("etc/x").is_symlink());
}
