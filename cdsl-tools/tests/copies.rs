// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands that work on the content of copies (`diff`, `edit`, `foreach`) and those that show (`list`, `resolve`).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Output};

use serde_json::Value;

mod support;
use support::{CDSL, Tree};

/// Three nodes that each have their own `/etc/x`, and share `/etc/shared` but for node 2.
fn tree() -> Tree {
    let tree = Tree::new(3);
    tree.write("/etc/x", "one\n");
    tree.write("/etc/shared", "all\n");
    tree.done(&["create", "/etc/x"]);
    tree.done(&["create", "--default", "/etc/shared"]);
    assert!(on(&tree, 2, &["own", "/etc/shared"]).status().unwrap().success());
    tree
}

/// The command for another node than the first.
fn on(tree: &Tree, node: u32, words: &[&str]) -> Command {
    let mut command = Command::new(CDSL);
    command.arg("--root").arg(tree.root()).args(["--node", &node.to_string()]).args(words);
    command
}

/// Status, and what it said on standard output.
fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn diff_tells_by_its_status_and_shows_what_differs() {
    let tree = tree();
    assert_eq!(said(&tree.run(&["diff", "/etc/x"])), (Some(0), String::new()));
    tree.write("/cluster/node3/etc/x", "three\n");
    let (status, text) = said(&tree.run(&["diff", "/etc/x"]));
    assert_eq!(status, Some(1));
    assert!(text.contains("-one") && text.contains("+three") && text.contains("/cluster/node3/etc/x"), "{text}");
    assert!(!text.contains("node2"), "{text}");
    assert_eq!(said(&tree.run(&["diff", "--nodes", "1,2", "/etc/x"])), (Some(0), String::new()));
    assert_eq!(said(&tree.run(&["diff", "--nodes", "2,3", "/etc/x"])).0, Some(1));
    // One that is not there differs; two that are not there do not.
    fs::remove_file(tree.at("cluster/node2/etc/x")).unwrap();
    assert_eq!(said(&tree.run(&["diff", "--nodes", "1,2", "/etc/x"])).0, Some(1));
    fs::remove_file(tree.at("cluster/node1/etc/x")).unwrap();
    assert_eq!(said(&tree.run(&["diff", "--nodes", "1,2", "/etc/x"])), (Some(0), String::new()));
    assert!(tree.fails(&["diff", "--nodes", "1", "/etc/x"], 2).contains("Give two nodes"));
    assert!(tree.fails(&["diff", "--nodes", "1,9", "/etc/x"], 2).contains("no node 9"));
    assert!(tree.fails(&["diff", "/etc/shared.not"], 4).contains("no CDSL"));
}

/// The link of a node that shares is meant for the nodes; followed from here it would lead to this machine's own.
#[test]
fn diff_compares_what_is_shared_below_the_root_that_was_named() {
    let tree = tree();
    assert_eq!(said(&tree.run(&["diff", "/etc/shared"])), (Some(0), String::new()));
    tree.write("/cluster/template/etc/shared", "new\n");
    let (status, text) = said(&tree.run(&["diff", "/etc/shared"]));
    assert_eq!(status, Some(1));
    assert!(text.contains("-new") && text.contains("+all"), "{text}");
    assert!(text.contains("/cluster/template/etc/shared"), "{text}");
    assert_eq!(said(&tree.run(&["diff", "--nodes", "1,3", "/etc/shared"])), (Some(0), String::new()));
}

#[test]
fn diff_compares_links_by_their_text_and_directories_as_wholes() {
    let tree = tree();
    symlink("/nowhere", tree.at("etc/link")).unwrap();
    tree.write("/etc/d/in", "in\n");
    tree.done(&["create", "/etc/link", "/etc/d"]);
    assert_eq!(said(&tree.run(&["diff", "/etc/link"])), (Some(0), String::new()));
    fs::remove_file(tree.at("cluster/node2/etc/link")).unwrap();
    symlink("/elsewhere", tree.at("cluster/node2/etc/link")).unwrap();
    assert_eq!(said(&tree.run(&["diff", "/etc/link"])).0, Some(1));
    tree.write("/cluster/node3/etc/d/more", "more\n");
    let (status, text) = said(&tree.run(&["diff", "/etc/d"]));
    assert!(status == Some(1) && text.contains("+more"), "{text}");
}

#[test]
fn foreach_runs_once_for_each_copy_and_once_for_what_is_shared() {
    let tree = tree();
    let script = "printf '%s %s %s\\n' \"$CDSL_VALUE\" \"$CDSL_PATH\" \"$(cat \"$1\")\"";
    tree.write("/cluster/node2/etc/x", "two\n");
    let text = tree.done(&["foreach", "/etc/x", "--", "sh", "-c", script, "sh"]);
    assert_eq!(text, "1 /etc/x one\n2 /etc/x two\n3 /etc/x one\ntemplate /etc/x one\n");
    // The path in place of {}, and then not at the end.
    let text = tree.done(&["foreach", "/etc/shared", "--", "echo", "{}", "last"]);
    let root = tree.root().display();
    assert_eq!(
        text,
        format!("{root}/cluster/node2/etc/shared last\n{root}/cluster/template/etc/shared last\n"),
        "those that share are not copies"
    );
    // What one run ends with does not keep the others from theirs.
    let output = tree.run(&["foreach", "/etc/x", "--", "grep", "two"]);
    assert_eq!(said(&output), (Some(1), "two\n".to_owned()));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 3);
    assert!(tree.fails(&["foreach", "/etc/x", "--", "/no/such"], 1).contains("cannot run /no/such"));
}

#[test]
fn foreach_and_list_take_any_bytes_in_a_path() {
    let tree = tree();
    let name = OsStr::from_bytes(b"etc/a b\n\xff{x}'\"");
    fs::write(tree.root().join(name), "odd").unwrap();
    let path = [b"/".as_slice(), name.as_bytes()].concat();
    assert!(tree.command(&["create"]).arg(OsStr::from_bytes(&path)).status().unwrap().success());
    let output = tree.command(&["foreach"]).arg(OsStr::from_bytes(&path)).args(["--", "cat"]).output().unwrap();
    assert_eq!(said(&output), (Some(0), "odd".repeat(4)));
    let text = tree.done(&["list"]);
    assert!(text.contains("/etc/a b\\x0a\\xff{x}'\"  {nodenum}  each  command"), "{text}");
    assert_eq!(text.lines().count(), 3);
    let of_list: Vec<Value> = tree.done(&["list", "--json"]).lines().map(json).collect();
    assert_eq!(of_list.len(), 3);
    let odd = of_list.iter().find(|entry| entry["path_escaped"].is_string()).unwrap();
    assert_eq!(odd["path_escaped"], "/etc/a b%0A%FF{x}'\"");
    assert_eq!(of_list.iter().find(|entry| entry["path"] == "/etc/shared").unwrap()["mode"], "default");
}

#[test]
fn edit_changes_that_node_s_copy_and_no_shared_one() {
    let tree = tree();
    let editor = tree.at("editor");
    fs::write(&editor, "#!/bin/sh\n[ $# = 2 ] || exit 9\nprintf '%s\\n' \"$1\" >>\"$2\"\n").unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let edit = |node: u32, path: &str| {
        let mut command = on(&tree, node, &["edit", path]);
        command.env_remove("EDITOR").env("VISUAL", format!("{} added", editor.display())).output().unwrap()
    };
    let output = edit(2, "/etc/x");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(tree.read(2, "/etc/x").as_deref(), Some("one\nadded\n"));
    assert_eq!(tree.read(1, "/etc/x").as_deref(), Some("one\n"));

    let output = edit(1, "/etc/shared");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("cdsl own --node 1 /etc/shared"), "{error}");
    assert_eq!(tree.read(1, "/etc/shared").as_deref(), Some("all\n"));
    assert_eq!(edit(2, "/etc/shared").status.code(), Some(0));
    assert_eq!(tree.read(2, "/etc/shared").as_deref(), Some("all\nadded\n"));

    // Nodes with one value have one copy, and who edits it is told so.
    tree.write("/etc/role", "r\n");
    tree.done(&["create", "--var", "role", "/etc/role"]);
    let (status, text) = said(&edit(3, "/etc/role"));
    assert!(status == Some(0) && text.contains("nodes 2, 3"), "{text}");
    assert_eq!(fs::read_to_string(tree.at("cluster/role/db/etc/role")).unwrap(), "r\nadded\n");

    let mut failing = tree.command(&["edit", "/etc/x"]);
    assert_eq!(failing.env_remove("VISUAL").env("EDITOR", "false").status().unwrap().code(), Some(1));
}

#[test]
fn resolve_shows_every_hop_on_every_node() {
    let tree = tree();
    symlink("x", tree.at("etc/relative")).unwrap();
    fs::remove_file(tree.at("cluster/node3/etc/x")).unwrap();
    let output = tree.run(&["resolve", "--all", "--json", "/etc/relative"]);
    assert_eq!(output.status.code(), Some(1), "node 3 has nothing there");
    let told = json(&said(&output).1);
    let nodes = told["nodes"].as_array().unwrap();
    let ends: Vec<_> = nodes.iter().map(|node| (node["end"].as_str().unwrap(), node["exists"].as_bool())).collect();
    let expected = [1, 2, 3].map(|n| (format!("/cluster/node{n}/etc/x"), Some(n != 3)));
    assert_eq!(ends, expected.each_ref().map(|(end, there)| (end.as_str(), *there)));
    let hops = nodes[1]["hops"].as_array().unwrap();
    assert_eq!(hops[0]["link"], "/etc/relative");
    assert_eq!(hops[1]["text"], "/cluster/node{nodenum}/etc/x");
    assert_eq!((&hops[2]["variable"], &hops[2]["value"]), (&json("\"nodenum\""), &json("\"2\"")));
    assert_eq!(nodes[1]["variables"], json("[\"nodenum\"]"));
    assert_eq!(nodes[2]["kind"], Value::Null);

    let text = tree.done(&["resolve", "/etc/relative"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "/etc/relative -> x");
    assert_eq!(lines[1], "/etc/x -> /cluster/node{nodenum}/etc/x");
    assert_eq!(lines[2], "/cluster/node{nodenum} is /cluster/node1  ({nodenum} = \"1\")");
    assert_eq!(lines[3], format!("{}/cluster/node1/etc/x  (file)", tree.root().display()));
    assert_eq!(lines.len(), 4);
}
