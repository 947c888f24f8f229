// SPDX-License-Identifier: GPL-2.0-or-later

use std::fs;

use super::*;

fn scene() -> (tempfile::TempDir, Trails) {
    (tempfile::tempdir().unwrap(), Trails::new().unwrap())
}

fn steps(trails: &mut Trails) -> Vec<(u64, bool)> {
    trails.events().into_iter().map(|step| (step.trail, step.itself)).collect()
}

#[test]
fn what_appears_step_by_step_is_seen_at_each_step() {
    let (dir, mut trails) = scene();
    let path = dir.path().join("a/b/c");
    trails.watch(1, &path, Interest::Changed).unwrap();
    assert!(steps(&mut trails).is_empty());
    fs::create_dir(dir.path().join("other")).unwrap();
    assert!(steps(&mut trails).is_empty(), "another name is of no interest");
    fs::create_dir(dir.path().join("a")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::create_dir(dir.path().join("a/b")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(&path, "x").unwrap();
    // That it was closed after writing is not seen for sure: the watch on it may come later.
    assert!(steps(&mut trails).contains(&(1, false)));
    fs::write(&path, "y").unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
}

#[test]
fn a_directory_made_in_one_go_is_followed_to_its_end() {
    let (dir, mut trails) = scene();
    let path = dir.path().join("a/b/c/d");
    trails.watch(1, &path, Interest::Changed).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "x").unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(&path, "y").unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
}

#[test]
fn moved_away_and_back() {
    let (dir, mut trails) = scene();
    let (here, away) = (dir.path().join("a"), dir.path().join("z"));
    fs::create_dir(&here).unwrap();
    fs::write(here.join("b"), "x").unwrap();
    trails.watch(1, &here.join("b"), Interest::Modified).unwrap();
    fs::rename(&here, &away).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(away.join("b"), "y").unwrap();
    assert!(steps(&mut trails).is_empty(), "it is not at the path");
    fs::rename(&away, &here).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(here.join("b"), "y").unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
}

#[test]
fn links_on_the_way_and_where_they_lead() {
    let (dir, mut trails) = scene();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("one")).unwrap();
    fs::create_dir(at("two")).unwrap();
    fs::write(at("two/file"), "2").unwrap();
    std::os::unix::fs::symlink("one", at("link")).unwrap();
    trails.watch(1, &at("link/file"), Interest::Modified).unwrap();
    fs::write(at("one/file"), "1").unwrap();
    assert!(steps(&mut trails).contains(&(1, false)), "it appears where the link leads");
    // The link is replaced by one that leads elsewhere.
    std::os::unix::fs::symlink("two", at("new")).unwrap();
    fs::rename(at("new"), at("link")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(at("one/file"), "not there any more").unwrap();
    assert!(steps(&mut trails).is_empty());
    fs::write(at("two/file"), "3").unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
}

#[test]
fn a_link_that_leads_nowhere_yet_and_one_that_leads_to_itself() {
    let (dir, mut trails) = scene();
    let at = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink("sub/../later/file", at("link")).unwrap();
    std::os::unix::fs::symlink("circle", at("circle")).unwrap();
    trails.watch(1, &at("link"), Interest::Presence).unwrap();
    trails.watch(2, &at("circle/x"), Interest::Presence).unwrap();
    assert!(steps(&mut trails).is_empty());
    fs::create_dir(at("sub")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::create_dir(at("later")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(at("later/file"), "").unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::remove_file(at("later/file")).unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
    fs::remove_file(at("circle")).unwrap();
    assert_eq!(steps(&mut trails), [(2, false)]);
}

#[test]
fn names_that_fit_a_pattern() {
    let (dir, mut trails) = scene();
    trails.watch_pattern(1, &dir.path().join("a*/x.*"), Interest::Presence).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    assert!(steps(&mut trails).is_empty());
    fs::create_dir(dir.path().join("ab")).unwrap();
    assert_eq!(steps(&mut trails), [(1, false)]);
    fs::write(dir.path().join("ab/y"), "").unwrap();
    assert!(steps(&mut trails).is_empty());
    fs::write(dir.path().join("ab/x.1"), "").unwrap();
    assert!(!steps(&mut trails).is_empty());
}

#[test]
fn two_trails_over_one_inode_hear_each_what_they_want() {
    let (dir, mut trails) = scene();
    let path = dir.path().join("f");
    fs::write(&path, "").unwrap();
    trails.watch(1, &path, Interest::Changed).unwrap();
    trails.watch(2, &path, Interest::Modified).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    assert_eq!(steps(&mut trails), [(2, true)]);
    drop(file);
    assert_eq!(steps(&mut trails), [(1, true), (2, true)]);
    trails.unwatch(2);
    fs::write(&path, "y").unwrap();
    assert_eq!(steps(&mut trails), [(1, true)]);
    trails.unwatch(1);
    fs::write(&path, "z").unwrap();
    assert!(steps(&mut trails).is_empty() && trails.watched.is_empty());
}

#[test]
fn nothing_is_left_behind_and_a_busy_directory_does_not_wake_it() {
    let (dir, mut trails) = scene();
    let path = dir.path().join("a");
    trails.watch(1, &path, Interest::Presence).unwrap();
    for _ in 0..50 {
        fs::write(&path, "").unwrap();
        assert!(!steps(&mut trails).is_empty());
        fs::remove_file(&path).unwrap();
        assert!(!steps(&mut trails).is_empty());
        // Its own end is told last.
        steps(&mut trails);
    }
    let depth = dir.path().components().count();
    assert_eq!(trails.watched.len(), depth);
    fs::write(&path, "").unwrap();
    steps(&mut trails);
    fs::write(dir.path().join("other"), "").unwrap();
    let mut look = [rustix::event::PollFd::new(&trails.inotify, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut look, Some(&now)), Ok(0), "the kernel tells what nobody wants to hear");
}

#[test]
fn when_the_kernel_lost_count_everything_is_looked_at_anew() {
    let (dir, mut trails) = scene();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("one"), "").unwrap();
    fs::write(at("two"), "").unwrap();
    trails.watch(1, &at("one"), Interest::Modified).unwrap();
    trails.watch(2, &at("two"), Interest::Modified).unwrap();
    trails.watch(3, &at("three"), Interest::Modified).unwrap();
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let mut files = [at("one"), at("two")].map(|path| fs::OpenOptions::new().append(true).open(path).unwrap());
    for number in 0..=most {
        std::io::Write::write_all(&mut files[number % 2], b"x").unwrap();
    }
    fs::write(at("three"), "unseen").unwrap();
    let mut told = BTreeSet::new();
    loop {
        let steps = steps(&mut trails);
        if steps.is_empty() {
            break;
        }
        told.extend(steps.into_iter().map(|(trail, _)| trail));
    }
    assert_eq!(told, BTreeSet::from([1, 2, 3]));
    fs::write(at("three"), "seen").unwrap();
    assert_eq!(steps(&mut trails), [(3, true)]);
}

mod whatever_happens {
    use super::*;
    use proptest::prelude::*;

    /// What is done to the tree: the places are by number, so that they often meet.
    #[derive(Clone, Debug)]
    enum Act {
        Directory(usize),
        File(usize),
        Remove(usize),
        Move(usize, usize),
        Link(usize, usize),
        Swap(usize, usize),
    }

    const PLACES: [&str; 9] = ["a", "a/b", "a/b/c", "x", "x/b", "x/b/c", "a/c", "y", "b"];
    const TARGETS: [&str; 7] = ["a", "x", "../x/b", "b/c", "../y", "c", "/nowhere"];

    fn act() -> impl Strategy<Value = Act> {
        let place = 0..PLACES.len();
        prop_oneof![
            3 => place.clone().prop_map(Act::Directory),
            2 => place.clone().prop_map(Act::File),
            2 => place.clone().prop_map(Act::Remove),
            3 => (place.clone(), place.clone()).prop_map(|(from, to)| Act::Move(from, to)),
            3 => (place.clone(), 0..TARGETS.len()).prop_map(|(from, to)| Act::Link(from, to)),
            1 => (place.clone(), place).prop_map(|(from, to)| Act::Swap(from, to)),
        ]
    }

    fn doing(root: &Path, act: &Act) {
        let at = |place: usize| root.join(PLACES[place]);
        // Most acts cannot be done at most times, and that is as good.
        match act {
            Act::Directory(place) => drop(fs::create_dir(at(*place))),
            Act::File(place) => drop(fs::OpenOptions::new().create_new(true).write(true).open(at(*place))),
            Act::Remove(place) => match fs::symlink_metadata(at(*place)) {
                Ok(there) if there.is_dir() => drop(fs::remove_dir_all(at(*place))),
                Ok(_) => drop(fs::remove_file(at(*place))),
                Err(_) => {}
            },
            Act::Move(from, to) => drop(fs::rename(at(*from), at(*to))),
            Act::Link(place, target) => drop(std::os::unix::fs::symlink(TARGETS[*target], at(*place))),
            Act::Swap(one, two) => {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, at(*one), rustix::fs::CWD, at(*two), flags);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        /// That something is there now and was not, or the reverse, is told; and so is a write to what is there.
        #[test]
        fn it_is_told(acts in proptest::collection::vec(act(), 1..30)) {
            let (dir, mut trails) = scene();
            let paths = ["a/b/c", "a/b", "x/b/c"].map(|path| dir.path().join(path));
            let pattern = dir.path().join("[ax]/*/c");
            for (number, path) in paths.iter().enumerate() {
                trails.watch(number as u64, path, Interest::Modified).unwrap();
            }
            trails.watch_pattern(9, &pattern, Interest::Presence).unwrap();
            let fits = || {
                let list = |at: &Path| fs::read_dir(at).into_iter().flatten().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
                ["a", "x"].iter().any(|first| list(&dir.path().join(first)).iter().any(|second| fs::symlink_metadata(second.join("c")).is_ok()))
            };
            // The device and inode, so that a thing which was replaced counts too.
            let there = |path: &Path| fs::metadata(path).ok().map(|there| std::os::unix::fs::MetadataExt::ino(&there));
            for act in &acts {
                let before = (paths.each_ref().map(|path| there(path)), fits());
                doing(dir.path(), act);
                let mut told = BTreeSet::new();
                for _ in 0..20 {
                    let steps = trails.events();
                    told.extend(steps.iter().map(|step| step.trail));
                    if steps.is_empty() { break; }
                }
                for (number, path) in paths.iter().enumerate() {
                    if before.0[number] != there(path) {
                        prop_assert!(told.contains(&(number as u64)), "{act:?} at {path:?} was not told");
                    }
                    if path.is_file() {
                        fs::write(path, "x").unwrap();
                        let steps = trails.events();
                        let itself = steps.iter().any(|step| step.trail == number as u64 && step.itself);
                        prop_assert!(itself, "a write to {path:?} after {act:?} was not told");
                    }
                }
                if before.1 != fits() {
                    prop_assert!(told.contains(&9), "{act:?} was not told for the pattern");
                }
                prop_assert!(trails.troubles().is_empty());
            }
        }
    }
}
