// SPDX-License-Identifier: GPL-2.0-or-later
//! The main loop: one thing that happened at a time, and all that follows from it, before the next.
//!
//! ```text
//!   something happened ──▶ Core::handle ──▶ finish_turn: clients are told (queued) ─▶ state is committed
//!                                              ─▶ exits are acknowledged, messages read away, new processes begin
//!                                              ─▶ answers go out
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ssi_bus::{Bus, Incoming};
use ssi_keep::exits::Heard;
use ssi_keep::link::{EndedBy, Event as FromProcess1, Exit as Ended, How};
use ssi_launch::cgroup::GroupEvent;
use ssi_manager::core::system::{Exit, Pid, Priority};
use ssi_manager::core::{Core, Event, Outgoing};
use ssi_manager::job::JobMode;

use crate::dead_man::Switch;
use crate::endings::{self, Asked, End};
use crate::host::Host;
use crate::machine::{Inner, now};
use crate::memory::Whole;
use crate::poller::Source;
use crate::readable::readable;

/// siginfo_t's `si_code` of SIGCHLD, waitid(2).
mod child {
    pub(super) const EXITED: i32 = 1;
    pub(super) const DUMPED: i32 = 3;
}

/// The longest sleep: so that a mistake in a deadline is a delay and not the end.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked whether starting processes of an earlier manager run their programs, and those that wait for its
/// word are told to go on.
const UNHEARD: Duration = Duration::from_millis(20);
/// How long clients may take to hear the last that this manager says.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Signals to process 1 in one turn of the loop: they are bounded there as well.
const LINK_EVENTS: usize = 64;

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum Over {
    /// The program is to be executed anew.
    Reexecute,
    /// The manager ends with this status.
    Exit(u8),
}

/// All of it.
pub(crate) struct Manager {
    pub(crate) core: Core,
    pub(crate) inner: Rc<RefCell<Inner>>,
    pub(crate) bus: Bus,
    pub(crate) whole: Whole,
    pub(crate) host: Host,
    pub(crate) dead_man: Switch,
    pub(crate) over: Option<Over>,
}

impl Manager {
    /// Runs until the manager is to end.
    ///
    /// # Errors
    /// What this process cannot go on with: its state could not be kept, or process 1 has let go of it. Process 1 starts
    /// the next one.
    pub(crate) async fn run(mut self) -> Result<Self> {
        let poller = self.inner.borrow().poller.as_fd().try_clone_to_owned().context("watching descriptors")?;
        let poller = readable(poller).context("watching descriptors")?;
        // What was handed over, or happened while there was no manager, is told by a descriptor that is ready already.
        self.finish_turn()?;
        loop {
            let sleep = self.sleep();
            tokio::select! {
                ready = poller.readable() => {
                    let mut ready = ready.context("watching descriptors")?;
                    let sources = self.inner.borrow().poller.ready();
                    if sources.is_empty() {
                        ready.clear_ready();
                    }
                    for source in sources {
                        self.look_at(source)?;
                    }
                }
                incoming = self.bus.next() => self.client(incoming)?,
                () = tokio::time::sleep(sleep) => {
                    self.inner.borrow_mut().release_orphaned();
                    let executed = self.inner.borrow_mut().executed_unheard();
                    for pid in executed {
                        self.core.handle(Event::Executed { pid });
                    }
                    self.core.handle(Event::Tick);
                    self.finish_turn()?;
                }
            }
            self.inner.borrow_mut().link.tick(Instant::now()).context("telling process 1 that the manager lives")?;
            // One turn may lead to the next at once, for long: what clients were told is written in between.
            tokio::task::yield_now().await;
            if self.over.is_some() {
                self.bus.drained(LAST_WORDS).await;
                return Ok(self);
            }
        }
    }

    /// Until when there is nothing to do unless something happens.
    fn sleep(&self) -> Duration {
        let (monotonic, realtime) = self.core.next_due();
        let now = now();
        let spans =
            [monotonic.map(|at| at.saturating_sub(now.monotonic)), realtime.map(|at| at.saturating_sub(now.realtime))];
        let next = spans.into_iter().flatten().min().map_or(LONGEST, Duration::from_micros);
        let link = self.inner.borrow().link.next_deadline();
        let link = link.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
        let inner = self.inner.borrow();
        let unheard = if inner.unheard.is_empty() && inner.orphaned.is_empty() { LONGEST } else { UNHEARD };
        next.min(link).min(unheard)
    }

    fn client(&mut self, incoming: Incoming) -> Result<()> {
        self.bus.handle(&mut self.core, &mut self.host, incoming);
        if let Some(asked) = self.host.take_asked() {
            self.answer(asked)?;
        }
        if let Some(how) = self.host.take_end() {
            self.end(how, None, None)?;
        }
        self.finish_turn()
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        self.core.handle(event);
        self.finish_turn()
    }

    fn look_at(&mut self, source: Source) -> Result<()> {
        let events = match source {
            Source::Link => return self.process1(),
            Source::Groups => {
                let events = self.inner.borrow_mut().groups_watch.events();
                let event = |event| match event {
                    GroupEvent::Empty(group) => Event::GroupEmpty(group),
                    GroupEvent::OutOfMemory(group) => Event::OutOfMemory(group),
                };
                events.into_iter().map(event).collect()
            }
            Source::Report(pid) => {
                let runs = self.inner.borrow_mut().reported(pid);
                if runs { vec![Event::Executed { pid: Pid(pid) }] } else { vec![] }
            }
            Source::Notify => return self.notified(),
            Source::Stored(number) => {
                let key = self.inner.borrow().stored.get(&number).cloned();
                key.map(Event::StoredGone).into_iter().collect()
            }
            other => self.inner.borrow_mut().kernel_events(other),
        };
        for event in events {
            self.handle(event)?;
        }
        Ok(())
    }

    /// Messages are read away only once what they say is on record: the next manager would not hear them again.
    fn notified(&mut self) -> Result<()> {
        loop {
            let message = self.inner.borrow_mut().peek_notification();
            let Some(message) = message else { return Ok(()) };
            if let Some(message) = message {
                self.core.handle(Event::Notified(message));
            }
            self.finish_turn()?;
            self.inner.borrow_mut().consume_notification();
        }
    }

    fn process1(&mut self) -> Result<()> {
        for _ in 0..LINK_EVENTS {
            let event = self.inner.borrow_mut().link.receive().context("hearing process 1")?;
            let Some(event) = event else { break };
            match event {
                FromProcess1::Exit(exit) => self.ended(&exit)?,
                FromProcess1::Signal(signal) => {
                    let from = if signal.pid > 0 { format!(" from process {}", signal.pid) } else { String::new() };
                    let asked = endings::asked(signal.number);
                    let text = format!("process 1 got signal {}{from}: {asked:?}", signal.number);
                    self.inner.borrow_mut().log(Priority::Debug, None, &text);
                    self.answer(asked)?;
                    self.finish_turn()?;
                }
                FromProcess1::SnapshotHeld => {
                    self.inner.borrow_mut().memory.log.held();
                    self.finish_turn()?;
                }
                FromProcess1::SnapshotRefused(refusal) => {
                    let mut inner = self.inner.borrow_mut();
                    inner.memory.log.not_held();
                    inner.log(Priority::Error, None, &format!("process 1 did not take the log of states: {refusal:?}"));
                }
                FromProcess1::Refused(refusal) => {
                    let container = self.host.settings.surroundings.container;
                    if !self.dead_man.refused(&mut self.core, refusal, container) {
                        let text = format!("process 1 refused something: {refusal:?}");
                        self.inner.borrow_mut().log(Priority::Error, None, &text);
                    }
                }
                FromProcess1::Unreadable(bad) => {
                    self.inner.borrow_mut().log(
                        Priority::Warning,
                        None,
                        &format!("process 1 said what is not understood: {bad}"),
                    );
                }
                FromProcess1::Pong(_) => {}
            }
        }
        Ok(())
    }

    fn ended(&mut self, exit: &Ended) -> Result<()> {
        let known = self.inner.borrow().memory.exits.heard(exit);
        if let (Heard::New, Ok(pid)) = (known, u32::try_from(exit.pid)) {
            let status = match exit.code {
                child::EXITED => Exit::Code(exit.status as u8),
                child::DUMPED => Exit::Dumped(exit.status),
                _ => Exit::Signal(exit.status),
            };
            // Its last words come before its end.
            if self.inner.borrow_mut().reported(pid) {
                self.core.handle(Event::Executed { pid: Pid(pid) });
            }
            for source in [Source::Mounts, Source::Swaps] {
                // mount(8) and swapon(8) have changed the kernel's tables by the time they end.
                let events = self.inner.borrow_mut().kernel_events(source);
                for event in events {
                    self.core.handle(event);
                }
            }
            // What a process said last, as that it is ready, counts for more than that it is gone.
            self.notified()?;
            self.core.handle(Event::Exited { pid: Pid(pid), exit: status });
        }
        {
            let inner = &mut *self.inner.borrow_mut();
            inner.memory.exits.decided(&mut inner.memory.log, exit.seq).context("writing down that a process ended")?;
        }
        self.finish_turn()
    }

    /// What a signal, or a client, asks of the manager as a whole.
    fn answer(&mut self, asked: Asked) -> Result<()> {
        match asked {
            Asked::Start(unit, mode) => {
                endings::start(&mut self.core, unit, mode);
            }
            Asked::Reload => self.host.read_again(&mut self.core),
            Asked::Reexecute => self.over = Some(Over::Reexecute),
            Asked::Bus => self.bus.connect_system_bus(),
            Asked::Dump => {
                for line in self.host.snapshot(&self.core, &[]).to_string().lines() {
                    self.core.sys.log(Priority::Info, None, line);
                }
            }
            Asked::Debug(on) => self.inner.borrow_mut().journal.set_debug(on),
            Asked::Nothing => {}
        }
        Ok(())
    }

    /// Commits what was decided, and only then tells anybody.
    fn finish_turn(&mut self) -> Result<()> {
        let outgoing = self.core.take_outgoing();
        for one in &outgoing {
            if let Outgoing::Action { action, reason, argument, status } = one {
                self.act(*action, reason, argument.as_deref(), *status)?;
            }
        }
        self.note_boot();
        self.host.tend_recording()?;
        if outgoing.iter().any(|one| matches!(one, Outgoing::UnitNew(_) | Outgoing::UnitRemoved { .. })) {
            self.bus.names_wanted(bus_names(&self.core));
        }
        self.bus.tell(&self.core, &outgoing);
        if self.core.queue.is_empty() {
            // Those that waited for quiet may go on.
            self.inner.borrow_mut().idle = None;
        }
        // Before what was granted begins to run.
        let inner = Rc::clone(&self.inner);
        self.dead_man.turn(&mut self.core, &mut inner.borrow_mut())?;
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        self.whole.environment.clone_from(&inner.environment);
        if !self.bus.subscribers().eq(self.whole.subscribers.iter().map(String::as_str)) {
            self.whole.subscribers = self.bus.subscribers().map(str::to_owned).collect();
        }
        inner.memory.put(&mut self.core, &self.whole)?;
        for seq in inner.memory.commit()? {
            inner.link.ack(seq).context("acknowledging an exit")?;
        }
        inner.release();
        inner.memory.tend(&mut inner.link)?;
        inner.kept.tell_late(&mut inner.link).context("telling process 1 what to keep")?;
        let write = inner.link.interest().write;
        inner.poller.set(Source::Link, inner.link.as_fd(), write).context("watching process 1")?;
        if let Some(error) = inner.broken.take() {
            return Err(error);
        }
        self.bus.flush();
        Ok(())
    }

    /// The boot is done when the jobs it began with are.
    fn note_boot(&mut self) {
        if !self.core.finished_starting && self.core.queue.is_empty() {
            self.core.finished_starting = true;
            let moment = now();
            self.whole.finished = Some(moment);
            self.host.finished(moment);
            self.bus.startup_finished(&self.host);
            let took = moment.monotonic.saturating_sub(self.whole.started.monotonic);
            let text = format!("boot is done, {:.3} s after process 1 began", took as f64 / 1e6);
            self.core.sys.log(Priority::Info, None, &text);
        }
        let bus_is_up = startup_bus_is_up(&self.core);
        if bus_is_up != self.host.bus_was_up {
            self.host.bus_was_up = bus_is_up;
            if bus_is_up {
                self.bus.connect_system_bus();
            } else {
                self.bus.disconnect_system_bus(&mut self.core);
            }
        }
    }

    fn act(
        &mut self,
        action: ssi_unit::config::unit::EmergencyAction,
        reason: &str,
        argument: Option<&str>,
        status: Option<u8>,
    ) -> Result<()> {
        match endings::end_of(action) {
            End::None => {}
            End::Unit(unit) => {
                if !endings::start(&mut self.core, unit, JobMode::ReplaceIrreversibly) && unit == "exit.target" {
                    self.end(How::Exit, argument, status)?;
                }
            }
            End::Now(how) => {
                self.core.sys.log(Priority::Notice, None, &format!("{reason}: {}", how.word()));
                self.end(how, argument, status)?;
            }
            End::Immediate(how) => {
                self.core.sys.log(Priority::Emergency, None, &format!("{reason}: {} at once", how.word()));
                self.host.immediately(how);
                // It did not work, or this is no machine of ours.
                self.end(how, argument, status)?;
            }
        }
        Ok(())
    }

    /// Units are down: the rest is process 1's.
    pub(crate) fn end(&mut self, how: How, argument: Option<&str>, status: Option<u8>) -> Result<()> {
        let status = status.unwrap_or_else(|| self.host.exit_status());
        let ended = self.inner.borrow_mut().link.shutdown(how, status, argument.map(str::as_bytes));
        match ended.context("asking process 1 to end the machine")? {
            // It kills this process when it is its turn.
            EndedBy::Process1 => {}
            EndedBy::Itself(status) => self.over = Some(Over::Exit(status)),
        }
        Ok(())
    }
}

/// Whether the system bus is served.
fn startup_bus_is_up(core: &Core) -> bool {
    let up = |name| core.unit_there(name).is_ok_and(|id| core.unit(id).active().is_active_or_reloading());
    up("dbus.service") || up("dbus-broker.service")
}

/// The names on the bus that services have as theirs.
fn bus_names(core: &Core) -> BTreeSet<String> {
    core.table.iter().filter_map(|unit| unit.config.service()?.bus_name.clone()).collect()
}
