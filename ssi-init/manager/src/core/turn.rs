// SPDX-License-Identifier: GPL-2.0-or-later
//! Everything that can be done now is done: jobs run, deadlines pass, units are looked after, until all is quiet.

use super::entry::Entry;
use super::system::Priority;
use super::{Core, Deadline, kinds};
use crate::graph::UnitId;
use crate::job::{Reply, Task, TaskAct, UnitStates as _, Wish, upkeep};

/// How often a unit may be started or stopped because of how it stands to others, in how many microseconds: one that is
/// bound to what is down and upheld by what is up would change for ever.
const UPKEEP: (u64, u32) = (10_000_000, 16);

/// How often the units of `OnFailure=` or `OnSuccess=` of one unit may be started, in how many microseconds. One that
/// needs the unit it is started for would be started for ever.
const FOLLOWERS: (u64, u32) = (10_000_000, 64);
/// How many things are done before others get a turn: as many as no boot and no shutdown of a real system has. What
/// takes more goes round and round.
const STEPS: usize = 100_000;
/// How many units are started before what was done is put on record, and others get a turn: new processes wait for the
/// first of these.
const STARTS: usize = 64;
/// How long it is left alone then, in microseconds.
const PAUSE: u64 = 1_000_000;

impl Core {
    /// Does all that can be done now.
    pub fn settle(&mut self) {
        self.enter(&Entry::Settle);
        self.calm_down();
        self.leave();
    }

    fn calm_down(&mut self) {
        if self.paused_until.is_some_and(|until| until > self.now().monotonic) {
            return;
        }
        self.paused_until = None;
        let (mut steps, mut starts) = (0, 0);
        loop {
            if starts >= STARTS {
                // The rest at once, in a turn of its own.
                self.paused_until = Some(self.now().monotonic);
                break;
            }
            steps += 1;
            if steps > STEPS {
                let text = format!(
                    "{STEPS} steps and no end: units start and stop each other for ever; a pause of one second"
                );
                self.sys.log(Priority::Error, None, &text);
                self.paused_until = Some(self.now().monotonic.saturating_add(PAUSE));
                return;
            }
            self.load_pending();
            let now = self.now();
            if let Some(task) = self.queue.next(&self.graph, &self.table, now.monotonic) {
                self.take_queue_events();
                starts += usize::from(task.act == TaskAct::Start);
                self.perform(task);
            } else if let Some((id, which)) = self.deadlines.take_due(now) {
                self.due(id, which);
            } else if let Some(id) = self.to_look_at.pop_first() {
                self.look_after(id);
            } else if self.queue.next_deadline().is_some_and(|at| at <= now.monotonic) {
                self.expire_jobs(now.monotonic);
            } else if !self.tend_cluster() {
                break;
            }
        }
        self.cluster_is_tended();
        let clients = &self.clients;
        self.queue.collect(&self.graph, &self.table, |job| clients.contains_key(&job));
        self.take_queue_events();
        self.forget_unused();
    }

    fn due(&mut self, id: UnitId, which: Deadline) {
        if self.table.contains(id) {
            kinds::deadline(self, id, which);
        }
    }

    fn expire_jobs(&mut self, now: u64) {
        let units = self.queue.expire(&self.graph, &self.table, now);
        self.take_queue_events();
        for id in units {
            self.log(Priority::Error, id, "its job took too long and was given up");
            let section = &self.table.get(id).config.unit;
            let (action, argument) = (section.job_timeout_action, section.job_timeout_reboot_argument.clone());
            self.act(id, action, "a job of it timed out", argument, None);
        }
    }

    fn look_after(&mut self, id: UnitId) {
        let Some(wish) = upkeep::look_at(&self.graph, &self.table, &self.queue, id) else { return };
        let now = self.now().monotonic;
        if !self.table.get_mut(id).upkeep.allows(now, Some(UPKEEP.0), UPKEEP.1) {
            self.log(Priority::Warning, id, "is started or stopped for others too often; it is left as it is");
            return;
        }
        self.wish_quietly(wish);
    }

    /// Tells a unit what its job wants.
    fn perform(&mut self, task: Task) {
        let id = task.unit;
        let reply = match task.act {
            TaskAct::Start => self.start(id),
            TaskAct::Stop => self.stop(id),
            TaskAct::Reload => self.reload(id),
        };
        self.queue.reply(&self.graph, &self.table, task.job, reply);
        self.take_queue_events();
        self.queue_dirty = true;
    }

    /// Whether a unit may start now, in the order systemd looks at it; then its start.
    fn start(&mut self, id: UnitId) -> Reply {
        if !self.unit(id).is_loaded() {
            return Reply::Invalid;
        }
        let active = self.unit(id).active();
        if active.is_active_or_reloading() {
            return Reply::Already;
        }
        if active == super::state::ActiveState::Maintenance {
            return Reply::NotYet;
        }
        if let Some(reply) = self.refused_by_cluster(id) {
            return reply;
        }
        if kinds::once_only(self.unit(id)) && self.unit(id).runtime.times.inactive_enter.is_set() {
            return Reply::OnlyOnce;
        }
        let activating = active == super::state::ActiveState::Activating;
        if !activating && kinds::limits_starts(self.unit(id)) && !self.within_start_limit(id) {
            return Reply::Failed;
        }
        if !activating && !self.evaluate(id, false) {
            return Reply::ConditionFailed;
        }
        if !self.evaluate(id, true) {
            return Reply::AssertFailed;
        }
        if !kinds::supported(self, id) {
            return Reply::Unsupported;
        }
        if let Some(missing) = upkeep::missing_at_start(&self.graph, &self.table, id) {
            let text = format!("cannot start: it is bound to {}, which is not up", self.unit(missing).name);
            self.log(Priority::Notice, id, &text);
            return Reply::DependencyMissing;
        }
        if let Some(other) = kinds::following(self, id) {
            return self.start(other);
        }
        if !self.table.can_start(id) {
            return Reply::NotApplicable;
        }
        kinds::start(self, id)
    }

    fn stop(&mut self, id: UnitId) -> Reply {
        if self.unit(id).active().is_inactive_or_failed() {
            return Reply::Already;
        }
        if let Some(other) = kinds::following(self, id) {
            return self.stop(other);
        }
        if !self.table.can_stop(id) {
            return Reply::NotApplicable;
        }
        self.note_stop_of_clusters(id);
        kinds::stop(self, id)
    }

    fn reload(&mut self, id: UnitId) -> Reply {
        use super::state::ActiveState;
        if !self.unit(id).is_loaded() {
            return Reply::Invalid;
        }
        match self.unit(id).active() {
            ActiveState::Reloading => return Reply::NotYet,
            ActiveState::Active => {}
            _ => {
                self.log(Priority::Warning, id, "cannot be reloaded: it is not up");
                return Reply::Invalid;
            }
        }
        if let Some(other) = kinds::following(self, id) {
            return self.reload(other);
        }
        if !self.table.can_reload(id) {
            // What only passes its reload on has nothing to do itself.
            return Reply::Already;
        }
        kinds::reload(self, id)
    }

    /// Looks at the conditions, or the assertions.
    fn evaluate(&mut self, id: UnitId, asserts: bool) -> bool {
        let config = std::rc::Rc::clone(&self.unit(id).config);
        let list = if asserts { &config.unit.asserts } else { &config.unit.conditions };
        let evaluation = self.sys.evaluate(list);
        let holds = evaluation.holds;
        let now = self.now();
        let unit = self.unit_mut(id);
        unit.evaluations[usize::from(asserts)] = Some(evaluation);
        let runtime = &mut unit.runtime;
        if asserts {
            runtime.assertions_hold = holds;
            runtime.times.assertion = now;
        } else {
            runtime.conditions_hold = holds;
            runtime.times.condition = now;
        }
        if !holds {
            let (priority, text) = if asserts {
                (Priority::Error, "cannot start: an assertion does not hold")
            } else {
                (Priority::Info, "is skipped: a condition does not hold")
            };
            self.log(priority, id, text);
        }
        holds
    }

    /// Counts a start against `StartLimitBurst=`; whether it is within the limit.
    fn within_start_limit(&mut self, id: UnitId) -> bool {
        let now = self.now().monotonic;
        let unit = self.unit_mut(id);
        let section = &unit.config.unit;
        let (interval, burst) = (section.start_limit_interval.map(super::usec), section.start_limit_burst);
        let (action, argument) = (section.start_limit_action, section.reboot_argument.clone());
        if unit.runtime.starts.allows(now, interval, burst) {
            unit.runtime.start_limit_hit = false;
            return true;
        }
        unit.runtime.start_limit_hit = true;
        self.log(Priority::Warning, id, "was started too often in too short a time; it is not started again before `systemctl reset-failed`, or a while");
        self.act(id, action, "it was started too often", argument, None);
        kinds::start_limit_hit(self, id);
        false
    }

    /// Forgets a failure, and how often the unit was started.
    pub fn reset_failed(&mut self, id: UnitId) {
        self.enter_unit(id, Entry::ResetFailed);
        kinds::reset_failed(self, id);
        let unit = self.unit_mut(id);
        unit.runtime.starts.reset();
        unit.runtime.start_limit_hit = false;
        self.touch(id);
        self.to_forget.insert(id);
        self.leave();
    }

    /// Starts the units of `OnFailure=` or `OnSuccess=`.
    pub(super) fn start_on(&mut self, id: UnitId, failure: bool) {
        use ssi_unit::dependency::Atoms;
        let section = &self.unit(id).config.unit;
        let (atom, mode) = if failure {
            (Atoms::ON_FAILURE, section.on_failure_job_mode)
        } else {
            (Atoms::ON_SUCCESS, section.on_success_job_mode)
        };
        let units: Vec<UnitId> = self.graph.with(id, atom).collect();
        if units.is_empty() {
            return;
        }
        let now = self.now().monotonic;
        if !self.table.get_mut(id).followers.allows(now, Some(FOLLOWERS.0), FOLLOWERS.1) {
            let setting = if failure { "OnFailure=" } else { "OnSuccess=" };
            self.log(Priority::Warning, id, &format!("the units of {setting} were started too often; not this time"));
            return;
        }
        for unit in units {
            self.wish_quietly(Wish { unit, request: crate::job::Request::Start, mode, manual: false });
        }
    }
}
