// SPDX-License-Identifier: GPL-2.0-or-later
//! What differs from node to node: the variables of a context-dependent symbolic link, and filling them in.
//!
//! ```
//! # use std::path::Path;
//! # use ssi_cluster::{Config, Context, NodeId};
//! let file = br#"
//! name = "alpha"
//! [membership]
//! engine = "solo"
//! [[node]]
//! id = 3
//! name = "node3"
//! context = { role = "web-{nodenum}" }
//! "#;
//! let config = Config::parse(Path::new("cluster.toml"), file)?;
//! let context = Context::of(&config, NodeId::try_from(3)?);
//! assert_eq!(context.get("role"), Some("web-3"));
//!
//! let link = context.expand(b"/cluster/node{nodenum}/{role}/{colour}");
//! assert_eq!(link.text, b"/cluster/node3/web-3/{colour}");
//! assert_eq!(link.unknown, ["colour"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;
use crate::config::Config;

/// The variables of one node and what they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    variables: BTreeMap<String, String>,
}

/// A text with its variables filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The text; what is no variable of the context stands in it as it was written.
    pub text: Vec<u8>,
    /// The variables that were filled in.
    pub used: BTreeSet<String>,
    /// What has the form of a variable and is none, in the order of the text.
    pub unknown: Vec<String>,
}

impl Context {
    /// The context of a node. `{machine}` and `{sysname}` are this machine's (`uname(2)`): the nodes of a cluster share
    /// one root, so they are of one kind.
    ///
    /// For a node that is not in the configuration there are only the variables that need no configuration:
    /// all but `{nodename}` and the site's own.
    pub fn of(config: &Config, id: NodeId) -> Context {
        let uname = rustix::system::uname();
        Self::on_machine(config, id, &uname.machine().to_string_lossy(), &uname.sysname().to_string_lossy())
    }

    /// The context of a node on a machine of this kind: `machine` and `sysname` as in `uname(2)`.
    pub fn on_machine(config: &Config, id: NodeId, machine: &str, sysname: &str) -> Context {
        let node = config.node(id);
        let mut variables: BTreeMap<String, String> = [
            ("nodenum", id.to_string()),
            ("clustername", config.name.clone()),
            ("machine", machine.to_owned()),
            ("sysname", sysname.to_owned()),
        ]
        .into_iter()
        .chain(node.map(|n| ("nodename", n.name.clone())))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let built_in = Context { variables: variables.clone() };
        for (name, value) in node.into_iter().flat_map(|n| &n.context) {
            // The configuration let only built-in variables pass into the values of the site's own.
            let value = built_in.expand(value.as_bytes()).text;
            variables.entry(name.clone()).or_insert_with(|| String::from_utf8_lossy(&value).into_owned());
        }
        Context { variables }
    }

    /// What the variable is on this node.
    pub fn get(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).map(String::as_str)
    }

    /// All variables with what they are on this node, by name.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The text with every `{variable}` of this context filled in, once: what was filled in is not looked through again.
    pub fn expand(&self, text: &[u8]) -> Expansion {
        let mut expansion = Expansion::default();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => expansion.text.extend_from_slice(text),
                Piece::Variable(name) => match self.get(name) {
                    Some(value) => {
                        expansion.text.extend_from_slice(value.as_bytes());
                        expansion.used.insert(name.to_owned());
                    }
                    None => {
                        expansion.text.extend_from_slice(format!("{{{name}}}").as_bytes());
                        expansion.unknown.push(name.to_owned());
                    }
                },
            }
        }
        expansion
    }
}

/// A piece of a text in which variables may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text that stands for itself; never empty.
    Text(&'t [u8]),
    /// `{name}`, without the braces. Whether there is a variable of that name is not looked at.
    Variable(&'t str),
}

/// Takes a text apart. A variable is `{`, a small letter, small letters, digits and `_`, `}`; every other brace is text.
pub fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = variable_at_start(rest) {
            rest = after;
            return Some(Piece::Variable(name));
        }
        let next = (1..rest.len()).find(|&at| rest[at] == b'{' && variable_at_start(&rest[at..]).is_some());
        let (text, after) = rest.split_at(next.unwrap_or(rest.len()));
        rest = after;
        Some(Piece::Text(text))
    })
}

/// The name of the variable that the text starts with, and what comes after it.
fn variable_at_start(text: &[u8]) -> Option<(&str, &[u8])> {
    let inner = text.strip_prefix(b"{")?;
    let length = inner.iter().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'_').count();
    let (name, after) = inner.split_at(length);
    let after = after.strip_prefix(b"}")?;
    if !name.first()?.is_ascii_lowercase() {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn context() -> Context {
        let file = br#"
name = "alpha"
[membership]
engine = "solo"
[[node]]
id = 7
name = "seven"
context = { role = "web-{nodenum}", rack = "r1" }
"#;
        let config = Config::parse(Path::new("cluster.toml"), file).unwrap();
        Context::on_machine(&config, NodeId::new(7).unwrap(), "x86_64", "Linux")
    }

    #[test]
    fn a_node_has_the_built_in_variables_and_the_site_s() {
        let all: Vec<_> = context().vars().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "clustername=alpha",
            "machine=x86_64",
            "nodename=seven",
            "nodenum=7",
            "rack=r1",
            "role=web-7",
            "sysname=Linux",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_node_that_is_not_configured_has_no_name() {
        let file = b"name = 'a'\nmembership.engine = 'solo'\nnode = [{ id = 1, name = 'b' }]\n";
        let config = Config::parse(Path::new("cluster.toml"), file).unwrap();
        let context = Context::of(&config, NodeId::new(2).unwrap());
        assert_eq!((context.get("nodenum"), context.get("nodename")), (Some("2"), None));
        assert_eq!(context.get("machine"), rustix::system::uname().machine().to_str().ok());
    }

    #[test]
    fn only_what_has_the_form_of_a_variable_is_one() {
        for (text, expected) in [
            ("/cluster/node{nodenum}/etc", "/cluster/node7/etc"),
            ("{nodenum}{nodenum}", "77"),
            ("{{nodenum}}", "{7}"),
            ("{nodenum", "{nodenum"),
            ("nodenum}", "nodenum}"),
            ("{}", "{}"),
            ("{Nodenum} { nodenum } {7} {_a}", "{Nodenum} { nodenum } {7} {_a}"),
            ("{node{nodenum}}", "{node7}"),
            ("", ""),
        ] {
            let expansion = context().expand(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&expansion.text), expected, "{text}");
            assert!(expansion.unknown.is_empty());
        }
        let expansion = context().expand(b"\xff{role}/{b}{a}{b}{rack}");
        assert_eq!(expansion.text, b"\xffweb-7/{b}{a}{b}r1");
        assert_eq!(expansion.used, ["rack", "role"].map(String::from).into());
        assert_eq!(expansion.unknown, ["b", "a", "b"]);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            prop::sample::select(vec!["{", "}", "{nodenum}", "{role}", "{other}", "/", "{machine"])
                .prop_map(|w| w.into()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(word, 0..20).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn the_pieces_put_together_are_the_text(text in text()) {
            let mut whole = Vec::new();
            for piece in pieces(&text) {
                match piece {
                    Piece::Text(text) => {
                        prop_assert!(!text.is_empty());
                        whole.extend_from_slice(text);
                    }
                    Piece::Variable(name) => whole.extend_from_slice(format!("{{{name}}}").as_bytes()),
                }
            }
            prop_assert_eq!(whole, text);
        }

        #[test]
        fn a_text_without_a_known_variable_stays_as_it_is(text in text()) {
            let expansion = context().expand(&text);
            prop_assert_eq!(expansion.used.is_empty(), expansion.text == text);
        }
    }
}
