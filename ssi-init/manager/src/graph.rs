// SPDX-License-Identifier: GPL-2.0-or-later
//! Which unit is what to which other: the typed graph of all dependencies.
//!
//! ```text
//!   a.service ──Requires──▶ b.service        asked: by a's file
//!             ◀─RequiredBy──                 asked by the other: a's file
//! ```
//!
//! Every edge is written down at both ends, with the inverse kind at the far one, and each end knows who asked for it:
//! the unit it starts from ([`Edge::asked`]) or the other one ([`Edge::asked_by_other`]). `Requires=b` in `a.service`
//! and a link in `a.service.requires/` that b's `[Install]` section made are one edge with two reasons; when the files of
//! a are read again, only what a asked for is taken back.
//!
//! What a kind of edge does is told by [`Dependency::atoms`]; those who act ask the graph for the units behind an atom
//! ([`Graph::with`]), never for a kind.
//!
//! The graph knows units as numbers. Names, states and files are somebody else's.

use serde::{Deserialize, Serialize};
use ssi_unit::dependency::{Atoms, Dependency, Origins};

/// A unit's place in the graph and in every table of units. Reused once the unit is forgotten; never written down for
/// a later run of the manager, which numbers its units anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitId(pub u32);

impl UnitId {
    /// As the index of a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One end of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The unit at the other end.
    pub to: UnitId,
    /// For what reasons the unit at this end asked for it.
    pub asked: Origins,
    /// For what reasons the unit at the other end asked for it.
    pub asked_by_other: Origins,
}

/// The edges of one unit: one sorted list for each kind it has, since few units have more than eight of the 31 kinds
/// and `shutdown.target` has thousands of edges of two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Node {
    kinds: Vec<(Dependency, Vec<Edge>)>,
}

impl Node {
    fn of(&self, kind: Dependency) -> &[Edge] {
        match self.kinds.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(place) => &self.kinds[place].1,
            Err(_) => &[],
        }
    }

    fn of_mut(&mut self, kind: Dependency) -> &mut Vec<Edge> {
        let place = match self.kinds.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(place) => place,
            Err(place) => {
                self.kinds.insert(place, (kind, Vec::new()));
                place
            }
        };
        &mut self.kinds[place].1
    }

    fn get(&self, kind: Dependency, to: UnitId) -> Option<&Edge> {
        let edges = self.of(kind);
        edges.binary_search_by_key(&to, |edge| edge.to).ok().map(|place| &edges[place])
    }

    /// Adds reasons to an edge, making it where there is none. Whether there was none.
    fn put(&mut self, kind: Dependency, edge: Edge) -> bool {
        let edges = self.of_mut(kind);
        match edges.binary_search_by_key(&edge.to, |edge| edge.to) {
            Ok(place) => {
                edges[place].asked |= edge.asked;
                edges[place].asked_by_other |= edge.asked_by_other;
                false
            }
            Err(place) => {
                edges.insert(place, edge);
                true
            }
        }
    }

    /// Applies a change to an edge, and removes it when nobody asks for it any more.
    fn change(&mut self, kind: Dependency, to: UnitId, change: impl FnOnce(&mut Edge)) {
        let Ok(place) = self.kinds.binary_search_by_key(&kind, |(kind, _)| *kind) else { return };
        let edges = &mut self.kinds[place].1;
        let Ok(at) = edges.binary_search_by_key(&to, |edge| edge.to) else { return };
        change(&mut edges[at]);
        if edges[at].asked.is_empty() && edges[at].asked_by_other.is_empty() {
            edges.remove(at);
        }
        if edges.is_empty() {
            self.kinds.remove(place);
        }
    }
}

/// All dependencies between all units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    nodes: Vec<Option<Node>>,
    free: Vec<UnitId>,
}

impl Graph {
    /// One without units.
    #[must_use]
    pub fn new() -> Graph {
        Graph::default()
    }

    /// A new unit without edges. Its number is the lowest one that is free, or that of a forgotten unit.
    pub fn add_unit(&mut self) -> UnitId {
        if let Some(id) = self.free.pop()
            && let Some(node) = self.nodes.get_mut(id.index())
        {
            *node = Some(Node::default());
            return id;
        }
        // Four thousand million units do not fit into memory; the last number is never reached.
        let id = UnitId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Some(Node::default()));
        id
    }

    /// Forgets a unit and all edges at it. Jobs of it have to be gone before.
    pub fn remove_unit(&mut self, unit: UnitId) {
        let Some(node) = self.nodes.get_mut(unit.index()).and_then(Option::take) else { return };
        for (kind, edges) in node.kinds {
            for edge in edges {
                if let Some(Some(other)) = self.nodes.get_mut(edge.to.index()) {
                    other.change(kind.inverse(), unit, |edge| {
                        edge.asked = Origins::NONE;
                        edge.asked_by_other = Origins::NONE;
                    });
                }
            }
        }
        self.free.push(unit);
    }

    /// Whether there is such a unit.
    #[must_use]
    pub fn contains(&self, unit: UnitId) -> bool {
        self.node(unit).is_some()
    }

    /// How many units there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Whether there are no units.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every unit, by number.
    pub fn units(&self) -> impl Iterator<Item = UnitId> + '_ {
        (0u32..).zip(&self.nodes).filter(|(_, node)| node.is_some()).map(|(number, _)| UnitId(number))
    }

    fn node(&self, unit: UnitId) -> Option<&Node> {
        self.nodes.get(unit.index())?.as_ref()
    }

    fn node_mut(&mut self, unit: UnitId) -> Option<&mut Node> {
        self.nodes.get_mut(unit.index())?.as_mut()
    }

    /// Adds a dependency and its inverse, or reasons to one that is there. Whether it is new.
    ///
    /// Nothing is done for a unit that names itself, as when two names turn out to be one unit's, for a unit that is
    /// not there, and for a dependency without a reason. Whether the kind makes sense between units of the two types
    /// ([`Dependency::check`]) was looked at before.
    pub fn add(&mut self, from: UnitId, kind: Dependency, to: UnitId, asked: Origins) -> bool {
        if from == to || asked.is_empty() || !self.contains(from) || !self.contains(to) {
            return false;
        }
        let mut new = false;
        if let Some(node) = self.node_mut(from) {
            new = node.put(kind, Edge { to, asked, asked_by_other: Origins::NONE });
        }
        if let Some(node) = self.node_mut(to) {
            node.put(kind.inverse(), Edge { to: from, asked: Origins::NONE, asked_by_other: asked });
        }
        new
    }

    /// Adds a dependency ([`Graph::add`]), and that `from` keeps `to` from being forgotten for as long.
    pub fn depend(&mut self, from: UnitId, kind: Dependency, to: UnitId, asked: Origins) -> bool {
        let new = self.add(from, kind, to, asked);
        self.add(from, Dependency::References, to, asked);
        new
    }

    /// Takes back what `from` asked for, for these reasons. Edges nobody else asks for are gone.
    pub fn take_back(&mut self, from: UnitId, origins: Origins) {
        let Some(node) = self.node(from) else { return };
        let touched: Vec<(Dependency, UnitId)> = node
            .kinds
            .iter()
            .flat_map(|(kind, edges)| edges.iter().map(|edge| (*kind, edge)))
            .filter(|(_, edge)| edge.asked.intersects(origins))
            .map(|(kind, edge)| (kind, edge.to))
            .collect();
        for (kind, to) in touched {
            if let Some(node) = self.node_mut(from) {
                node.change(kind, to, |edge| edge.asked = edge.asked.without(origins));
            }
            if let Some(node) = self.node_mut(to) {
                node.change(kind.inverse(), from, |edge| {
                    edge.asked_by_other = edge.asked_by_other.without(origins);
                });
            }
        }
    }

    /// Gives all edges of `gone` to `kept` and forgets `gone`: its name turned out to be another one of `kept`'s.
    ///
    /// Edges between the two would lead from a unit to itself; they are dropped, and returned so that somebody can be
    /// told. Nothing is done, and `None` returned, when one of the two is not there or both are the same.
    pub fn merge(&mut self, kept: UnitId, gone: UnitId) -> Option<Vec<Dependency>> {
        if kept == gone || !self.contains(kept) {
            return None;
        }
        let node = self.node(gone)?.clone();
        self.remove_unit(gone);
        let mut dropped = Vec::new();
        for (kind, edges) in node.kinds {
            for edge in edges {
                if edge.to == kept {
                    dropped.push(kind);
                    continue;
                }
                let twin = Edge { to: kept, asked: edge.asked_by_other, asked_by_other: edge.asked };
                if let Some(other) = self.node_mut(edge.to) {
                    other.put(kind.inverse(), twin);
                }
                if let Some(kept) = self.node_mut(kept) {
                    kept.put(kind, edge);
                }
            }
        }
        Some(dropped)
    }

    /// The edges of one kind, by the number of the other unit.
    #[must_use]
    pub fn edges(&self, from: UnitId, kind: Dependency) -> &[Edge] {
        self.node(from).map_or(&[], |node| node.of(kind))
    }

    /// The edge of one kind to one unit.
    #[must_use]
    pub fn edge(&self, from: UnitId, kind: Dependency, to: UnitId) -> Option<&Edge> {
        self.node(from)?.get(kind, to)
    }

    /// All edges of a unit, by kind.
    pub fn all_edges(&self, from: UnitId) -> impl Iterator<Item = (Dependency, &Edge)> {
        self.node(from)
            .into_iter()
            .flat_map(|node| node.kinds.iter().flat_map(|(kind, edges)| edges.iter().map(|edge| (*kind, edge))))
    }

    /// The units to which one of these things holds, each once.
    pub fn with(&self, from: UnitId, atoms: Atoms) -> impl Iterator<Item = UnitId> + Clone + '_ {
        let kinds = self.node(from).map_or(&[][..], |node| &node.kinds);
        kinds.iter().enumerate().filter(move |(_, (kind, _))| kind.atoms().intersects(atoms)).flat_map(
            move |(place, (_, edges))| {
                edges.iter().map(|edge| edge.to).filter(move |to| {
                    !kinds[..place].iter().any(|(kind, edges)| {
                        kind.atoms().intersects(atoms) && edges.binary_search_by_key(to, |edge| edge.to).is_ok()
                    })
                })
            },
        )
    }

    /// Whether one of these things holds between two units.
    #[must_use]
    pub fn has(&self, from: UnitId, atoms: Atoms, to: UnitId) -> bool {
        self.node(from).is_some_and(|node| {
            node.kinds.iter().any(|(kind, edges)| {
                kind.atoms().intersects(atoms) && edges.binary_search_by_key(&to, |edge| edge.to).is_ok()
            })
        })
    }

    /// The units that may be forgotten: those that are not `needed` themselves, and that no needed one keeps, nor one
    /// kept by it, and so on. Units that only keep one another do not count.
    pub fn forgettable(&self, needed: impl Fn(UnitId) -> bool) -> Vec<UnitId> {
        let mut kept = vec![false; self.nodes.len()];
        let mut next: Vec<UnitId> = self.units().filter(|unit| needed(*unit)).collect();
        while let Some(unit) = next.pop() {
            match kept.get_mut(unit.index()) {
                Some(kept) if !*kept => *kept = true,
                _ => continue,
            }
            next.extend(self.with(unit, Atoms::REFERENCES));
        }
        self.units().filter(|unit| !kept[unit.index()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dependency::*;

    fn graph<const N: usize>() -> (Graph, [UnitId; N]) {
        let mut graph = Graph::new();
        let units = std::array::from_fn(|_| graph.add_unit());
        (graph, units)
    }

    #[test]
    fn an_edge_is_known_at_both_ends() {
        let (mut graph, [a, b]) = graph();
        assert!(graph.add(a, Requires, b, Origins::FILE));
        assert!(!graph.add(a, Requires, b, Origins::DEFAULT), "it is the same edge");
        let there = graph.edge(a, Requires, b).unwrap();
        assert_eq!((there.asked, there.asked_by_other), (Origins::FILE | Origins::DEFAULT, Origins::NONE));
        let back = graph.edge(b, RequiredBy, a).unwrap();
        assert_eq!((back.asked, back.asked_by_other), (Origins::NONE, Origins::FILE | Origins::DEFAULT));
        assert!(!graph.add(a, After, a, Origins::FILE), "no unit is after itself");
        assert!(graph.all_edges(a).count() == 1);
    }

    #[test]
    fn each_end_takes_back_only_what_it_asked_for() {
        let (mut graph, [a, b]) = graph();
        graph.add(a, Before, b, Origins::FILE | Origins::DEFAULT);
        graph.add(b, After, a, Origins::MOUNT_TABLE);
        graph.take_back(a, Origins::ALL);
        assert_eq!(graph.edge(a, Before, b).unwrap().asked_by_other, Origins::MOUNT_TABLE);
        assert_eq!(graph.edge(b, After, a).unwrap().asked, Origins::MOUNT_TABLE);
        graph.take_back(b, Origins::FILE);
        assert!(graph.has(b, Atoms::AFTER, a));
        graph.take_back(b, Origins::MOUNT_TABLE);
        assert_eq!(graph.all_edges(a).count() + graph.all_edges(b).count(), 0);
    }

    #[test]
    fn an_alias_brings_its_edges_along() {
        let (mut graph, [kept, gone, other]) = graph();
        graph.add(gone, Wants, other, Origins::FILE);
        graph.add(other, After, gone, Origins::FILE);
        graph.add(kept, Wants, other, Origins::DEFAULT);
        graph.add(gone, Conflicts, kept, Origins::FILE);
        let dropped = graph.merge(kept, gone).unwrap();
        assert_eq!(dropped, [Conflicts], "no unit is in conflict with itself");
        assert!(!graph.contains(gone));
        assert_eq!(graph.edge(kept, Wants, other).unwrap().asked, Origins::FILE | Origins::DEFAULT);
        assert_eq!(graph.edge(kept, Before, other).unwrap().asked_by_other, Origins::FILE);
        assert_eq!(graph.edge(other, After, kept).unwrap().asked, Origins::FILE);
        assert!(graph.edge(other, WantedBy, gone).is_none());
        assert!(graph.edge(kept, ConflictedBy, gone).is_none());
        assert_eq!(graph.add_unit(), gone, "its number is free again");
        assert_eq!(graph.all_edges(gone).count(), 0);
    }

    #[test]
    fn units_behind_an_atom_come_once() {
        let (mut graph, [a, b, c]) = graph();
        graph.add(a, Requires, b, Origins::FILE);
        graph.add(a, BindsTo, b, Origins::FILE);
        graph.add(a, BindsTo, c, Origins::FILE);
        assert_eq!(graph.with(a, Atoms::PULL_IN_START).collect::<Vec<_>>(), [b, c]);
        assert_eq!(graph.with(b, Atoms::PROPAGATE_STOP).collect::<Vec<_>>(), [a]);
        assert!(graph.has(a, Atoms::CANNOT_BE_ACTIVE_WITHOUT, b));
        assert!(!graph.has(a, Atoms::AFTER, b));
    }

    #[test]
    fn what_nothing_needs_is_forgotten_and_rings_too() {
        let (mut graph, [needed, near, far, ring, gnir]) = graph();
        graph.depend(needed, Wants, near, Origins::FILE);
        graph.depend(near, After, far, Origins::FILE);
        graph.depend(ring, Wants, gnir, Origins::FILE);
        graph.depend(gnir, Wants, ring, Origins::FILE);
        graph.depend(ring, Wants, far, Origins::FILE);
        assert_eq!(graph.forgettable(|unit| unit == needed), [ring, gnir]);
        graph.remove_unit(ring);
        graph.remove_unit(gnir);
        assert_eq!(graph.len(), 3);
        assert_eq!(graph.edges(far, WantedBy), []);
        assert_eq!(graph.units().collect::<Vec<_>>(), [needed, near, far]);
    }
}
