// SPDX-License-Identifier: GPL-2.0-or-later
//! The clock being set, and another time zone.

mod scene;

use std::fs;

use rustix::time::{ClockId, clock_gettime, clock_settime};
use scene::{readable, readable_now};
use ssi_manager::core::Event;
use ssi_watch::clock::Clock;

#[test]
fn the_clock_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let mut clock = Clock::new(&dir.path().join("localtime")).unwrap();
    assert!(!readable_now(clock.fd()));
    for _ in 0..2 {
        // To what it shows.
        if let Err(error) = clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)) {
            println!("left out: the clock may not be set here: {error}");
            return;
        }
        assert!(readable(clock.fd()));
        assert!(matches!(&clock.events()[..], [Event::ClockSet]));
        assert!(!readable_now(clock.fd()) && clock.events().is_empty());
    }
}

#[test]
fn the_time_zone_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("zoneinfo")).unwrap();
    fs::write(at("zoneinfo/UTC"), "u").unwrap();
    fs::write(at("zoneinfo/CET"), "c").unwrap();
    let mut clock = Clock::new(&at("localtime")).unwrap();
    let mut changed = |what: &str| {
        let mut seen = false;
        while !seen || readable_now(clock.fd()) {
            assert!(readable(clock.fd()), "{what}");
            // The clock may be set as well, by the scene above.
            seen |= clock.events().iter().any(|event| matches!(event, Event::TimeZoneChanged));
        }
    };
    std::os::unix::fs::symlink("zoneinfo/UTC", at("localtime")).unwrap();
    changed("there was none");
    // As timedatectl(1) does it.
    std::os::unix::fs::symlink("zoneinfo/CET", at("new")).unwrap();
    fs::rename(at("new"), at("localtime")).unwrap();
    changed("another link");
    fs::write(at("zoneinfo/CET"), "other rules").unwrap();
    changed("other rules");
    fs::remove_file(at("localtime")).unwrap();
    changed("none any more");
}
