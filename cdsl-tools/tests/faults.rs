// SPDX-License-Identifier: GPL-2.0-or-later
//! A command is cut at every system call that changes something, in turn: once the call fails (the disk is full, or
//! answers with an error), once the process is killed there. What is at the path is then the old file or the working
//! link; the next command finishes or undoes what was begun; and no content is lost.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use support::{CDSL, Tree};

/// The calls that change something, or have it written.
const CALLS: [&str; 18] = [
    "openat",
    "openat2",
    "renameat",
    "renameat2",
    "mkdirat",
    "linkat",
    "symlinkat",
    "unlinkat",
    "write",
    "fsync",
    "syncfs",
    "fchown",
    "fchmod",
    "ftruncate",
    "copy_file_range",
    "utimensat",
    "mknodat",
    "fchownat",
];

fn strace_is_there() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a command with a fault at the `when`th of these calls. Whether the fault was reached.
fn cut(tree: &Tree, words: &[&str], call: &str, fault: &str, when: u32) -> bool {
    let trace =
        tree.at("../trace").with_file_name(format!("{}.trace", tree.root().file_name().unwrap().to_string_lossy()));
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}:when={when}")])
        .arg(CDSL)
        .arg("--root")
        .arg(tree.root())
        .args(["--node", "1"])
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let _ = status;
    text.contains("INJECTED") || text.contains("killed by SIGKILL")
}

/// Where a command can be cut once it has the tree for itself: each call with how many of its name came before. What
/// comes earlier (the loader, reading the configuration) changes nothing.
fn places(words: &[&str], prepare: impl Fn(&Tree)) -> Vec<(&'static str, u32)> {
    let tree = Tree::new(3);
    prepare(&tree);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace=fcntl,{}", CALLS.join(","))])
        .arg(CDSL)
        .arg("--root")
        .arg(tree.root())
        .args(["--node", "1"])
        .args(words)
        .output()
        .unwrap();
    let mut seen = std::collections::BTreeMap::new();
    let mut locked = false;
    let mut places = Vec::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        locked |= line.contains("F_OFD_SETLK");
        let Some(call) = CALLS.into_iter().find(|call| {
            line.split('(')
                .next()
                .is_some_and(|word| word.ends_with(call) && word.split_whitespace().next_back() == Some(call))
        }) else {
            continue;
        };
        let count = seen.entry(call).or_insert(0);
        *count += 1;
        if locked {
            places.push((call, *count));
        }
    }
    assert!(
        places.len() > 20,
        "only {} places to cut were found: {}",
        places.len(),
        String::from_utf8_lossy(&output.stderr)
    );
    places
}

/// Cuts `words` everywhere. `prepare` makes the tree, `check` looks at it after the cut and after the next command.
fn everywhere(words: &[&str], prepare: impl Fn(&Tree), check: impl Fn(&Tree, bool, &str)) {
    if !strace_is_there() {
        eprintln!("strace is not installed: faults cannot be injected here");
        assert!(std::env::var_os("CI").is_none(), "strace is needed in CI");
        return;
    }
    let places = places(words, &prepare);
    let mut cuts = 0;
    for fault in ["error=ENOSPC", "error=EIO", "signal=SIGKILL"] {
        for (call, when) in &places {
            let tree = Tree::new(3);
            prepare(&tree);
            if !cut(&tree, words, call, fault, *when) {
                continue;
            }
            cuts += 1;
            let what = format!("{words:?} with {fault} at {call} {when}");
            check(&tree, false, &what);
            // Any command that changes something looks after what was cut before.
            tree.write("/etc/another", "another");
            tree.done(&["create", "/etc/another"]);
            check(&tree, true, &what);
            assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new(), "{what}");
        }
    }
    assert!(cuts > places.len(), "only {cuts} of {} places were cut", 3 * places.len());
}

fn listed(tree: &Tree, path: &str) -> bool {
    tree.done(&["list"]).lines().any(|line| line.starts_with(&format!("{path} ")) && !line.contains("removed"))
}

/// All or nothing: a CDSL that all nodes can read, or the plain file and no copy.
fn all_or_nothing(tree: &Tree, path: &str, below: &str, text: &str, what: &str) {
    let read = |node| tree.read(node, &format!("{path}{below}"));
    if fs::symlink_metadata(tree.at(path)).unwrap().is_symlink() {
        assert!(listed(tree, path), "{what}: a link that the inventory does not have");
    } else {
        assert!(!listed(tree, path), "{what}: the inventory has what is no link");
        for place in ["cluster/node1", "cluster/node2", "cluster/node3", "cluster/template"] {
            assert!(
                fs::symlink_metadata(tree.at(&format!("{place}{path}"))).is_err(),
                "{what}: {place}{path} was left"
            );
        }
    }
    for node in 1..=3 {
        assert_eq!(read(node).as_deref(), Some(text), "{what}: node {node} cannot read it");
    }
}

#[test]
fn creating_a_file_is_cut_everywhere() {
    everywhere(
        &["create", "/etc/file"],
        |tree| tree.write("/etc/file", "text"),
        |tree, after, what| {
            assert_eq!(tree.read(1, "/etc/file").as_deref(), Some("text"), "{what}");
            if after {
                all_or_nothing(tree, "/etc/file", "", "text", what);
            }
        },
    );
}

#[test]
fn creating_a_directory_is_cut_everywhere() {
    everywhere(
        &["create", "/var/log/app"],
        |tree| tree.write("/var/log/app/log", "text"),
        |tree, after, what| {
            let here =
                if tree.at("/var/log/app").is_symlink() { "cluster/node1/var/log/app/log" } else { "/var/log/app/log" };
            assert_eq!(fs::read_to_string(tree.at(here)).ok().as_deref(), Some("text"), "{what}");
            if after && !tree.at("/var/log/app").is_symlink() {
                assert!(!listed(tree, "/var/log/app"), "{what}");
                assert!(fs::symlink_metadata(tree.at("cluster/node2/var/log/app")).is_err(), "{what}");
            } else if after {
                assert!(listed(tree, "/var/log/app"), "{what}");
                for place in ["node1", "node2", "node3", "template"] {
                    let copy = tree.at(&format!("cluster/{place}/var/log/app/log"));
                    assert_eq!(fs::read_to_string(copy).ok().as_deref(), Some("text"), "{what}: {place}");
                }
            }
        },
    );
}

#[test]
fn removing_one_is_cut_everywhere() {
    everywhere(
        &["remove", "/etc/file"],
        |tree| {
            tree.write("/etc/file", "text");
            tree.done(&["create", "/etc/file"]);
            tree.write("cluster/node2/etc/file", "second");
        },
        |tree, after, what| {
            assert_eq!(tree.read(1, "/etc/file").as_deref(), Some("text"), "{what}");
            // The other node's words are nowhere lost, whichever way it went.
            assert_eq!(fs::read_to_string(tree.at("cluster/node2/etc/file")).ok().as_deref(), Some("second"), "{what}");
            if after {
                assert_eq!(tree.at("/etc/file").is_symlink(), listed(tree, "/etc/file"), "{what}");
            }
        },
    );
}

#[test]
fn an_own_copy_is_cut_everywhere() {
    everywhere(
        &["own", "/etc/file"],
        |tree| {
            tree.write("/etc/file", "text");
            tree.done(&["create", "--default", "/etc/file"]);
        },
        |tree, after, what| {
            if after {
                for node in 1..=3 {
                    assert_eq!(tree.read(node, "/etc/file").as_deref(), Some("text"), "{what}: node {node}");
                }
                assert!(tree.at("cluster/node2/etc/file").is_symlink(), "{what}");
            }
            assert_eq!(
                fs::read_to_string(tree.at("cluster/template/etc/file")).ok().as_deref(),
                Some("text"),
                "{what}"
            );
        },
    );
}

#[test]
fn creating_from_a_relative_link_is_cut_everywhere() {
    everywhere(
        &["create", "/etc/link"],
        |tree| {
            tree.write("/srv/file", "text");
            std::os::unix::fs::symlink("../srv/file", tree.at("/etc/link")).unwrap();
        },
        |tree, after, what| {
            // It leads to the file: by its old text, by the whole path, or through the CDSL.
            let link = fs::read_link(tree.at("/etc/link")).unwrap();
            let link = link.to_str().unwrap();
            if link == "/cluster/node{nodenum}/etc/link" {
                for node in 1..=3 {
                    assert_eq!(tree.read(node, "/etc/link").as_deref(), Some("text"), "{what}: node {node}");
                }
                assert!(!after || listed(tree, "/etc/link"), "{what}: a link that the inventory does not have");
            } else {
                assert!(["../srv/file", "/srv/file"].contains(&link), "{what}: {link}");
                assert!(!after || !listed(tree, "/etc/link"), "{what}: the inventory has what is no CDSL");
            }
        },
    );
}
