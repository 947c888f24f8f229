// SPDX-License-Identifier: GPL-2.0-or-later
//! Timers: their unit is started when it is time, once, whatever happens to the clock and to the manager meanwhile.

#[path = "../double/mod.rs"]
mod double;

mod calendar;
mod life;
mod spans;

use double::World;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ssi_manager::core::system::Exit;
use ssi_manager::core::timer::TimerResult;
use ssi_manager::core::{Deadline, Event};

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

/// Keeps the timer in the table when it is down.
fn hold(world: &mut World) {
    let id = world.id("a.timer");
    world.core.unit_mut(id).runtime.held_by.insert("a client".to_owned());
}
