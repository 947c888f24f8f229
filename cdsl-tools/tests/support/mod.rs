// SPDX-License-Identifier: GPL-2.0-or-later
//! A small tree of three nodes, and the command to work on it.

#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test.
pub(crate) const CDSL: &str = env!("CARGO_BIN_EXE_cdsl");

const CLUSTER_TOML: &str = r#"name = "test"
[membership]
engine = "corosync"
"#;

/// A root with a cluster.toml of `nodes` nodes; node 1 is the one that is meant.
pub(crate) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new(nodes: u32) -> Self {
        // In memory, where writing to the disk takes no time; a test that needs a disk's file system says so.
        let memory = Path::new("/dev/shm");
        Self::on(if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) }, nodes)
    }

    /// The same on a disk.
    pub(crate) fn on_disk(nodes: u32) -> Self {
        Self::on(Path::new(env!("CARGO_TARGET_TMPDIR")), nodes)
    }

    fn on(place: &Path, nodes: u32) -> Self {
        let directory = tempfile::Builder::new().prefix("cdsl-test-").tempdir_in(place).unwrap();
        let tree = Self { directory };
        tree.configure(nodes);
        tree
    }

    pub(crate) fn configure(&self, nodes: u32) {
        let mut text = CLUSTER_TOML.to_owned();
        for n in 1..=nodes {
            let role = if n == 1 { "web" } else { "db" };
            text.push_str(&format!(
                "[[node]]\nid = {n}\nname = \"n{n}\"\naddress = \"192.0.2.{n}\"\ncontext = {{ role = \"{role}\" }}\n"
            ));
        }
        fs::create_dir_all(self.at("etc/ssi")).unwrap();
        fs::write(self.at("etc/ssi/cluster.toml"), text).unwrap();
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn at(&self, below: &str) -> PathBuf {
        self.root().join(below.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The command with these words, for node 1.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(CDSL);
        command.arg("--root").arg(self.root()).args(["--node", "1"]).args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs it; it has to end well.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "cdsl {words:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// Runs it; it has to end with this status, and its error is given back.
    pub(crate) fn fails(&self, words: &[&str], status: i32) -> String {
        let output = self.run(words);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "cdsl {words:?}: {err}");
        err
    }

    /// What is read at a path by node `node`, following its links by hand: `None` when nothing is there.
    pub(crate) fn read(&self, node: u32, path: &str) -> Option<String> {
        let place = self.at(path);
        match fs::read_link(&place) {
            Ok(text) => {
                let text = text.to_str().unwrap().replace("node{nodenum}", &format!("node{node}"));
                assert_ne!(text, path, "a link to itself");
                self.read(node, &text)
            }
            Err(_) => fs::read_to_string(place).ok(),
        }
    }

    /// Names of unfinished work that lie about outside of the attic.
    pub(crate) fn litter(&self) -> Vec<PathBuf> {
        fn look(at: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(at).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name == "attic" {
                    continue;
                }
                if name.starts_with(".cdsl-") || name.ends_with(".new") || name == "journal" {
                    found.push(entry.path());
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    look(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        look(self.root(), &mut found);
        found
    }
}
