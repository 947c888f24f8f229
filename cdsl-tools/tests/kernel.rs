// SPDX-License-Identifier: GPL-2.0-or-later
//! Where a path leads, by `walk` and by the kernel: random forests of links, CDSLs among them, relative ones, loops and
//! detours, looked at from several nodes. The kernel is asked with `openat2(2)` and `RESOLVE_IN_ROOT`, in a mount
//! namespace in which that node's directories are mounted.

#[path = "support/own_mounts.rs"]
mod own_mounts;
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cdsl_tools::mounts;
use cdsl_tools::path::TreePath;
use cdsl_tools::site::Site;
use cdsl_tools::tree::Root;
use cdsl_tools::walk::{Hop, Way, walk};
use own_mounts::{MountTree, with_own_mounts};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use support::Tree;

/// Seeds of forests that once led elsewhere; they are tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel.regressions");

/// Where a path or a link's text begins: anywhere, and more often than by chance at a CDSL's target.
const STARTS: [&str; 10] = [
    "",
    "",
    "/",
    "/",
    "/cluster/node{nodenum}/",
    "/cluster/role/{role}/",
    "/cluster/node1/",
    "/cluster/node2/",
    "/cluster/role/web/",
    "/cluster/role/db/",
];

/// Names of few letters, so that links meet.
const PARTS: [&str; 8] = ["a", "b", "c", "..", ".", "cluster", "node{nodenum}", "{role}"];

fn text() -> impl Strategy<Value = String> {
    (0..STARTS.len(), proptest::collection::vec(0..PARTS.len(), 1..4), any::<bool>()).prop_map(
        |(start, parts, slash)| {
            let parts: Vec<_> = parts.into_iter().map(|part| PARTS[part]).collect();
            format!("{}{}{}", STARTS[start], parts.join("/"), if slash { "/" } else { "" })
        },
    )
}

/// Something at a place: a directory, a file or a link.
#[derive(Clone, Debug)]
enum Thing {
    Directory,
    File,
    Link(String),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![2 => Just(Thing::Directory), 1 => Just(Thing::File), 5 => text().prop_map(Thing::Link)]
}

fn forest() -> impl Strategy<Value = Vec<(String, Thing)>> {
    proptest::collection::vec((text(), thing()), 4..24)
}

fn plant(tree: &Tree, things: &[(String, Thing)]) {
    for directory in [
        "cluster/node1",
        "cluster/node2",
        "cluster/node{nodenum}",
        "cluster/role/web",
        "cluster/role/db",
        "cluster/role/{role}",
        "a",
        "b",
    ] {
        fs::create_dir_all(tree.at(directory)).unwrap();
    }
    for (place, thing) in things {
        // Only where no link is on the way: who plants stays in the garden.
        let parts: Vec<_> = place.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        let at = tree.at(&parts.join("/"));
        let mut up = tree.root().to_owned();
        let clear = parts.iter().take(parts.len().saturating_sub(1)).all(|part| {
            up.push(part);
            fs::symlink_metadata(&up).map_or(true, |found| found.is_dir())
        });
        if !clear || parts.is_empty() || fs::symlink_metadata(&at).is_ok() {
            continue;
        }
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match thing {
            Thing::Directory => fs::create_dir(&at).unwrap(),
            Thing::File => fs::write(&at, place).unwrap(),
            Thing::Link(text) => symlink(text, &at).unwrap(),
        }
    }
}

fn kernel(root: &Path, path: &str) -> Result<(u64, u64), Errno> {
    let directory = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut loops = 0;
    loop {
        match openat2(&directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            // A walk that the kernel begins again with locks, as at a link whose access time is to be written, goes on
            // counting where the first one ended (fs/namei.c, total_link_count): its first word may be a wrong one.
            Err(Errno::LOOP) if loops < 3 => loops += 1,
            Err(error) => return Err(error),
            Ok(fd) => {
                let stat = rustix::fs::fstat(fd)?;
                return Ok((stat.st_dev, stat.st_ino));
            }
        }
    }
}

/// What kinds of ways there were: a forest in which all paths end alike proves nothing.
#[derive(Debug, Default)]
struct Seen {
    found: usize,
    missing: usize,
    no_directory: usize,
    loops: usize,
    through_two_contexts: usize,
    differ_by_node: usize,
}

impl Seen {
    fn count(&mut self, way: &Way) {
        match way.found {
            Ok(_) => self.found += 1,
            Err(Errno::NOENT) => self.missing += 1,
            Err(Errno::NOTDIR) => self.no_directory += 1,
            Err(Errno::LOOP) => self.loops += 1,
            Err(_) => {}
        }
        let contexts = way.hops.iter().filter(|hop| matches!(hop, Hop::Context { .. })).count();
        self.through_two_contexts += usize::from(way.found.is_ok() && contexts > 1);
    }
}

fn agrees(tree: &Tree, paths: &[String], seen: &mut Seen) -> Result<(), TestCaseError> {
    let site = Site::open(tree.root(), None).unwrap();
    let root = Root::open(tree.root()).unwrap();
    let mut ends: BTreeMap<&str, BTreeSet<TreePath>> = BTreeMap::new();
    for (node, context) in site.contexts().unwrap() {
        mounts::activate(&root, &context).unwrap();
        for path in paths {
            let ours = walk(&root, path.as_bytes(), &context);
            seen.count(&ours);
            let kernels = kernel(tree.root(), path);
            let found = ours.found.map(|found| found.identity);
            prop_assert_eq!(found, kernels, "node {}, {:?}: {:?}", node, path, ours);
            if found.is_ok() {
                ends.entry(path).or_default().insert(ours.end.clone());
                // The end that is told is the place itself, with no link on the way.
                prop_assert_eq!(root.lstat(&ours.end).map(|stat| (stat.st_dev, stat.st_ino)).ok(), found.ok());
            }
        }
        mounts::deactivate(&root, &context).unwrap();
    }
    seen.differ_by_node += ends.values().filter(|ends| ends.len() > 1).count();
    Ok(())
}

#[test]
fn random_forests_lead_where_the_kernel_goes() {
    with_own_mounts(|| {
        let mut runner = TestRunner::new(Config {
            cases: 300,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            ..Config::default()
        });
        let seen = RefCell::new(Seen::default());
        let paths = proptest::collection::vec(text(), 1..24);
        runner
            .run(&(forest(), paths), |(things, paths)| {
                let tree = MountTree::new(2);
                plant(&tree, &things);
                // Where the links themselves are is always worth a look.
                let links = things.iter().map(|(place, _)| place.clone());
                agrees(&tree, &paths.into_iter().chain(links).collect::<Vec<_>>(), &mut seen.borrow_mut())
            })
            .unwrap();
        let seen = seen.into_inner();
        let Seen { found, missing, no_directory, loops, through_two_contexts, differ_by_node } = seen;
        let least = [found, missing, no_directory, loops, through_two_contexts, differ_by_node].into_iter().min();
        assert!(least > Some(5), "too little of something: {seen:?}");
    });
}

#[test]
fn the_limits_are_the_kernels() {
    with_own_mounts(|| {
        let tree = MountTree::new(2);
        plant(&tree, &[]);
        tree.write("/a/end", "end");
        // A chain of links: forty are followed, forty-one are not.
        symlink("/a/end", tree.at("a/l0")).unwrap();
        for n in 1..45 {
            symlink(format!("/a/l{}", n - 1), tree.at(&format!("a/l{n}"))).unwrap();
        }
        symlink("loop", tree.at("a/loop")).unwrap();
        symlink("/cluster/node{nodenum}/through", tree.at("a/cdsl")).unwrap();
        symlink("/cluster/role/{role}/on", tree.at("cluster/node1/through")).unwrap();
        tree.write("/cluster/role/web/on", "both");
        let long = format!("/a/{}", "x".repeat(256));
        let mut paths: Vec<String> = (0..45).map(|n| format!("/a/l{n}")).collect();
        paths.extend(
            [
                "/a/loop",
                "/a/loop/",
                "/a/end/",
                "/a/end/x",
                "/a/cdsl",
                "/",
                "",
                "//",
                "/..",
                "/a/../../b",
                "/a/end/..",
                long.as_str(),
            ]
            .map(str::to_owned),
        );
        paths.push("/a".repeat(2040) + "/////////////////////////////////////////////");
        agrees(&tree, &paths, &mut Seen::default()).unwrap();
        let root = Root::open(tree.root()).unwrap();
        let site = Site::open(tree.root(), None).unwrap();
        let contexts = site.contexts().unwrap();
        let way = walk(&root, b"/a/cdsl", contexts.values().next().unwrap());
        assert_eq!(way.end, TreePath::parse(b"/cluster/role/web/on").unwrap());
        assert_eq!(way.hops.len(), 4, "two links and two context directories: {way:?}");
    });
}

/// What this machine has mounted says nothing about another node.
#[test]
fn a_node_without_a_directory_does_not_see_another_s() {
    with_own_mounts(|| {
        let tree = MountTree::new(2);
        tree.write("/cluster/node1/x", "one");
        fs::create_dir_all(tree.at("cluster/node{nodenum}")).unwrap();
        symlink("/cluster/node{nodenum}/x", tree.at("x")).unwrap();
        let root = Root::open(tree.root()).unwrap();
        let contexts = Site::open(tree.root(), None).unwrap().contexts().unwrap();
        let [one, two] = [1, 2].map(|n| &contexts[&ssi_cluster::NodeId::new(n).unwrap()]);
        mounts::activate(&root, one).unwrap();
        assert!(tree.at("cluster/node{nodenum}/x").exists(), "nothing is mounted");
        assert_eq!(walk(&root, b"/x", one).found.map(|found| found.kind), Ok(FileType::RegularFile));
        let way = walk(&root, b"/x", two);
        assert_eq!(way.found, Err(Errno::NOENT));
        assert_eq!(way.end, TreePath::parse(b"/cluster/node2").unwrap(), "the part that is missing");
        agrees(&tree, &["/x".to_owned()], &mut Seen::default()).unwrap();
    });
}
