// SPDX-License-Identifier: GPL-2.0-or-later
//! The unit that a timer starts, and a timer over daemon-reload and another manager.

use crate::double::World;
use ssi_manager::core::timer::TimerResult;
use ssi_manager::job::JobResult;

use crate::{HOUR, OK, SERVICE, assert_runs_in, due, end, hold, next_run, result, runs, timer, timer_at, turn_clock};

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
