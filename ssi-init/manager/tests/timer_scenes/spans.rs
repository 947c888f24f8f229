// SPDX-License-Identifier: GPL-2.0-or-later
//! What is counted from a moment: of the boot, of the manager, of the timer, of its unit.

use crate::double::World;
use ssi_manager::core::timer::TimerResult;
use ssi_manager::job::JobResult;
use ssi_manager::job::Request;
use ssi_unit::implicit::Surroundings;

use crate::{HOUR, MINUTE, SERVICE, assert_runs_in, count, end, files, hold, result, runs, set_clock, timer};

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
