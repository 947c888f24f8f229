// SPDX-License-Identifier: GPL-2.0-or-later
//! The mounts by which a node reads its own files: made, made again, changed for another node's and taken away; another
//! node's view for one program alone; and a machine that does not know its number. For root: in mounts of the tests' own.

#[path = "support/own_mounts.rs"]
mod own_mounts;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Output};

use own_mounts::{MountTree, mounts_below, with_own_mounts};
use rustix::mount::{MountFlags, mount, mount_bind};
use support::{CDSL, Tree};

/// A tree in which nodes 1 to 3 have different contents at `/etc/x`.
fn tree() -> MountTree {
    let tree = MountTree::new(3);
    tree.write("/etc/x", "shared\n");
    tree.done(&["create", "/etc/x"]);
    for n in 1..=3 {
        tree.write(&format!("/cluster/node{n}/etc/x"), &format!("of node {n}\n"));
    }
    tree
}

/// Runs the command for a node of the tree.
fn on(tree: &Tree, node: u32, words: &[&str]) -> Output {
    let root = tree.root().to_str().unwrap();
    Command::new(CDSL).args(["--root", root, "--node", &node.to_string()]).args(words).output().unwrap()
}

/// The same; it has to end well. What it said.
fn done(tree: &Tree, node: u32, words: &[&str]) -> String {
    let output = on(tree, node, words);
    assert!(output.status.success(), "{words:?} on {node}: {}", error(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mounts(tree: &Tree) -> Vec<String> {
    mounts_below(tree.root())
}

fn seen(tree: &Tree, below: &str) -> Option<String> {
    fs::read_to_string(tree.at("cluster/node{nodenum}").join(below)).ok()
}

#[test]
fn mounting_twice_changes_nothing_and_another_node_s_is_replaced() {
    with_own_mounts(|| {
        let tree = tree();
        assert_eq!(seen(&tree, "etc/x"), None);
        let said = done(&tree, 2, &["mount"]);
        assert!(said.contains("/cluster/node2 is mounted on ") && said.ends_with("/cluster/node{nodenum}\n"), "{said}");
        assert_eq!(seen(&tree, "etc/x").as_deref(), Some("of node 2\n"));
        let before = mounts(&tree);
        assert_eq!(before.len(), 1);
        assert_eq!(done(&tree, 2, &["mount"]), "");
        assert_eq!(mounts(&tree), before);

        let said = done(&tree, 3, &["mount"]);
        assert!(said.contains("in place of another node's"), "{said}");
        assert_eq!(seen(&tree, "etc/x").as_deref(), Some("of node 3\n"));
        assert_eq!(mounts(&tree).len(), 1);

        assert!(done(&tree, 3, &["umount"]).contains("nothing is mounted on"));
        assert_eq!((mounts(&tree).len(), seen(&tree, "etc/x")), (0, None));
        assert_eq!(done(&tree, 3, &["umount"]), "");
    });
}

#[test]
fn mounts_that_lie_on_each_other_all_go() {
    with_own_mounts(|| {
        let tree = tree();
        for n in [1, 2, 3, 1] {
            mount_bind(tree.at(&format!("cluster/node{n}")), tree.at("cluster/node{nodenum}")).unwrap();
        }
        assert_eq!(mounts(&tree).len(), 4);
        done(&tree, 2, &["mount"]);
        assert_eq!((mounts(&tree).len(), seen(&tree, "etc/x").as_deref()), (1, Some("of node 2\n")));
        mount_bind(tree.at("cluster/node3"), tree.at("cluster/node{nodenum}")).unwrap();
        done(&tree, 2, &["umount"]);
        assert_eq!(mounts(&tree).len(), 0);
    });
}

/// A node that has never booted, on a tree on which nothing was made yet.
#[test]
fn missing_directories_are_made_for_everybody_to_go_through() {
    with_own_mounts(|| {
        let tree = MountTree::new(2);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh", CDSL, "--root", tree.root().to_str().unwrap()]);
        assert!(command.args(["--node", "2", "mount"]).status().unwrap().success());
        tree.write("/cluster/node2/new", "its own");
        assert_eq!(seen(&tree, "new").as_deref(), Some("its own"));
        done(&tree, 2, &["umount"]);
        for made in ["cluster", "cluster/node2", "cluster/node{nodenum}"] {
            assert_eq!(fs::metadata(tree.at(made)).unwrap().permissions().mode() & 0o7777, 0o755, "{made}");
        }
        // No CDSL goes by the role: no directory for it was made.
        assert!(!tree.at("cluster/role").exists());
    });
}

#[test]
fn other_variables_are_mounted_where_they_are_used() {
    with_own_mounts(|| {
        let tree = tree();
        tree.write("/etc/site", "shared\n");
        tree.done(&["create", "--var", "role", "/etc/site"]);
        tree.write("/cluster/role/db/etc/site", "of db\n");
        let said = done(&tree, 3, &["mount"]);
        assert_eq!(said.lines().count(), 2, "{said}");
        let site = || fs::read_to_string(tree.at("cluster/role/{role}/etc/site")).unwrap();
        assert_eq!(site(), "of db\n");
        // Node 1 has another role.
        done(&tree, 1, &["mount"]);
        assert_eq!(site(), "shared\n");
        let json: serde_json::Value = serde_json::from_str(&done(&tree, 1, &["context", "--json"])).unwrap();
        assert_eq!(json["variables"]["role"], "web");
        let mounted = |json: &serde_json::Value| -> Vec<(String, bool)> {
            let all = json["directories"].as_array().unwrap().iter();
            all.map(|one| (one["variable"].as_str().unwrap().to_owned(), one["mounted"].as_bool().unwrap())).collect()
        };
        assert_eq!(mounted(&json), [("nodenum".to_owned(), true), ("role".to_owned(), true)]);
        // Node 2 would have others there.
        let json = serde_json::from_str(&done(&tree, 2, &["context", "--json"])).unwrap();
        assert_eq!(mounted(&json), [("nodenum".to_owned(), false), ("role".to_owned(), false)]);
    });
}

/// A node may have a disk of its own for a part of its files.
#[test]
fn what_a_node_has_mounted_among_its_own_files_is_seen() {
    with_own_mounts(|| {
        let tree = tree();
        let disk = tree.at("disk");
        fs::create_dir_all(&disk).unwrap();
        fs::write(disk.join("on"), "the disk").unwrap();
        fs::create_dir_all(tree.at("cluster/node1/var")).unwrap();
        mount_bind(&disk, tree.at("cluster/node1/var")).unwrap();
        done(&tree, 1, &["mount"]);
        assert_eq!(seen(&tree, "var/on").as_deref(), Some("the disk"));
        done(&tree, 2, &["mount"]);
        assert_eq!(seen(&tree, "var/on"), None);
        assert_eq!(fs::read_to_string(tree.at("cluster/node1/var/on")).unwrap(), "the disk", "the node's own went too");
    });
}

/// Whoever can write below another root must not have mounts of this machine's root made or taken away.
#[test]
fn a_link_in_place_of_a_directory_is_refused() {
    with_own_mounts(|| {
        let tree = tree();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("target")).unwrap();
        fs::remove_dir(tree.at("cluster/node{nodenum}")).unwrap();
        symlink(outside.path().join("target"), tree.at("cluster/node{nodenum}")).unwrap();
        let output = on(&tree, 1, &["mount"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(error(&output).contains("/cluster/node{nodenum}"), "{}", error(&output));
        let all = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!all.contains(outside.path().to_str().unwrap()));
    });
}

/// The tree has nothing in it but a static program, whose paths the kernel alone follows.
#[test]
fn a_static_program_reads_each_node_s_own_file() {
    with_own_mounts(|| {
        let tree = tree();
        fs::create_dir_all(tree.at("bin")).unwrap();
        fs::copy("/bin/busybox", tree.at("bin/busybox")).expect("a static busybox is needed");
        let before = mounts(&tree);
        for n in 1..=3 {
            let said = done(&tree, n, &["exec", "--", "/bin/busybox", "cat", "/etc/x"]);
            assert_eq!(said, format!("of node {n}\n"));
        }
        // One node's view while another's is mounted here.
        done(&tree, 1, &["mount"]);
        assert_eq!(done(&tree, 3, &["exec", "--", "/bin/busybox", "cat", "/etc/x"]), "of node 3\n");
        assert_eq!(seen(&tree, "etc/x").as_deref(), Some("of node 1\n"), "exec changed the mounts of others");
        done(&tree, 1, &["umount"]);
        assert_eq!(mounts(&tree), before);

        let ended = |words: &[&str]| on(&tree, 1, words).status.code();
        assert_eq!(ended(&["exec", "--", "/bin/busybox", "sh", "-c", "exit 7"]), Some(7));
        assert_eq!(ended(&["exec", "--", "/bin/missing"]), Some(127));
        assert_eq!(ended(&["exec", "--", "/etc"]), Some(126));
        assert_eq!(ended(&["exec"]), Some(2));
        let output =
            Command::new(CDSL).arg("--root").arg(tree.root()).args(["--node", "9", "exec", "--", "/x"]).output();
        assert!(error(&output.unwrap()).contains("there is no node 9"));
    });
}

/// A tree that programs of this machine run in: `cdsl` too, and there it works on its own root.
struct Machine {
    tree: MountTree,
}

impl Machine {
    /// Only within [`with_own_mounts`]. The programs in it are copies: nothing of this machine's files is mounted there.
    fn new() -> Self {
        let tree = tree();
        fs::set_permissions(tree.root(), fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["bin", "proc"] {
            fs::create_dir_all(tree.at(directory)).unwrap();
        }
        mount("proc", tree.at("proc"), "proc", MountFlags::empty(), None).unwrap();
        fs::copy("/bin/busybox", tree.at("bin/busybox")).expect("a static busybox is needed");
        for name in ["sh", "cat", "pwd", "true"] {
            symlink("busybox", tree.at("bin").join(name)).unwrap();
        }
        fs::copy(CDSL, tree.at("cdsl")).unwrap();
        let libraries = Command::new("ldd").arg(CDSL).output().unwrap();
        for word in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
        {
            let to = tree.at(word);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(word, to).unwrap();
        }
        Self { tree }
    }

    fn shell(&self, line: &str) -> Output {
        Command::new("chroot").arg(self.tree.root()).args(["/bin/sh", "-c", line]).output().unwrap()
    }
}

#[test]
fn a_machine_without_a_number_is_told_what_to_add_and_nothing_is_mounted() {
    with_own_mounts(|| {
        let machine = Machine::new();
        let before = mounts(&machine.tree);
        let output = machine.shell("/cdsl mount");
        assert_eq!(output.status.code(), Some(1));
        let said = error(&output);
        assert!(said.contains("which node this machine is cannot be told"), "{said}");
        assert!(said.contains("ssi.node=") && said.contains("add to its [[node]]"), "{said}");
        assert_eq!(mounts(&machine.tree), before);
        for command in ["context", "umount", "exec -- true", "resolve /etc/x"] {
            let output = machine.shell(&format!("/cdsl {command}"));
            assert_eq!(output.status.code(), Some(1), "{command}");
            assert!(error(&output).contains("cannot be told"), "{command}: {}", error(&output));
        }

        // The same machine, once it is described.
        let id = "0123456789abcdef0123456789abcdef";
        machine.tree.write("/etc/machine-id", &format!("{id}\n"));
        let config = fs::read_to_string(machine.tree.at("etc/ssi/cluster.toml")).unwrap();
        let described = config.replace("name = \"n2\"", &format!("name = \"n2\"\nmachine_id = \"{id}\""));
        assert_ne!(config, described);
        machine.tree.write("/etc/ssi/cluster.toml", &described);
        let output = machine.shell("/cdsl mount --quiet && cat /etc/x");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "of node 2\n", "{}", error(&output));
    });
}

#[test]
fn without_a_configuration_it_says_how_to_make_one() {
    let tree = tree();
    fs::remove_file(tree.at("etc/ssi/cluster.toml")).unwrap();
    let root = tree.root().to_str().unwrap();
    let output = Command::new(CDSL).args(["--root", root, "mount"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("/etc/ssi/cluster.toml is not there"), "{}", error(&output));
}

#[test]
fn a_program_starts_in_that_node_s_directory_of_the_same_name() {
    with_own_mounts(|| {
        let machine = Machine::new();
        let tree = &machine.tree;
        tree.write("/var/d/file", "shared\n");
        tree.done(&["create", "/var/d"]);
        tree.write("/cluster/node3/var/d/file", "of node 3\n");
        let output =
            machine.shell("/cdsl --node 1 -q mount && cd /var/d && cat file && /cdsl --node 3 exec -- cat file");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "shared\nof node 3\n", "{}", error(&output));
        // A directory that node 3 has not.
        tree.write("/cluster/node1/var/d/deep/file", "");
        let output = machine.shell("cd /var/d/deep && /cdsl --node 3 exec -- pwd");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/\n");
        assert!(error(&output).contains("is not there on that node"), "{}", error(&output));
    });
}

#[test]
fn who_is_not_root_is_refused() {
    with_own_mounts(|| {
        let machine = Machine::new();
        let mut nobody = Command::new("chroot");
        nobody.arg("--userspec=65534:65534").arg(machine.tree.root()).args(["/cdsl", "--node", "1"]);
        let output = nobody.args(["exec", "--", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", error(&output));
        assert!(error(&output).contains("only root"), "{}", error(&output));
    });
}
