// SPDX-License-Identifier: GPL-2.0-or-later
//! What the lists ask for, against what is made. Pure: it is told of the inventory's entries as they pass by, and asks
//! what stands at a path.

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::inventory::{Entry, Kind, Mode};
use crate::layout;
use crate::lists::{Lists, Wanted};
use crate::path::TreePath;

/// What stands at a path that a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Missing,
    /// A link with this text.
    Link(Vec<u8>),
    /// Anything else; `None` for a socket.
    Thing(Option<Kind>),
}

/// What is to be done about an entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is made, or is optional and not there.
    Fine,
    /// What is there is to become a CDSL.
    Make,
    /// It is not there and is to be made, empty.
    MakeAnew,
    /// It is made otherwise, in this.
    Otherwise(String),
    /// What is there is not what the list says it is.
    OtherKind(String),
}

/// What an entry of a list means for what is there. `made` is the inventory's entry for the path.
pub fn verdict(wanted: &Wanted, made: Option<&Entry>, stands: &Stands) -> Verdict {
    if let Some(entry) = made.filter(|entry| !entry.kept) {
        if entry.var != wanted.var {
            return Verdict::Otherwise(format!("goes by {{{}}} and should by {{{}}}", entry.var, wanted.var));
        }
        return match (&entry.mode, &wanted.mode) {
            // Giving every node its own is a step on the way that the list begins.
            (Mode::Each, Mode::Default) => Verdict::Fine,
            (is, should) if is == should => Verdict::Fine,
            (Mode::Only(value), _) => Verdict::Otherwise(format!("is there for {value} only, and should for all")),
            (Mode::Default, _) => Verdict::Otherwise("is shared by default, and each should have its own".to_owned()),
            _ => Verdict::Otherwise("is made otherwise".to_owned()),
        };
    }
    match stands {
        Stands::Missing if wanted.optional => Verdict::Fine,
        Stands::Missing => Verdict::MakeAnew,
        // One of ours that the inventory does not have: the comparison tells.
        Stands::Link(text) if layout::parse_link(text).is_some() => Verdict::Fine,
        // Where it leads is not the list's matter: into /run, say, which is each node's own.
        Stands::Link(_) if wanted.optional => Verdict::Fine,
        Stands::Link(text) => Verdict::OtherKind(format!("is a link to {}", crate::path::shown(text))),
        Stands::Thing(kind) if *kind == Some(wanted.kind) => Verdict::Make,
        Stands::Thing(kind) => Verdict::OtherKind(format!("is {}", super::finding::kind_words(*kind))),
    }
}

/// What of the lists was met in the inventory.
pub struct Made<'a> {
    lists: &'a Lists,
    wanted: BTreeMap<TreePath, Entry>,
    shared: Vec<TreePath>,
}

impl<'a> Made<'a> {
    /// Of these lists, nothing yet.
    pub fn new(lists: &'a Lists) -> Self {
        Self { lists, wanted: BTreeMap::new(), shared: Vec::new() }
    }

    /// An entry of the inventory passes by.
    pub fn see(&mut self, entry: &Entry) {
        if entry.kept {
            return;
        }
        if self.lists.wants(&entry.path).is_some() {
            self.wanted.insert(entry.path.clone(), entry.clone());
        } else if self.lists.shares(&entry.path).is_some() {
            self.shared.push(entry.path.clone());
        }
    }

    /// What is otherwise than the lists say.
    ///
    /// # Errors
    /// What `stands` could not find out.
    pub fn findings<E>(self, stands: impl Fn(&TreePath) -> Result<Stands, E>) -> Result<Vec<Finding>, E> {
        let mut found = Vec::new();
        for wanted in self.lists.wanted() {
            let made = self.wanted.get(&wanted.path);
            let at = if made.is_some() { Stands::Missing } else { stands(&wanted.path)? };
            let (path, said) = (wanted.path.clone(), wanted.said.to_string());
            match verdict(wanted, made, &at) {
                Verdict::Fine => {}
                Verdict::Make | Verdict::MakeAnew => {
                    found.push(Finding::ListedMissing { path, said, reason: wanted.reason.clone() });
                }
                Verdict::Otherwise(how) => found.push(Finding::ListedOtherwise { path, how, said }),
                Verdict::OtherKind(how) => {
                    let how = format!("{how}, and should be {}", super::finding::kind_words(Some(wanted.kind)));
                    found.push(Finding::ListedOtherwise { path, how, said });
                }
            }
        }
        for path in self.shared {
            if let Some(shared) = self.lists.shares(&path) {
                let (said, reason) = (shared.said.to_string(), shared.reason.clone());
                found.push(Finding::ListedShared { path, said, reason });
            }
        }
        Ok(found)
    }
}
