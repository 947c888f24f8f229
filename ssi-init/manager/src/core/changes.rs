// SPDX-License-Identifier: GPL-2.0-or-later
//! What follows when a unit's state changed, and when a job came, went on or ended.

use ssi_unit::config::unit::EmergencyAction;
use ssi_unit::dependency::Atoms;

use super::state::ActiveState;
use super::system::Priority;
use super::{Core, Outgoing, kinds};
use crate::graph::UnitId;
use crate::job::{Change, Event, JobResult, JobType, UnitStates as _, upkeep};

impl Core {
    /// A unit is in another state, coarse or fine; its runtime has the new one. `reload_failed`: it is back from a
    /// reload that did not work.
    pub(super) fn state_changed(&mut self, id: UnitId, old: ActiveState, new: ActiveState, reload_failed: bool) {
        self.touch(id);
        if self.quiet {
            return;
        }
        self.note_times(id, old, new);
        let change = self.queue.unit_changed(&self.graph, &self.table, id, reload_failed);
        self.take_queue_events();
        if change == Change::Unexpected {
            for wish in upkeep::retroactive(&self.graph, &self.table, id, old, new) {
                self.wish_quietly(wish);
            }
        }
        if old != new && !self.table.will_restart(id) {
            if new == ActiveState::Failed {
                self.start_on(id, true);
            } else if new == ActiveState::Inactive && !old.is_inactive_or_failed() {
                self.start_on(id, false);
            }
        }
        self.to_look_at.extend(upkeep::to_look_at(&self.graph, id, new));
        if new.is_inactive_or_failed() {
            self.to_forget.insert(id);
        }
        self.tell_triggers(id);
        if new == ActiveState::Failed && old != new {
            let section = &self.unit(id).config.unit;
            let (action, argument) = (section.failure_action, section.reboot_argument.clone());
            let status = section.failure_action_exit_status.or_else(|| kinds::exit_status(self.unit(id)));
            self.act(id, action, "it failed", argument, status);
        } else if new == ActiveState::Inactive && !old.is_inactive_or_failed() {
            let section = &self.unit(id).config.unit;
            let (action, argument) = (section.success_action, section.reboot_argument.clone());
            let status = section.success_action_exit_status.or_else(|| kinds::exit_status(self.unit(id)));
            self.act(id, action, "it ended well", argument, status);
        }
    }

    /// The units that trigger this one look at it again.
    fn tell_triggers(&mut self, id: UnitId) {
        let triggers: Vec<UnitId> = self.graph.with(id, Atoms::TRIGGERED_BY).collect();
        for trigger in triggers {
            kinds::triggered_changed(self, trigger, id);
        }
    }

    fn note_times(&mut self, id: UnitId, old: ActiveState, new: ActiveState) {
        let now = self.now();
        let times = &mut self.unit_mut(id).runtime.times;
        if old == new {
            return;
        }
        times.state_change = now;
        let was_down = old.is_inactive_or_failed();
        let is_down = new.is_inactive_or_failed();
        if was_down && !is_down {
            times.inactive_exit = now;
        } else if !was_down && is_down {
            times.inactive_enter = now;
        }
        if !old.is_active_or_reloading() && new.is_active_or_reloading() {
            times.active_enter = now;
        } else if old.is_active_or_reloading() && !new.is_active_or_reloading() {
            times.active_exit = now;
        }
    }

    /// Has the machine do what a unit asks for at its end.
    pub(super) fn act(
        &mut self,
        id: UnitId,
        action: EmergencyAction,
        why: &str,
        argument: Option<String>,
        status: Option<u8>,
    ) {
        if action == EmergencyAction::None {
            return;
        }
        let reason = format!("{}: {why}", self.unit(id).name);
        self.sys.log(
            Priority::Emergency,
            None,
            &format!("{reason}; the machine does what its file asks for: {action}"),
        );
        self.out.push_back(Outgoing::Action { action, reason, argument, status });
    }

    /// Passes on what the queue has to tell.
    pub(super) fn take_queue_events(&mut self) {
        while let Some(event) = self.queue.pop_event() {
            self.queue_dirty = true;
            match event {
                Event::New { job, unit } => {
                    self.out.push_back(Outgoing::JobNew { job, unit });
                    self.touch(unit);
                }
                Event::Changed { job, .. } => self.out.push_back(Outgoing::JobChanged { job }),
                Event::HalfDone { unit, already, .. } => {
                    if !already {
                        self.log_job(unit, JobType::Restart, JobResult::Done);
                    }
                }
                Event::Removed { job, unit, kind, result, already } => {
                    self.clients.remove(&job);
                    if !already {
                        self.log_job(unit, kind, result);
                    }
                    let name = self.unit(unit).name.clone();
                    self.out.push_back(Outgoing::JobRemoved { job, unit: name, result });
                    self.touch(unit);
                    self.to_look_at.insert(unit);
                    self.to_forget.insert(unit);
                    self.tell_triggers(unit);
                }
                Event::StartOnFailure { unit } => self.start_on(unit, true),
            }
        }
    }

    /// The line that says how a job ended.
    fn log_job(&mut self, id: UnitId, kind: JobType, result: JobResult) {
        let what = self.unit(id).title().into_owned();
        let (done, verb) = match kind {
            JobType::Start => ("is up", "start"),
            JobType::Stop => ("is down", "stop"),
            JobType::Reload => ("has reloaded", "reload"),
            JobType::Restart => ("is down, to be started again", "restart"),
            JobType::VerifyActive | JobType::Nop => return,
        };
        let (priority, text) = match result {
            JobResult::Done if kind == JobType::Start && !self.unit(id).active().is_active_or_activating() => return,
            JobResult::Done => (Priority::Info, format!("{what} {done}")),
            JobResult::Canceled | JobResult::Collected | JobResult::Skipped => {
                (Priority::Debug, format!("{what}: the {verb} was not done ({})", result.word()))
            }
            _ => (Priority::Error, format!("{what}: the {verb} did not work ({})", result.word())),
        };
        self.log(priority, id, &text);
    }
}
