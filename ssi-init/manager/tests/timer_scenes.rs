// SPDX-License-Identifier: GPL-2.0-or-later
//! Timers: their unit is started when it is time, once, whatever happens to the clock and to the manager meanwhile.

mod double;

use double::{World, name};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ssi_manager::core::system::Exit;
use ssi_manager::core::timer::TimerResult;
use ssi_manager::core::{Deadline, Event};
use ssi_manager::job::{JobResult, Request};
use ssi_unit::implicit::Surroundings;

const OK: Exit = Exit::Code(0);
const SERVICE: &str = "[Service]\nExecStart=/bin/a\n";
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;

/// `a.timer` with these lines, and `a.service`.
fn files(lines: &str) -> World {
    World::new(&[("a.timer", &format!("[Timer]\n{lines}")), ("a.service", SERVICE)])
}

/// The same, started.
fn timer(lines: &str) -> World {
    let mut world = files(lines);
    world.start("a.timer");
    world
}

/// The same, started when the clock shows this, as `2026-08-05T10:20:30Z`.
fn timer_at(lines: &str, clock: &str) -> World {
    let mut world = files(lines);
    turn_clock(&world, clock);
    world.start("a.timer");
    world
}

fn usec(clock: &str) -> u64 {
    u64::try_from(clock.parse::<Timestamp>().unwrap().as_microsecond()).unwrap()
}

/// Puts the clock to a time; nobody is told.
fn turn_clock(world: &World, clock: &str) {
    world.state.borrow_mut().now.realtime = usec(clock);
}

/// Sets the clock, as date(1) does.
fn set_clock(world: &mut World, clock: &str) {
    turn_clock(world, clock);
    world.tell(Event::ClockSet);
}

/// What the clock shows.
fn clock(world: &World) -> String {
    let now = world.state.borrow().now.realtime;
    Timestamp::from_microsecond(i64::try_from(now).unwrap()).unwrap().to_string()
}

fn in_zone(world: &World, zone: &str) {
    world.state.borrow_mut().time_zone = Some(TimeZone::get(zone).unwrap());
}

/// How often the service was started.
fn runs(world: &World) -> usize {
    world.lines().len()
}

fn end(world: &mut World) {
    let pid = world.only("a.service");
    world.exit(pid, OK);
}

/// Lets time pass until the service was started once more, and ends it; what the clock showed then.
fn next_run(world: &mut World) -> String {
    let before = runs(world);
    let (_, at) = world.core.next_due();
    let left = at.expect("it waits for the calendar") - world.state.borrow().now.realtime;
    world.pass(left as f64 / 1e6);
    assert_eq!(runs(world), before + 1, "{}", clock(world));
    let shown = clock(world);
    end(world);
    shown
}

/// Whether it runs this long from now, in seconds, and not a tenth of a second earlier.
fn assert_runs_in(world: &mut World, seconds: f64) {
    let before = runs(world);
    world.pass(seconds - 0.1);
    assert_eq!(runs(world), before, "too early");
    world.pass(0.1);
    assert_eq!(runs(world), before + 1, "not in time");
}

/// When it is due, in microseconds of the clock that does not jump, and of the day.
fn due(world: &World) -> (Option<u64>, Option<u64>) {
    let id = world.id("a.timer");
    (world.core.deadline_of(id, Deadline::Elapse), world.core.deadline_of(id, Deadline::Calendar))
}

fn result(world: &World) -> TimerResult {
    world.core.unit(world.id("a.timer")).runtime.kind.timer().result
}

/// How often the log has these words.
fn count(world: &World, words: &str) -> usize {
    world.state.borrow().log.iter().filter(|(_, _, text)| text.contains(words)).count()
}

// ---- spans -------------------------------------------------------------------------------------------------------

#[test]
fn each_span_counts_from_its_own_moment() {
    // The manager began five seconds after the machine, and the timer is started ten seconds later.
    let machine = Surroundings::default();
    let container = Surroundings { container: true, ..Surroundings::default() };
    for (lines, surroundings, seconds) in [
        ("OnActiveSec=30", &machine, 30.0),
        ("OnBootSec=30", &machine, 15.0),
        ("OnBootSec=30", &container, 20.0),
        ("OnStartupSec=30", &machine, 20.0),
        ("OnActiveSec=40\nOnStartupSec=30\nOnBootSec=50", &machine, 20.0),
    ] {
        let timer = format!("[Timer]\n{lines}\n");
        let mut world = World::in_surroundings(&[("a.timer", &timer), ("a.service", SERVICE)], surroundings.clone());
        world.pass(10.0);
        world.start("a.timer");
        assert_eq!(world.state("a.timer"), "active (waiting)");
        assert_eq!(world.results("a.timer"), [JobResult::Done]);
        assert_runs_in(&mut world, seconds);
        assert_eq!(world.state("a.timer"), "active (running)");
    }
}

#[test]
fn a_span_of_its_unit_counts_from_the_units_start_or_end() {
    for (lines, after_end) in [("OnUnitActiveSec=30", 25.0), ("OnUnitInactiveSec=30", 30.0)] {
        let mut world = timer(lines);
        assert_eq!(world.state("a.timer"), "active (elapsed)", "the unit never ran");
        world.pass(HOUR);
        assert_eq!(runs(&world), 0);
        world.start("a.service");
        world.pass(5.0);
        end(&mut world);
        assert_eq!(world.state("a.timer"), "active (waiting)");
        assert_runs_in(&mut world, after_end);
        // And so on.
        world.pass(5.0);
        end(&mut world);
        assert_runs_in(&mut world, after_end);
    }
}

#[test]
fn a_unit_that_is_up_all_the_time_is_asked_for_once() {
    let mut world = timer("OnUnitActiveSec=30");
    world.start("a.service");
    world.pass(30.0);
    assert_eq!(world.state("a.timer"), "active (running)");
    world.pass(100.0);
    end(&mut world);
    // From when it was last time.
    assert_eq!(runs(&world), 2, "more than 30 seconds ago: at once");
    assert_eq!(world.state("a.timer"), "active (running)");
    end(&mut world);
    assert_runs_in(&mut world, 30.0);
}

#[test]
fn what_passes_while_the_unit_runs_is_over() {
    let mut world = timer("OnActiveSec=10\nOnActiveSec=20\nOnActiveSec=60");
    world.pass(30.0);
    end(&mut world);
    assert_eq!(runs(&world), 1);
    assert_runs_in(&mut world, 30.0);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (elapsed)");
}

#[test]
fn what_is_due_is_not_lost_over_what_else_comes_in_that_moment() {
    let mut world = timer("OnActiveSec=10\nOnActiveSec=60");
    world.pass(10.0);
    end(&mut world);
    // The machine slept, or was busy: it hears of the clock first.
    world.state.borrow_mut().now.monotonic += 100_000_000;
    set_clock(&mut world, "2026-08-05T10:30:00Z");
    assert_eq!(runs(&world), 2);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (elapsed)");
}

#[test]
fn what_is_over_before_the_start_is_due_at_once() {
    let mut world = files("OnBootSec=30");
    world.pass(MINUTE);
    world.start("a.timer");
    assert_eq!(runs(&world), 1);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (elapsed)");
}

#[test]
fn what_was_used_up_does_not_come_again_with_a_restart_of_the_timer() {
    let mut world = timer("OnBootSec=30\nOnUnitActiveSec=1d");
    world.pass(30.0);
    end(&mut world);
    world.pass(HOUR);
    world.request(Request::Restart, "a.timer");
    assert_eq!(world.state("a.timer"), "active (waiting)");
    assert_eq!(runs(&world), 1, "the machine was not booted again");
    hold(&mut world);
    // Nor with a reload, of what is up or down.
    world.core.reload_files();
    world.run();
    assert_eq!(runs(&world), 1);
    world.stop("a.timer");
    world.core.reload_files();
    world.run();
    world.start("a.timer");
    assert_eq!(runs(&world), 1);
    // What counts from the timer's start does.
    let mut world = timer("OnActiveSec=30");
    world.pass(30.0);
    end(&mut world);
    world.request(Request::Restart, "a.timer");
    assert_runs_in(&mut world, 30.0);
}

/// Keeps the timer in the table when it is down.
fn hold(world: &mut World) {
    let id = world.id("a.timer");
    world.core.unit_mut(id).runtime.held_by.insert("a client".to_owned());
}

#[test]
fn a_timer_without_more_to_come_stays_or_goes() {
    let mut world = timer("OnActiveSec=5");
    world.pass(5.0);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (elapsed)");
    world.start("a.timer");
    world.pass(HOUR);
    assert_eq!(runs(&world), 1, "it is up: that was no start");

    let mut world = timer("OnActiveSec=5\nRemainAfterElapse=no");
    world.pass(5.0);
    assert_eq!(world.state("a.timer"), "active (running)", "its unit runs");
    end(&mut world);
    assert_eq!(world.state("a.timer"), "not there");
    world.start("a.timer");
    assert_runs_in(&mut world, 5.0);

    // What its unit does may bring another time.
    let mut world = timer("OnUnitInactiveSec=60\nRemainAfterElapse=no");
    assert_eq!(world.state("a.timer"), "active (elapsed)");
    world.start("a.service");
    world.pass(10.0);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (waiting)");
    assert_runs_in(&mut world, 60.0);
}

#[test]
fn a_timer_that_elapsed_waits_again_when_its_unit_is_started_by_hand() {
    let mut world = timer("OnActiveSec=5\nOnUnitInactiveSec=60");
    world.pass(5.0);
    world.pass(10.0);
    end(&mut world);
    world.pass(30.0);
    world.start("a.service");
    world.pass(31.0);
    assert_eq!(
        (runs(&world), world.state("a.timer").as_str()),
        (2, "active (running)"),
        "due while it runs: no second"
    );
    end(&mut world);
    assert_runs_in(&mut world, 60.0);
}

#[test]
fn a_unit_that_does_not_start_is_not_tried_again_before_it_is_time() {
    // A condition that held once, and does not any more.
    let service = "[Unit]\nConditionPathExists=/x\n[Service]\nExecStart=/bin/a\n";
    for lines in ["OnActiveSec=1\nOnUnitActiveSec=10", "OnActiveSec=1\nOnUnitInactiveSec=10"] {
        let mut world = World::new(&[("a.timer", &format!("[Timer]\n{lines}\n")), ("a.service", service)]);
        world.start("a.timer");
        world.pass(1.0);
        end(&mut world);
        world.state.borrow_mut().false_conditions.insert("/x".to_owned());
        world.pass(31.0);
        assert_eq!((runs(&world), count(&world, "is skipped")), (1, 3), "{lines}");
        world.state.borrow_mut().false_conditions.clear();
        world.pass(10.0);
        assert_eq!(runs(&world), 2);
    }
    // One that never held: what is used up is so in the very moment.
    let mut world = World::new(&[("a.timer", "[Timer]\nOnActiveSec=5\n"), ("a.service", service)]);
    world.state.borrow_mut().false_conditions.insert("/x".to_owned());
    world.start("a.timer");
    world.pass(MINUTE);
    assert_eq!(count(&world, "is skipped"), 1);
    assert_eq!(world.state("a.timer"), "active (elapsed)");
}

#[test]
fn a_units_start_limit_is_no_end_of_its_timer() {
    let service = "[Unit]\nStartLimitIntervalSec=1000\nStartLimitBurst=2\n[Service]\nExecStart=/bin/a\n";
    let timer = "[Timer]\nOnActiveSec=10\nOnUnitInactiveSec=10\n";
    let mut world = World::new(&[("a.timer", timer), ("a.service", service)]);
    world.start("a.timer");
    for _ in 0..2 {
        world.pass(10.0);
        end(&mut world);
    }
    world.pass(35.0);
    assert_eq!((runs(&world), count(&world, "was started too often in")), (2, 3));
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert_eq!(world.state("a.timer"), "active (waiting)");
    let service = world.id("a.service");
    world.core.reset_failed(service);
    world.run();
    world.pass(5.0);
    assert_eq!(runs(&world), 3);
}

#[test]
fn started_too_often_it_fails() {
    let mut world = files("OnActiveSec=30");
    for _ in 0..5 {
        world.start("a.timer");
        // Kept in the table by nobody it would forget its count.
        hold(&mut world);
        world.stop("a.timer");
    }
    world.start("a.timer");
    assert_eq!(world.state("a.timer"), "failed (failed)");
    assert_eq!(result(&world), TimerResult::StartLimitHit);
    world.pass(MINUTE);
    assert_eq!(runs(&world), 0);
    let id = world.id("a.timer");
    world.core.reset_failed(id);
    world.start("a.timer");
    assert_eq!((world.state("a.timer").as_str(), result(&world)), ("active (waiting)", TimerResult::Success));
}

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

// ---- its unit ----------------------------------------------------------------------------------------------------

#[test]
fn a_timer_starts_what_it_names() {
    let timer = "[Timer]\nOnActiveSec=5\nUnit=b.service\n";
    let mut world =
        World::new(&[("a.timer", timer), ("a.service", SERVICE), ("b.service", "[Service]\nExecStart=/bin/b\n")]);
    world.start("a.timer");
    world.pass(5.0);
    assert_eq!(world.lines(), ["/bin/b"]);
}

#[test]
fn without_a_unit_it_does_not_start() {
    let mut world = World::new(&[("a.timer", "[Timer]\nOnActiveSec=5\n")]);
    world.start("a.timer");
    assert_eq!(world.results("a.timer"), [JobResult::Failed]);
    assert!(world.logged("a.timer: cannot start: the unit it is to start is not there"));
    assert_eq!(world.state("a.timer"), "not there");
}

#[test]
fn a_unit_whose_file_goes_away_is_missed_when_it_is_time() {
    let mut world = timer("OnActiveSec=30");
    world.rewrite(&[("a.service", None)]);
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.pass(30.0);
    assert_eq!((world.state("a.timer").as_str(), result(&world)), ("failed (failed)", TimerResult::Resources));
    // While it runs.
    let mut world = timer("OnActiveSec=5\nOnUnitInactiveSec=30");
    world.pass(5.0);
    world.rewrite(&[("a.service", None)]);
    assert_eq!(world.state("a.timer"), "active (running)");
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.pass(30.0);
    assert_eq!((world.state("a.timer").as_str(), result(&world)), ("failed (failed)", TimerResult::Resources));
}

#[test]
fn its_end_leaves_the_unit() {
    let mut world = timer("OnActiveSec=5\nOnUnitActiveSec=30");
    hold(&mut world);
    world.pass(5.0);
    world.stop("a.timer");
    assert_eq!(world.state("a.timer"), "inactive (dead)");
    assert_eq!(world.state("a.service"), "active (running)");
    assert_eq!(due(&world), (None, None));
    end(&mut world);
    world.pass(HOUR);
    assert_eq!((runs(&world), world.state("a.timer").as_str()), (1, "inactive (dead)"));
    let mut world = timer("OnActiveSec=5\nOnCalendar=hourly");
    hold(&mut world);
    assert!(due(&world).0.is_some() && due(&world).1.is_some());
    world.stop("a.timer");
    assert_eq!(due(&world), (None, None), "nothing is to come for one that is down");
}

#[test]
fn a_timer_that_is_to_be_stopped_starts_nothing() {
    let mut world = World::new(&[
        ("a.timer", "[Timer]\nOnActiveSec=30\n"),
        ("a.service", SERVICE),
        ("d.service", "[Unit]\nAfter=a.timer\nPartOf=a.timer\n[Service]\nExecStart=/bin/d\n"),
    ]);
    world.start("a.timer");
    world.start("d.service");
    // The stop of the timer waits for that of what is ordered after it.
    world.stop("a.timer");
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.pass(30.0);
    assert_eq!(world.live("a.service"), []);
    world.exit(world.only("d.service"), OK);
    assert_eq!(world.lines(), ["/bin/d"]);
    assert_eq!(world.state("a.timer"), "not there");
}

// ---- daemon-reload, and another manager --------------------------------------------------------------------------

#[test]
fn a_reload_brings_other_times() {
    let mut world = timer("OnActiveSec=60");
    world.pass(30.0);
    world.rewrite(&[("a.timer", Some("[Timer]\nOnActiveSec=90\n"))]);
    assert_runs_in(&mut world, 60.0);
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:30:00Z");
    world.rewrite(&[("a.timer", Some("[Timer]\nOnCalendar=*:45\n"))]);
    assert_eq!(next_run(&mut world), "2026-08-05T10:45:00Z");
    world.rewrite(&[("a.timer", Some("[Timer]\nOnActiveSec=1d\nOnCalendar=*:50\n"))]);
    assert_eq!(next_run(&mut world), "2026-08-05T10:50:00Z");
    // A file that cannot be used loses no time: what it was to do is due when it can be used again.
    world.rewrite(&[("a.timer", Some("[Timer]\n"))]);
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.rewrite(&[("a.timer", Some("[Timer]\nOnCalendar=*:55\n"))]);
    assert_eq!(next_run(&mut world), "2026-08-05T10:55:00Z");
}

#[test]
fn a_reload_while_the_unit_runs_changes_nothing_until_it_ends() {
    let mut world = timer("OnActiveSec=5");
    world.pass(5.0);
    world.rewrite(&[("a.timer", Some("[Timer]\nOnUnitInactiveSec=60\n"))]);
    assert_eq!(world.state("a.timer"), "active (running)");
    end(&mut world);
    assert_runs_in(&mut world, 60.0);
    // It starts another unit from now on: that of before is none of its business.
    let other = "[Timer]\nUnit=b.service\nOnUnitInactiveSec=90\n";
    world.rewrite(&[("a.timer", Some(other)), ("b.service", Some("[Service]\nExecStart=/bin/b\n"))]);
    assert_eq!(world.lines(), ["/bin/a"; 2], "a reload starts nothing");
    assert_eq!(world.state("a.timer"), "active (waiting)");
    world.pass(90.0);
    assert_eq!(world.lines()[2..], ["/bin/b"]);
}

#[test]
fn the_next_manager_waits_on() {
    let mut world = timer("OnStartupSec=60\nOnActiveSec=90\nOnUnitInactiveSec=1h");
    world.pass(30.0);
    world.replace_manager();
    assert_eq!(world.state("a.timer"), "active (waiting)");
    assert_runs_in(&mut world, 30.0);
    world.replace_manager();
    assert_eq!((runs(&world), world.state("a.timer").as_str()), (1, "active (running)"));
    world.pass(5.0);
    end(&mut world);
    // Ninety seconds after the start, though the unit ran then: that is over, and stays so.
    assert_runs_in(&mut world, 25.0);
    end(&mut world);
    world.replace_manager();
    assert_eq!(runs(&world), 2, "what was used up is known");
    assert_runs_in(&mut world, HOUR);
}

#[test]
fn what_was_due_while_there_was_no_manager_is_done_by_the_next() {
    let mut world = timer_at("OnCalendar=hourly", "2026-08-05T10:30:00Z");
    world.state.borrow_mut().now.monotonic += 3_600_000_000;
    turn_clock(&world, "2026-08-05T11:30:00Z");
    world.replace_manager();
    assert_eq!(runs(&world), 1);
    end(&mut world);
    // And the clock may be another one.
    turn_clock(&world, "2026-08-05T09:30:00Z");
    world.replace_manager();
    assert_eq!(next_run(&mut world), "2026-08-05T10:00:00Z");
}

#[test]
fn a_start_that_was_lost_with_the_manager_is_asked_for_again() {
    use ssi_manager::core::state::TimerState;
    // It had noted that it was time, and its unit has not been up since.
    let mut world = timer_at("OnCalendar=daily", "2026-08-05T10:30:00Z");
    let id = world.id("a.timer");
    world.pass(1.0);
    let now = world.state.borrow().now;
    let timer = world.core.unit_mut(id).runtime.kind.timer_mut();
    (timer.state, timer.last_trigger) = (TimerState::Running, now);
    world.replace_manager();
    assert_eq!(runs(&world), 1);
    end(&mut world);
    assert_eq!(world.state("a.timer"), "active (waiting)");
    // It has been up since.
    let id = world.id("a.timer");
    let timer = world.core.unit_mut(id).runtime.kind.timer_mut();
    (timer.state, timer.last_trigger) = (TimerState::Running, now);
    world.replace_manager();
    assert_eq!((runs(&world), world.state("a.timer").as_str()), (1, "active (waiting)"));
}
