// SPDX-License-Identifier: GPL-2.0-or-later
//! Mounts and swap areas that come and go are told, through as many epolls as there are.

mod scene;

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use scene::{apart, readable, readable_now};
use ssi_manager::core::Event;
use ssi_manager::core::mount::Mounted;
use ssi_watch::tables::{Mounts, SWAPS, Swaps};

/// Of the thread that the scene runs in.
const TABLE: &str = "/proc/thread-self/mountinfo";

fn table(mounts: &mut Mounts) -> Option<Vec<Mounted>> {
    assert!(readable(mounts.fd()), "nothing was told");
    match mounts.events().pop() {
        Some(Event::Mounts(table)) => Some(table),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn at<'a>(table: &'a [Mounted], place: &Path) -> Option<&'a Mounted> {
    table.iter().rev().find(|mounted| Path::new(&mounted.place) == place)
}

#[test]
fn mounts_come_change_and_go() {
    apart(|| {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("with blank");
        std::fs::create_dir(&place).unwrap();
        let utab = dir.path().join("run/utab");
        let mut mounts = Mounts::new(Path::new(TABLE), &utab).unwrap();
        let first = table(&mut mounts).unwrap();
        assert!(at(&first, Path::new("/proc")).is_some());
        assert!(!readable_now(mounts.fd()) && mounts.events().is_empty());
        rustix::mount::mount("some thing", &place, "tmpfs", MountFlags::NOSUID, Some(c"size=64k")).unwrap();
        let now = table(&mut mounts).unwrap();
        let mounted = at(&now, &place).unwrap();
        assert_eq!((mounted.what.as_str(), mounted.kind.as_str()), ("some thing", "tmpfs"));
        assert!(mounted.options.starts_with("rw,nosuid") && mounted.options.contains("size=64k"), "{mounted:?}");
        rustix::mount::mount_remount(&place, MountFlags::RDONLY, "").unwrap();
        let now = table(&mut mounts).unwrap();
        assert!(at(&now, &place).unwrap().options.starts_with("ro"));
        // mount(8) notes options for user space.
        std::fs::create_dir(utab.parent().unwrap()).unwrap();
        std::fs::write(
            &utab,
            format!("TARGET={} ROOT=/ OPTS=_netdev\n", place.display().to_string().replace(' ', "\\040")),
        )
        .unwrap();
        let now = table(&mut mounts).unwrap();
        assert!(at(&now, &place).unwrap().options.ends_with(",_netdev"));
        rustix::mount::unmount(&place, UnmountFlags::empty()).unwrap();
        let now = table(&mut mounts).unwrap();
        assert!(at(&now, &place).is_none());
        assert!(mounts.troubles().is_empty());
    });
}

#[test]
fn a_look_from_outside_does_not_lose_a_change() {
    apart(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut mounts = Mounts::new(Path::new(TABLE), &dir.path().join("utab")).unwrap();
        let middle = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        epoll::add(&middle, mounts.fd(), EventData::new_u64(1), EventFlags::IN).unwrap();
        epoll::add(&outer, &middle, EventData::new_u64(2), EventFlags::IN | EventFlags::ET).unwrap();
        table(&mut mounts).unwrap();
        for _ in 0..10 {
            assert!(!readable_now(outer.as_fd()));
            rustix::mount::mount("x", dir.path(), "tmpfs", MountFlags::empty(), None).unwrap();
            for fd in [outer.as_fd(), outer.as_fd(), middle.as_fd(), middle.as_fd(), mounts.fd()] {
                assert!(readable(fd), "a look took it away");
            }
            assert!(table(&mut mounts).is_some());
            rustix::mount::unmount(dir.path(), UnmountFlags::empty()).unwrap();
            assert!(readable(outer.as_fd()));
            assert!(table(&mut mounts).is_some());
        }
    });
}

#[test]
fn swap_areas_as_they_are() {
    let mut swaps = match Swaps::new(Path::new(SWAPS)) {
        Ok(swaps) => swaps,
        Err(error) => {
            println!("left out: this kernel has no swap: {error}");
            return;
        }
    };
    assert!(readable(swaps.fd()));
    let lines = std::fs::read_to_string(SWAPS).unwrap().lines().count();
    let events = swaps.events();
    assert!(matches!(&events[..], [Event::Swaps(areas)] if areas.len() == lines - 1), "{events:?}");
    assert!(!readable_now(swaps.fd()) && swaps.events().is_empty());
}

/// Uses a file as swap space for a moment, which the whole machine sees: by command only.
#[test]
#[ignore = "swaps on the machine that it runs on"]
fn a_swap_area_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("swap file");
    std::fs::write(&file, vec![0; 1 << 20]).unwrap();
    let run = |program: &str| {
        assert!(std::process::Command::new(program).arg(&file).status().unwrap().success(), "{program}");
    };
    run("mkswap");
    let mut swaps = Swaps::new(Path::new(SWAPS)).unwrap();
    swaps.events();
    run("swapon");
    let told = readable(swaps.fd());
    let on = swaps.events();
    run("swapoff");
    assert!(told && readable(swaps.fd()));
    let named = |events: &[Event]| matches!(events, [Event::Swaps(areas)] if areas.iter().any(|area| Path::new(&area.what) == file));
    assert!(named(&on), "{on:?}");
    let off = swaps.events();
    assert!(!named(&off) && off.len() == 1, "{off:?}");
}
