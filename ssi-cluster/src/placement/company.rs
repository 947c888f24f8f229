// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that are to run with or apart from other units.
//!
//! The one that names another gives way: the other is placed first, and only keeps off nodes where something runs that is
//! to run apart from it, if it has the choice. Of units that name each other in a ring, the one that is placed first does
//! as if it named none of those that are placed after it; which is first depends on the names alone.

use std::collections::{BTreeMap, BTreeSet};

use super::UnitWish;
use crate::NodeId;

/// What the other units mean for the nodes of one.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Only on these, if there are any.
    pub(super) only: Option<BTreeSet<NodeId>>,
    /// On none of these.
    pub(super) never: BTreeSet<NodeId>,
    /// On these only if there is no other.
    pub(super) rather_not: BTreeSet<NodeId>,
}

/// Who names whom, and where those are that are named.
pub(super) struct Company<'a> {
    wishes: &'a BTreeMap<&'a str, &'a UnitWish>,
    /// Where the units of this pass are that others name.
    placed: BTreeMap<&'a str, BTreeSet<NodeId>>,
    /// Where units run that are to run apart from one, by that one's name.
    avoided_by: BTreeMap<&'a str, BTreeSet<NodeId>>,
    named: BTreeSet<&'a str>,
}

/// Whom a unit names but itself.
fn others(wish: &UnitWish) -> impl Iterator<Item = &str> {
    wish.with.iter().chain(&wish.apart).map(String::as_str).filter(|other| *other != wish.name)
}

impl<'a> Company<'a> {
    pub(super) fn new(
        wishes: &'a BTreeMap<&'a str, &'a UnitWish>,
        running: &BTreeMap<&str, BTreeMap<u32, NodeId>>,
    ) -> Self {
        let mut company = Self { wishes, placed: BTreeMap::new(), avoided_by: BTreeMap::new(), named: BTreeSet::new() };
        for (name, wish) in wishes {
            company.named.extend(others(wish));
            for other in wish.apart.iter().filter(|other| *other != name) {
                let nodes = running.get(name).into_iter().flat_map(BTreeMap::values);
                company.avoided_by.entry(other).or_default().extend(nodes);
            }
        }
        company
    }

    pub(super) fn is_any(&self) -> bool {
        !self.named.is_empty()
    }

    /// The units, each after those it names.
    pub(super) fn order<'n>(&self, names: BTreeSet<&'n str>) -> Vec<&'n str>
    where
        'a: 'n,
    {
        if !self.is_any() {
            return names.into_iter().collect();
        }
        let mut order = Vec::with_capacity(names.len());
        let mut entered = BTreeSet::new();
        for name in &names {
            let mut stack = vec![(*name, false)];
            while let Some((name, leaves)) = stack.pop() {
                if leaves {
                    order.push(name);
                } else if entered.insert(name) {
                    stack.push((name, true));
                    let before: BTreeSet<&str> =
                        self.wishes.get(name).into_iter().flat_map(|wish| others(wish)).collect();
                    // The last is taken up first.
                    stack.extend(
                        before.into_iter().rev().filter(|other| names.contains(other)).map(|other| (other, false)),
                    );
                }
            }
        }
        order
    }

    /// Notes where a unit is.
    pub(super) fn placed(&mut self, unit: &str, nodes: impl Iterator<Item = NodeId>) {
        if let Some(name) = self.named.get(unit) {
            self.placed.entry(name).or_default().extend(nodes);
        }
    }

    /// What those that were placed mean for a unit.
    pub(super) fn rules(&self, wish: &UnitWish) -> Rules {
        let mut rules = Rules::default();
        if let Some(nodes) = self.avoided_by.get(wish.name.as_str()) {
            rules.rather_not.clone_from(nodes);
        }
        for other in wish.with.iter().filter(|other| **other != wish.name) {
            let here = match self.placed.get(other.as_str()) {
                Some(nodes) => nodes.clone(),
                // In a ring: it comes after this one.
                None if self.wishes.contains_key(other.as_str()) => continue,
                None => BTreeSet::new(),
            };
            rules.only = Some(match rules.only {
                Some(only) => only.intersection(&here).copied().collect(),
                None => here,
            });
        }
        for other in wish.apart.iter().filter(|other| **other != wish.name) {
            rules.never.extend(self.placed.get(other.as_str()).into_iter().flatten());
        }
        rules
    }
}

impl Rules {
    pub(super) fn allow(&self, node: NodeId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&node)) && !self.never.contains(&node)
    }
}
