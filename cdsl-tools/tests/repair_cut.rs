// SPDX-License-Identifier: GPL-2.0-or-later
//! A repair is cut at every system call that changes something: once the call fails, once the process is killed there.
//! The path is never without content, no content is lost, and the next repair finishes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

mod support;
use support::{CDSL, Tree};

const CALLS: [&str; 10] = [
    "renameat",
    "renameat2",
    "linkat",
    "symlinkat",
    "unlinkat",
    "mkdirat",
    "write",
    "fsync",
    "syncfs",
    "copy_file_range",
];

/// What is in the tree before the repair, all of which has to be there after it.
const CONTENTS: [&str; 8] = ["old\n", "new\n", "all\n", "newer\n", "in it\n", "dir old\n", "dir new\n", "dir more\n"];

/// A file, one that is shared by default and a directory, each with something else put in place of its link; a copy is
/// gone, too.
fn damaged() -> Tree {
    let tree = Tree::new(2);
    tree.write("etc/x", "old\n");
    tree.write("etc/shared", "all\n");
    tree.write("var/d/file", "in it\n");
    tree.write("var/d/both", "dir old\n");
    tree.done(&["create", "/etc/x", "/var/d"]);
    tree.done(&["create", "--default", "/etc/shared"]);
    std::thread::sleep(Duration::from_millis(5));
    for path in ["etc/x", "etc/shared", "var/d"] {
        fs::remove_file(tree.at(path)).unwrap();
    }
    tree.write("etc/x", "new\n");
    tree.write("etc/shared", "newer\n");
    tree.write("var/d/both", "dir new\n");
    tree.write("var/d/more", "dir more\n");
    fs::remove_file(tree.at("cluster/node2/etc/x")).unwrap();
    tree
}

fn contents(at: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => contents(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.extend(fs::read_to_string(entry.path())),
            _ => {}
        }
    }
}

fn nothing_is_lost(tree: &Tree, what: &str) {
    let mut found = BTreeSet::new();
    contents(tree.root(), &mut found);
    for content in CONTENTS {
        assert!(found.contains(content), "{what}: {content:?} is lost");
    }
}

/// Cuts a repair at the `when`th of these calls. Whether there was one.
fn cut(tree: &Tree, call: &str, fault: &str, when: u32) -> bool {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}:when={when}"), CDSL])
        .arg("--root")
        .arg(tree.root())
        .args(["--node", "1", "check", "--repair"])
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    text.contains("INJECTED") || text.contains("killed by SIGKILL")
}

#[test]
fn a_repair_that_is_cut_anywhere_loses_nothing_and_is_finished_by_the_next() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("not tried: strace is not installed, and nothing else injects faults here");
        return;
    }
    let mut cuts = 0;
    for fault in ["signal=SIGKILL", "error=ENOSPC"] {
        for call in CALLS {
            for when in 1.. {
                let tree = damaged();
                if !cut(&tree, call, fault, when) {
                    break;
                }
                cuts += 1;
                let what = format!("{fault} at {call} {when}");
                nothing_is_lost(&tree, &what);
                for path in ["/etc/x", "/etc/shared"] {
                    let read = tree.read(1, path);
                    assert!(read.is_some(), "{what}: nothing is at {path}");
                }
                let output = tree.run(&["check", "--repair"]);
                assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
                nothing_is_lost(&tree, &what);
                tree.done(&["check"]);
                assert_eq!(tree.litter(), [""; 0].map(std::path::PathBuf::from), "{what}");
                assert_eq!(tree.read(1, "/etc/x").as_deref(), Some("new\n"), "{what}");
                assert_eq!(tree.read(2, "/etc/x").as_deref(), Some("old\n"), "{what}");
                assert_eq!(tree.read(2, "/etc/shared").as_deref(), Some("newer\n"), "{what}");
                let both = fs::read_to_string(tree.at("cluster/node1/var/d/both")).unwrap();
                assert_eq!(both, "dir new\n", "{what}");
            }
        }
    }
    assert!(cuts > 40, "only {cuts} places to cut were found");
    println!("{cuts} cuts");
}
