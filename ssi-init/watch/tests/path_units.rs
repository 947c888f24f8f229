// SPDX-License-Identifier: GPL-2.0-or-later
//! What path units wait for, and PID files.

mod scene;

use std::fs;
use std::path::Path;

use scene::{readable, readable_now, unit};
use ssi_manager::core::Event;
use ssi_unit::config::path::{PathEvent, PathWatch};
use ssi_watch::paths::{Paths, holds};

fn spec(event: PathEvent, path: &Path) -> PathWatch {
    PathWatch { event, path: path.to_str().unwrap().to_owned() }
}

/// Names of the units that were told of, in everything that is there to read now.
fn told(paths: &mut Paths) -> Vec<String> {
    let mut names = Vec::new();
    while readable_now(paths.fd()) {
        names.extend(paths.events().into_iter().map(|event| match event {
            Event::PathChanged(unit) => unit.to_string(),
            Event::PidFileChanged(unit) => format!("PID file of {unit}"),
            other => panic!("{other:?}"),
        }));
    }
    assert!(paths.troubles().is_empty());
    names.dedup();
    names
}

fn scene(event: PathEvent, name: &str) -> (tempfile::TempDir, Paths, PathWatch) {
    let dir = tempfile::tempdir().unwrap();
    let watch = spec(event, &dir.path().join(name));
    let mut paths = Paths::new().unwrap();
    paths.watch(&unit("a.path"), std::slice::from_ref(&watch)).unwrap();
    (dir, paths, watch)
}

#[test]
fn something_is_there() {
    let (dir, mut paths, watch) = scene(PathEvent::Exists, "a/b");
    assert!(!holds(&watch));
    fs::create_dir(dir.path().join("a")).unwrap();
    assert!(told(&mut paths).is_empty(), "a step on the way is not yet there");
    fs::write(dir.path().join("a/b"), "").unwrap();
    assert!(readable(paths.fd()) && holds(&watch));
    assert_eq!(told(&mut paths), ["a.path"]);
    fs::remove_file(dir.path().join("a/b")).unwrap();
    assert!(told(&mut paths).is_empty() && !holds(&watch));
    fs::remove_dir(dir.path().join("a")).unwrap();
    fs::create_dir(dir.path().join("z")).unwrap();
    fs::write(dir.path().join("z/b"), "").unwrap();
    assert!(told(&mut paths).is_empty());
    fs::rename(dir.path().join("z"), dir.path().join("a")).unwrap();
    assert_eq!(told(&mut paths), ["a.path"], "it came along with its directory");
}

#[test]
fn something_fits_a_pattern() {
    let (dir, mut paths, watch) = scene(PathEvent::ExistsGlob, "q*/{x,y}.job");
    fs::create_dir(dir.path().join("queue")).unwrap();
    fs::write(dir.path().join("queue/z.job"), "").unwrap();
    assert!(told(&mut paths).is_empty() && !holds(&watch));
    fs::write(dir.path().join("queue/y.job"), "").unwrap();
    assert_eq!(told(&mut paths), ["a.path"]);
    assert!(holds(&watch));
}

#[test]
fn a_file_changed_or_was_written_to() {
    let (dir, mut paths, changed) = scene(PathEvent::Changed, "f");
    let modified = PathWatch { event: PathEvent::Modified, ..changed.clone() };
    paths.watch(&unit("b.path"), std::slice::from_ref(&modified)).unwrap();
    assert!(!holds(&changed) && !holds(&modified));
    let path = dir.path().join("f");
    fs::write(&path, "").unwrap();
    assert_eq!(told(&mut paths), ["a.path", "b.path"], "it is there now");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    assert_eq!(told(&mut paths), ["b.path"]);
    drop(file);
    assert_eq!(told(&mut paths), ["a.path", "b.path"]);
    // Replaced whole, as editors do.
    fs::write(dir.path().join("new"), "y").unwrap();
    assert!(told(&mut paths).is_empty());
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(told(&mut paths), ["a.path", "b.path"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(told(&mut paths), ["a.path", "b.path"]);
    paths.unwatch(&unit("b.path"));
    fs::write(&path, "").unwrap();
    assert_eq!(told(&mut paths), ["a.path"]);
}

#[test]
fn what_happens_above_is_not_a_change() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/f"), "").unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    let mut paths = Paths::new().unwrap();
    let watch = spec(PathEvent::Modified, &dir.path().join("link/f"));
    paths.watch(&unit("a.path"), &[watch]).unwrap();
    fs::write(dir.path().join("a/other"), "").unwrap();
    fs::write(dir.path().join("sibling"), "").unwrap();
    assert!(told(&mut paths).is_empty());
    // The directory is moved and the link leads there: what is at the path is the same.
    fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    std::os::unix::fs::symlink("b", dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("link")).unwrap();
    assert!(told(&mut paths).is_empty());
    fs::write(dir.path().join("b/f"), "x").unwrap();
    assert_eq!(told(&mut paths), ["a.path"]);
}

#[test]
fn a_directory_holds_something() {
    let (dir, mut paths, watch) = scene(PathEvent::DirectoryNotEmpty, "spool");
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    assert!(told(&mut paths).is_empty() && !holds(&watch));
    fs::write(spool.join(".hidden"), "").unwrap();
    assert!(told(&mut paths).is_empty() && !holds(&watch));
    fs::write(spool.join("mail"), "").unwrap();
    assert_eq!(told(&mut paths), ["a.path"]);
    assert!(holds(&watch));
}

#[test]
fn watching_again_replaces() {
    let (dir, mut paths, _) = scene(PathEvent::Exists, "one");
    paths.watch(&unit("a.path"), &[spec(PathEvent::Exists, &dir.path().join("two"))]).unwrap();
    fs::write(dir.path().join("one"), "").unwrap();
    assert!(told(&mut paths).is_empty());
    fs::write(dir.path().join("two"), "").unwrap();
    assert_eq!(told(&mut paths), ["a.path"]);
}

#[test]
fn a_pid_file_of_a_directory_that_comes_late() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/daemon.pid");
    let mut paths = Paths::new().unwrap();
    paths.watch_pid_file(&unit("d.service"), &path).unwrap();
    fs::create_dir(dir.path().join("run")).unwrap();
    assert_eq!(told(&mut paths), ["PID file of d.service"]);
    fs::write(&path, "7\n").unwrap();
    assert_eq!(told(&mut paths), ["PID file of d.service"]);
    fs::write(&path, "8\n").unwrap();
    assert_eq!(told(&mut paths), ["PID file of d.service"]);
    paths.unwatch_pid_file(&unit("d.service"));
    fs::write(&path, "9\n").unwrap();
    assert!(told(&mut paths).is_empty());
}
