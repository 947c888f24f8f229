// SPDX-License-Identifier: GPL-2.0-or-later
//! Instances are started, stopped and killed as the guard has it, and it is found that they have ended.
//!
//! All of it goes by how things are, not by what happened: it is looked at in each turn, and a manager that takes over
//! from another goes on by itself.

use ssi_cluster::placement::Instance;
use ssi_cluster::scope::guard::Act;
use ssi_cluster::scope::manager::unit_of;
use ssi_cluster::scope::{Ended, Run};
use ssi_unit::dependency::Dependency;
use ssi_unit::name::{UnitName, UnitType};

use crate::core::state::ActiveState;
use crate::core::system::{Except, Priority};
use crate::core::{Core, Outgoing};
use crate::graph::UnitId;
use crate::job::{JobMode, Request, UnitStates as _, Wish};

const KILL: i32 = 9;

impl Core {
    /// Does what is to be done about the cluster's units now; whether there was something.
    pub(in crate::core) fn tend_cluster(&mut self) -> bool {
        let cluster = &self.cluster;
        if cluster.scoped.is_empty() && cluster.said.is_none() {
            return false;
        }
        let mut did = self.find_ended();
        did |= self.stop_what_is_not_granted();
        let now_ms = self.sys.boottime_ms();
        let acts = self.cluster.guard.act(now_ms);
        did |= !acts.is_empty();
        for act in acts {
            self.cluster.dirty = true;
            match act {
                Act::Start(run) => self.start_instance(&run),
                Act::Stop(instance) => self.stop_instance(&instance),
                Act::Kill(instance) => self.kill_instance(&instance),
                Act::LetBite(instance) => {
                    let text = format!(
                        "{instance} has not ended and other nodes are about to start it: the watchdog is left alone and resets this machine"
                    );
                    self.sys.log(Priority::Emergency, None, &text);
                }
            }
        }
        did
    }

    /// All is quiet: when to look again, and whether somebody is to be told.
    pub(in crate::core) fn cluster_is_tended(&mut self) {
        if self.cluster.scoped.is_empty() && self.cluster.said.is_none() {
            return;
        }
        let (now, now_ms) = (self.now().monotonic, self.sys.boottime_ms());
        let due = self.cluster.guard.next_ms();
        self.cluster.due = due.map(|at| now.saturating_add(at.saturating_sub(now_ms).saturating_mul(1000)));
        let says = self.cluster_says();
        if self.cluster.said.as_ref() != Some(&says) {
            self.cluster.said = Some(says);
            self.cluster.dirty = true;
            self.out.push_back(Outgoing::ClusterSays);
        }
    }

    fn unit_of_instance(&self, instance: &Instance) -> Option<UnitId> {
        self.table.find(&UnitName::new(&unit_of(instance)).ok()?)
    }

    /// Finds instances that have ended, and has parts stopped whose whole has ended by itself.
    fn find_ended(&mut self) -> bool {
        let mut did = false;
        for run in self.cluster.guard.runs() {
            let ended = match self.unit_of_instance(&run.instance) {
                Some(id) => self.ended(id, &run, &mut did),
                None => Some(Ended::Failed),
            };
            if let Some(ended) = ended {
                let cluster = &mut self.cluster;
                cluster.guard.ended(&run.instance, ended);
                cluster.begun.remove(&run.instance);
                cluster.swept.remove(&run.instance);
                cluster.dirty = true;
                did = true;
            }
        }
        did
    }

    fn is_at_rest(&self, id: UnitId) -> bool {
        self.unit(id).active().is_inactive_or_failed()
            && self.queue.job_of(id).is_none()
            && !self.table.will_restart(id)
    }

    fn ended(&mut self, id: UnitId, run: &Run, did: &mut bool) -> Option<Ended> {
        if !self.is_at_rest(id) {
            return None;
        }
        let parts = self.parts(id);
        let mut all = true;
        for part in &parts {
            if self.is_at_rest(*part) {
                continue;
            }
            all = false;
            // While its socket is open there is more to come, which it answers.
            let openers = self.graph.edges(*part, Dependency::TriggeredBy).iter().map(|edge| edge.to);
            if openers.into_iter().any(|by| parts.contains(&by) && !self.is_at_rest(by)) {
                continue;
            }
            if self.queue.job_of(*part).is_none() && !self.unit(*part).active().is_inactive_or_deactivating() {
                // The whole has failed, and that stops nothing that is only part of it.
                *did |= self.wish_quietly(stop(*part));
            }
        }
        if !all {
            return None;
        }
        let members: Vec<UnitId> = parts.into_iter().chain([id]).collect();
        if members.iter().any(|member| self.group_populated(*member)) {
            // What a unit leaves behind at its end (`KillMode=`) would run beside the next instance.
            if self.cluster.swept.insert(run.instance.clone()) {
                self.kill_members(&members, "is left over of what moves on");
            }
            return None;
        }
        Some(self.how_it_ended(id, run))
    }

    fn how_it_ended(&mut self, id: UnitId, run: &Run) -> Ended {
        let begun = self.cluster.begun.get(&run.instance).copied().unwrap_or_default();
        let unit = self.unit(id);
        let ran = unit.runtime.times.inactive_exit.monotonic >= begun.at;
        if unit.active() == ActiveState::Failed {
            return Ended::Failed;
        }
        if begun.by_hand || self.is_going_down() || self.cluster.guard.is_stopping(&run.instance) {
            return Ended::Stopped;
        }
        // Only these end by themselves when they have done what they are for.
        let ends = matches!(unit.unit_type(), UnitType::Service | UnitType::Timer);
        if ran && ends && !begun.by_job {
            return Ended::Through;
        }
        let why = match (ran, begun.by_job) {
            (false, _) => "did not come up here",
            (_, true) => "was stopped here because of another unit",
            _ => "went away by itself",
        };
        self.log(Priority::Warning, id, &format!("{why}: the cluster looks for another node"));
        Ended::Failed
    }

    /// A unit of the cluster that runs without a grant (its file has said so only since, or somebody mounted something)
    /// is stopped: it may be running elsewhere.
    fn stop_what_is_not_granted(&mut self) -> bool {
        let mut did = false;
        let names: Vec<UnitName> = self.cluster.scoped.iter().cloned().collect();
        for id in names.iter().filter_map(|name| self.table.find(name)).collect::<Vec<_>>() {
            if !self.is_clusters(id) || self.held_instance(id).is_some() {
                continue;
            }
            for member in self.parts(id).into_iter().chain([id]) {
                let up = matches!(
                    self.unit(member).active(),
                    ActiveState::Active | ActiveState::Reloading | ActiveState::Activating
                );
                if up && self.queue.job_of(member).is_none() {
                    self.log(Priority::Warning, member, "runs without the cluster's grant, and is stopped");
                    did |= self.wish_quietly(stop(member));
                }
            }
            let service = super::service_of(self.unit(id));
            if did {
                self.ask(service, ssi_cluster::scope::manager::What::Pull);
            }
        }
        did
    }

    fn start_instance(&mut self, run: &Run) {
        let name = unit_of(&run.instance);
        let id = self.load_for_cluster(&name);
        let at = self.now().monotonic;
        self.cluster.begun.insert(run.instance.clone(), super::Begun { at, ..super::Begun::default() });
        let refused = match id {
            Some(id) if self.is_clusters(id) && self.unit(id).is_loaded() => None,
            Some(_) => Some("its unit file is missing here, or does not say that it is the cluster's"),
            None => Some("that is no unit's name"),
        };
        if let Some(why) = refused {
            self.sys.log(
                Priority::Error,
                None,
                &format!("{name} is granted to this node and cannot be started: {why}"),
            );
            self.cluster.guard.ended(&run.instance, Ended::Failed);
            self.cluster.begun.remove(&run.instance);
            return;
        }
        let Some(id) = id else { return };
        self.log(Priority::Info, id, &format!("is granted to this node: view {}, grant {}", run.view.0, run.grant));
        // What happened under an earlier grant is over.
        self.reset_failed(id);
        let wish = Wish { unit: id, request: Request::Start, mode: JobMode::Replace, manual: false };
        let going_down = self.is_going_down();
        if going_down || !self.wish_quietly(wish) {
            let ended = if going_down { Ended::Stopped } else { Ended::Failed };
            self.cluster.guard.ended(&run.instance, ended);
            self.cluster.begun.remove(&run.instance);
        }
    }

    fn stop_instance(&mut self, instance: &Instance) {
        let Some(id) = self.unit_of_instance(instance) else { return };
        self.log(Priority::Info, id, "is stopped here: the cluster does not run it on this node any more");
        self.wish_quietly(stop(id));
    }

    fn kill_instance(&mut self, instance: &Instance) {
        let Some(id) = self.unit_of_instance(instance) else { return };
        let members: Vec<UnitId> = self.parts(id).into_iter().chain([id]).collect();
        self.kill_members(&members, "takes too long to stop, and other nodes wait for it");
    }

    fn kill_members(&mut self, members: &[UnitId], why: &str) {
        for id in members {
            if !self.group_populated(*id) {
                continue;
            }
            self.log(Priority::Warning, *id, &format!("{why}: its processes are killed"));
            let Some(group) = self.unit(*id).runtime.cgroup.clone() else { continue };
            if let Err(error) = self.sys.kill_group(&group, KILL, &Except::default()) {
                self.log(Priority::Error, *id, &error.to_string());
            }
        }
    }

    /// A job is about to stop a unit of the cluster.
    pub(in crate::core) fn note_stop_of_clusters(&mut self, id: UnitId) {
        if self.cluster.scoped.is_empty() || self.has_restart_job(id) {
            return;
        }
        if let Some(instance) = self.held_instance(id) {
            self.cluster.begun.entry(instance).or_default().by_job = true;
            self.cluster.dirty = true;
        }
    }

    /// Has the instances of a unit that run here started anew, under the grants they have.
    pub(super) fn restart_here(&mut self, service: &str) {
        for run in self.cluster.guard.runs().iter().filter(|run| run.instance.unit == service) {
            if let Some(id) = self.unit_of_instance(&run.instance) {
                self.wish_quietly(Wish { unit: id, request: Request::Restart, mode: JobMode::Replace, manual: false });
            }
        }
    }
}

fn stop(unit: UnitId) -> Wish {
    Wish { unit, request: Request::Stop, mode: JobMode::Replace, manual: false }
}
