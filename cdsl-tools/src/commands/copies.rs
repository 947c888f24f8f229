// SPDX-License-Identifier: GPL-2.0-or-later
//! The copies of a CDSL, for the commands that work on their content.

use std::path::PathBuf;

use ssi_cluster::NodeId;

use super::{Env, Failure};
use crate::inventory::{Entry, Mode};
use crate::layout::{copy_of, template_of};
use crate::path::TreePath;
use crate::site::SiteError;
use crate::tree::TreeError;

/// What one value of a CDSL's variable has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The value, or `template`.
    pub(super) whose: String,
    /// The nodes with that value.
    pub(super) nodes: Vec<NodeId>,
    /// Where its content is: for one that shares the template's, there.
    pub(super) at: TreePath,
    /// Whether it shares the template's.
    pub(super) shares: bool,
    /// Whether anything is there.
    pub(super) there: bool,
}

impl Copy {
    /// What a value's is.
    fn of_value(env: &Env, entry: &Entry, value: &str, nodes: Vec<NodeId>) -> Result<Self, Failure> {
        let root = &env.site.root;
        let at = copy_of(&entry.var, value, &entry.path);
        let template = template_of(&entry.path);
        let text = root.readlink(&at).map_err(|error| TreeError::new("read", root.shown(&at), error))?;
        // Its link is meant for the nodes: below another root it leads elsewhere when it is followed here.
        let shares = entry.mode == Mode::Default && text.as_deref() == Some(template.as_bytes());
        let at = if shares { template } else { at };
        Ok(Self { whose: value.to_owned(), nodes, there: exists(env, &at)?, shares, at })
    }

    /// That of the node that is meant, and the other nodes that have the same one.
    pub(super) fn own(env: &Env, entry: &Entry) -> Result<Self, Failure> {
        let node = env.site.node()?;
        Self::of_node(env, entry, node)?.ok_or_else(|| {
            Failure::Failed(format!("node {node} has no variable {{{}}}, by which {} goes", entry.var, entry.path))
        })
    }

    /// A node's; `None` when it has no such variable.
    pub(super) fn of_node(env: &Env, entry: &Entry, node: NodeId) -> Result<Option<Self>, Failure> {
        let values = env.site.values(&entry.var)?;
        let own = values.into_iter().find(|(_, nodes)| nodes.contains(&node));
        own.map(|(value, nodes)| Self::of_value(env, entry, &value, nodes)).transpose()
    }

    /// Where it is for this process's programs.
    pub(super) fn file(&self, env: &Env) -> PathBuf {
        env.site.root.directory().join(self.at.relative())
    }

    /// Whose it is, for people.
    pub(super) fn owner(&self, entry: &Entry) -> String {
        match self.nodes.as_slice() {
            [] => "the template".to_owned(),
            [node] => format!("node {node}"),
            many => {
                let many: Vec<_> = many.iter().map(NodeId::to_string).collect();
                format!("{{{}}} = {}: nodes {}", entry.var, self.whose, many.join(", "))
            }
        }
    }
}

/// All that have content of their own, and the template, if it is there; in the order of the nodes.
pub(super) fn all(env: &Env, entry: &Entry) -> Result<Vec<Copy>, Failure> {
    let values = match env.site.values(&entry.var) {
        Ok(values) => values,
        // The variable was taken out of cluster.toml; the template is still there.
        Err(SiteError::NoVariable(..)) => Default::default(),
        Err(error) => return Err(error.into()),
    };
    let mut copies = Vec::new();
    for (value, nodes) in values {
        copies.push(Copy::of_value(env, entry, &value, nodes)?);
    }
    copies.sort_by(|a, b| a.nodes.cmp(&b.nodes));
    let at = template_of(&entry.path);
    let there = exists(env, &at)?;
    copies.push(Copy { whose: "template".to_owned(), nodes: Vec::new(), at, shares: false, there });
    copies.retain(|copy| copy.there && !copy.shares);
    Ok(copies)
}

fn exists(env: &Env, at: &TreePath) -> Result<bool, Failure> {
    let root = &env.site.root;
    Ok(root.exists(at).map_err(|error| TreeError::new("look at", root.shown(at), error))?)
}
