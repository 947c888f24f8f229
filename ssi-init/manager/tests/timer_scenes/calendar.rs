// SPDX-License-Identifier: GPL-2.0-or-later
//! What the calendar tells, in its zone; what becomes of it when the clock is set; delays that are drawn.

use crate::double::World;
use crate::double::name;
use ssi_manager::core::Event;

use crate::{
    HOUR, MINUTE, SERVICE, assert_runs_in, clock, due, end, files, hold, in_zone, next_run, runs, set_clock, timer,
    timer_at, turn_clock, usec,
};

// ---- the calendar ------------------------------------------------------------------------------------------------

#[test]
fn the_calendar_is_that_of_the_machines_zone_or_of_the_one_it_names() {
    for (lines, expected) in [
        ("OnCalendar=12:00", "2026-08-05T10:00:00Z"),
        ("OnCalendar=12:00 UTC", "2026-08-05T12:00:00Z"),
        ("OnCalendar=12:00 Asia/Tokyo", "2026-08-06T03:00:00Z"),
        ("OnCalendar=12:00\nOnCalendar=11:45", "2026-08-05T09:45:00Z"),
    ] {
        let mut world = files(lines);
        in_zone(&world, "Europe/Berlin");
        turn_clock(&world, "2026-08-05T09:20:00Z");
        world.start("a.timer");
        assert_eq!(world.state("a.timer"), "active (waiting)");
        assert_eq!(next_run(&mut world), expected);
    }
}

#[test]
fn what_comes_first_counts() {
    let mut world = timer_at("OnCalendar=10:30\nOnActiveSec=5min", "2026-08-05T10:20:00Z");
    assert_runs_in(&mut world, 5.0 * MINUTE);
    end(&mut world);
    assert_eq!(next_run(&mut world), "2026-08-05T10:30:00Z");
    assert_eq!(next_run(&mut world), "2026-08-06T10:30:00Z");
}

#[test]
fn an_hour_that_is_not_there_or_there_twice_is_no_missed_or_double_day() {
    let mut world = files("OnCalendar=02:30");
    in_zone(&world, "Europe/Berlin");
    turn_clock(&world, "2026-03-27T12:00:00Z");
    world.start("a.timer");
    // On 29 March 02:30 is not there.
    let days = [(); 3].map(|()| next_run(&mut world));
    assert_eq!(days, ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
    // On 25 October it is there twice.
    let mut world = files("OnCalendar=02:30");
    in_zone(&world, "Europe/Berlin");
    turn_clock(&world, "2026-10-24T12:00:00Z");
    world.start("a.timer");
    let days = [(); 2].map(|()| next_run(&mut world));
    assert_eq!(days, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn a_unit_that_takes_longer_than_the_time_between_is_started_again_at_its_end() {
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:20:00Z");
    world.pass(40.0 * MINUTE);
    world.pass(2.5 * HOUR);
    assert_eq!(runs(&world), 1);
    end(&mut world);
    assert_eq!((runs(&world), clock(&world).as_str()), (2, "2026-08-05T13:30:00Z"), "once for all that was missed");
    end(&mut world);
    assert_eq!(next_run(&mut world), "2026-08-05T14:00:00Z");
}

#[test]
fn what_was_missed_while_the_machine_was_off_is_caught_up_with_once() {
    let lines = "OnCalendar=daily\nPersistent=yes";
    let now = "2026-08-05T10:20:00Z";
    let stamp = |world: &World| world.state.borrow().stamps.get("a.timer").copied();
    let with_stamp = |lines: &str, at: &str| {
        let mut world = files(lines);
        turn_clock(&world, now);
        world.state.borrow_mut().stamps.insert("a.timer".to_owned(), usec(at));
        world.start("a.timer");
        world
    };
    // Two days ago.
    let mut world = with_stamp(lines, "2026-08-03T00:00:00Z");
    assert_eq!(runs(&world), 1);
    assert_eq!(stamp(&world), Some(usec(now)));
    end(&mut world);
    assert_eq!(next_run(&mut world), "2026-08-06T00:00:00Z");
    assert_eq!(stamp(&world), Some(usec("2026-08-06T00:00:00Z")));
    // Today: nothing was missed.
    let mut world = with_stamp(lines, "2026-08-05T00:00:00Z");
    assert_eq!(runs(&world), 0);
    assert_eq!(next_run(&mut world), "2026-08-06T00:00:00Z");
    // Tomorrow: such a stamp is worth nothing.
    let mut world = with_stamp(lines, "2026-08-06T20:00:00Z");
    assert!(world.logged("a.timer: its stamp says that it was time in the future"));
    assert_eq!(next_run(&mut world), "2026-08-06T00:00:00Z");
    // Never: nothing was missed, and from now on it could be.
    let mut world = timer_at(lines, now);
    assert_eq!((runs(&world), stamp(&world)), (0, Some(usec(now))));
    assert_eq!(next_run(&mut world), "2026-08-06T00:00:00Z");
    // One that does not ask for it has no stamp.
    let mut world = with_stamp("OnCalendar=daily", "2026-08-03T00:00:00Z");
    assert_eq!(next_run(&mut world), "2026-08-06T00:00:00Z");
    assert_eq!(stamp(&world), Some(usec("2026-08-03T00:00:00Z")));
}

#[test]
fn what_is_caught_up_with_is_spread_from_the_moment_the_system_came_up() {
    let mut world = files("OnCalendar=daily\nPersistent=yes\nRandomizedDelaySec=1h");
    turn_clock(&world, "2026-08-05T10:20:00Z");
    world.state.borrow_mut().stamps.insert("a.timer".to_owned(), usec("2026-08-03T00:00:00Z"));
    world.pass(5.0);
    world.start("a.timer");
    let (_, at) = due(&world);
    let up = usec("2026-08-05T10:20:00Z");
    assert!(at.is_some_and(|at| at > up && at < up + 3_600_000_000), "{at:?}");
    assert_eq!(runs(&world), 0);
    next_run(&mut world);
}

#[test]
fn a_timer_that_was_down_has_missed_nothing_unless_it_is_persistent() {
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:20:00Z");
    hold(&mut world);
    world.stop("a.timer");
    world.pass(HOUR);
    world.start("a.timer");
    assert_eq!(next_run(&mut world), "2026-08-05T12:00:00Z");
}

// ---- the clock is set --------------------------------------------------------------------------------------------

#[test]
fn a_clock_that_is_set_forward_skips_nothing_and_repeats_nothing() {
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:30:00Z");
    set_clock(&mut world, "2026-08-05T11:30:00Z");
    assert_eq!(runs(&world), 1, "11:00 was jumped over");
    end(&mut world);
    assert_eq!(next_run(&mut world), "2026-08-05T12:00:00Z");
    set_clock(&mut world, "2026-08-05T12:50:00Z");
    assert_eq!(runs(&world), 2, "12:00 was had");
    assert_eq!(next_run(&mut world), "2026-08-05T13:00:00Z");
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wait_too_long() {
    // Before it was ever time: from what the clock shows now.
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:30:00Z");
    set_clock(&mut world, "2026-08-05T09:30:00Z");
    assert_eq!(runs(&world), 0);
    assert_eq!(next_run(&mut world), "2026-08-05T10:00:00Z");
    assert_eq!(next_run(&mut world), "2026-08-05T11:00:00Z");
    // And after.
    set_clock(&mut world, "2026-08-05T10:30:00Z");
    assert_eq!(next_run(&mut world), "2026-08-05T11:00:00Z", "11:00 comes once more, and so does it");
    // While its unit runs.
    world.pass(HOUR);
    assert_eq!(runs(&world), 4);
    set_clock(&mut world, "2026-08-05T09:30:00Z");
    end(&mut world);
    assert_eq!(next_run(&mut world), "2026-08-05T10:00:00Z");
}

#[test]
fn a_clock_that_is_put_right_by_a_little_does_not_repeat_what_was() {
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:30:00Z");
    next_run(&mut world);
    set_clock(&mut world, "2026-08-05T10:59:59.5Z");
    world.pass(MINUTE);
    assert_eq!(runs(&world), 1);
    assert_eq!(next_run(&mut world), "2026-08-05T12:00:00Z");
    // How little is a little: AccuracySec=.
    let mut world = timer_at("OnCalendar=hourly\nAccuracySec=1us", "2026-08-05T10:30:00Z");
    next_run(&mut world);
    set_clock(&mut world, "2026-08-05T10:59:59.5Z");
    assert_eq!(next_run(&mut world), "2026-08-05T11:00:00Z");
}

#[test]
fn spans_do_not_care_for_the_clock() {
    let mut world = timer("OnActiveSec=1h\nOnBootSec=2h");
    world.pass(MINUTE);
    set_clock(&mut world, "2030-01-01T00:00:00Z");
    set_clock(&mut world, "2020-01-01T00:00:00Z");
    assert_runs_in(&mut world, 59.0 * MINUTE);
    // What was used up stays so.
    end(&mut world);
    set_clock(&mut world, "2030-01-01T00:00:00Z");
    assert_eq!(runs(&world), 1);
    assert_eq!(world.state("a.timer"), "active (waiting)");
}

#[test]
fn a_change_of_the_clock_or_of_the_zone_is_a_time_where_that_is_asked_for() {
    let mut world = timer("OnClockChange=yes");
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.tell(Event::TimeZoneChanged);
    world.pass(HOUR);
    assert_eq!(runs(&world), 0);
    for round in 1..3 {
        set_clock(&mut world, "2026-08-05T10:30:00Z");
        set_clock(&mut world, "2026-08-05T09:30:00Z");
        assert_eq!(runs(&world), round, "not while it runs");
        end(&mut world);
        assert_eq!(world.state("a.timer"), "active (waiting)");
    }
    let mut world = timer("OnTimezoneChange=yes");
    set_clock(&mut world, "2026-08-05T10:30:00Z");
    assert_eq!(runs(&world), 0);
    world.tell(Event::TimeZoneChanged);
    assert_eq!(runs(&world), 1);
}

#[test]
fn in_another_zone_it_is_another_time() {
    let mut world = timer_at("OnCalendar=12:00", "2026-08-05T09:20:00Z");
    in_zone(&world, "Europe/Berlin");
    world.tell(Event::TimeZoneChanged);
    assert_eq!(runs(&world), 0);
    assert_eq!(next_run(&mut world), "2026-08-05T10:00:00Z");
}

// ---- random delays -----------------------------------------------------------------------------------------------

#[test]
fn a_random_delay_is_chosen_once_for_each_time() {
    let lines = "OnCalendar=*-*-* 00/4:00\nOnActiveSec=10h\nRandomizedDelaySec=1h";
    let mut world = timer_at(lines, "2026-08-05T10:20:00Z");
    let chosen = due(&world);
    let (noon, monotonic) = (usec("2026-08-05T12:00:00Z"), 36_005_000_000);
    assert!(chosen.1.is_some_and(|at| at > noon && at < noon + 3_600_000_000), "{chosen:?}");
    assert!(chosen.0.is_some_and(|at| at > monotonic && at < monotonic + 3_600_000_000), "{chosen:?}");
    world.start("a.service");
    end(&mut world);
    assert_eq!(due(&world), chosen, "its unit was started by hand");
    set_clock(&mut world, "2026-08-05T10:25:00Z");
    assert_eq!(due(&world), chosen, "the clock was set");
    world.tell(Event::TimeZoneChanged);
    assert_eq!(due(&world), chosen, "the zone changed");
    world.core.reload_files();
    assert_eq!(due(&world), chosen, "its files were read again");
    world.replace_manager();
    assert_eq!(due(&world), chosen, "another manager took over");
    next_run(&mut world);
    let (_, second) = due(&world);
    let delay = second.unwrap() - usec("2026-08-05T16:00:00Z");
    assert!(delay < 3_600_000_000 && delay != chosen.1.unwrap() - noon, "another one for the next time");
}

#[test]
fn a_time_whose_delay_is_not_over_is_not_over() {
    let mut world = timer("OnActiveSec=1min\nOnActiveSec=1h\nRandomizedDelaySec=30min");
    for (begin, round) in [(MINUTE, 1), (HOUR, 2)] {
        let (at, _) = due(&world);
        let begins = 5_000_000 + (begin * 1e6) as u64;
        assert!(at.is_some_and(|at| at > begins && at < begins + 1_800_000_000), "{at:?}");
        let now = world.state.borrow().now.monotonic;
        world.pass((at.unwrap() - now) as f64 / 1e6 - 1.0);
        // It is reckoned anew.
        world.start("a.service");
        end(&mut world);
        assert_eq!(due(&world).0, at);
        world.core.reload_files();
        assert_eq!(due(&world).0, at);
        world.pass(1.0);
        assert_eq!(runs(&world), 2 * round);
        end(&mut world);
    }
    assert_eq!(world.state("a.timer"), "active (elapsed)");
    // Of the calendar, too, and where the clock was set back before.
    let mut world = timer_at("OnCalendar=hourly\nRandomizedDelaySec=50min", "2026-08-05T10:55:00Z");
    set_clock(&mut world, "2026-08-05T08:55:00Z");
    let (_, at) = due(&world);
    assert!(at.is_some_and(|at| at > usec("2026-08-05T09:00:00Z")));
    world.pass((at.unwrap() - usec("2026-08-05T08:55:00Z")) as f64 / 1e6 - 1.0);
    world.start("a.service");
    end(&mut world);
    assert_eq!(due(&world).1, at);
}

#[test]
fn a_fixed_delay_is_the_same_each_time() {
    let lines = "OnCalendar=*-*-* 00/4:00\nRandomizedDelaySec=1h\nFixedRandomDelay=yes";
    let mut world = timer_at(lines, "2026-08-05T10:20:00Z");
    let delay = world.core.sys.fixed_number(&name("a.timer")) % 3_600_000_000;
    assert_ne!(delay, 0);
    for hour in ["2026-08-05T12:00:00Z", "2026-08-05T16:00:00Z"] {
        assert_eq!(due(&world).1, Some(usec(hour) + delay));
        next_run(&mut world);
    }
    // Where it was another one so far, too.
    let random = "[Timer]\nOnCalendar=*-*-* 00/4:00\nRandomizedDelaySec=1h\n";
    let mut world = World::new(&[("a.timer", random), ("a.service", SERVICE)]);
    turn_clock(&world, "2026-08-05T10:20:00Z");
    world.start("a.timer");
    assert_ne!(due(&world).1, Some(usec("2026-08-05T12:00:00Z") + delay));
    world.rewrite(&[("a.timer", Some(&format!("{random}FixedRandomDelay=yes\n")))]);
    assert_eq!(due(&world).1, Some(usec("2026-08-05T12:00:00Z") + delay));
}
