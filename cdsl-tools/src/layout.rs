// SPDX-License-Identifier: GPL-2.0-or-later
//! Where things are below `/cluster`, and the text of a link. DESIGN: `cdsl(7)` says it for administrators.
//!
//! ```text
//!   /etc/hostname -> /cluster/node{nodenum}/etc/hostname
//!                    └── context directory ─┘└── path ─┘
//!
//!   /cluster/node3/etc/hostname        node 3's own          holder of "3" for {nodenum}
//!   /cluster/role/web/etc/hostname     that of role web      holder of "web" for {role}
//!   /cluster/template/etc/hostname     what a new node gets; with --default, what all have that have no own
//!   /cluster/.cdsl/…                   inventory, journal, lock, attic
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use ssi_cluster::context::{Piece, pieces};

use crate::path::TreePath;

/// The variable whose holders are `node<N>`.
const NODENUM: &str = "nodenum";

/// Why a name cannot be the variable of a CDSL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// It does not have the form of one.
    #[error("{0} is no variable's name: a small letter, then small letters, digits and _")]
    Form(String),
    /// The directory of that name below /cluster is something else.
    #[error("{0} cannot be the variable of a CDSL: /cluster/{0} is something else; give the variable another name")]
    Taken(String),
}

/// The name of a variable that a link can go by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variable(String);

impl Variable {
    /// `{nodenum}`, by which links go unless told.
    pub fn nodenum() -> Self {
        Self(NODENUM.to_owned())
    }

    /// Takes a name for one.
    ///
    /// # Errors
    /// When it has not the form of one, or names something else below /cluster.
    pub fn parse(name: &str) -> Result<Self, VariableError> {
        let braced = format!("{{{name}}}");
        let mut found = pieces(braced.as_bytes());
        if found.next() != Some(Piece::Variable(name)) || found.next().is_some() {
            return Err(VariableError::Form(name.to_owned()));
        }
        let node =
            name.strip_prefix("node").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        if node || name == "template" {
            return Err(VariableError::Taken(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_nodenum(&self) -> bool {
        self.0 == NODENUM
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn at(text: &str) -> TreePath {
    TreePath::root().join(OsStr::new(text))
}

/// `/cluster`
pub fn cluster() -> TreePath {
    at("cluster")
}

/// The directory whose name holds the variable: this node's holder is mounted there.
pub fn context_directory(variable: &Variable) -> TreePath {
    if variable.is_nodenum() { at("cluster/node{nodenum}") } else { at(&format!("cluster/{variable}/{{{variable}}}")) }
}

/// The directory with what belongs to one value of the variable. A value is a single name: see [`good_value`].
pub fn holder(variable: &Variable, value: &str) -> TreePath {
    if variable.is_nodenum() { at(&format!("cluster/node{value}")) } else { at(&format!("cluster/{variable}/{value}")) }
}

/// Whether a value can be the name of a directory.
pub fn good_value(value: &str) -> bool {
    !value.is_empty()
        && value != "."
        && value != ".."
        && !value.contains('/')
        && !value.contains('\0')
        && value.len() <= 200
}

/// `/cluster/template`
pub fn template() -> TreePath {
    at("cluster/template")
}

/// `/cluster/.cdsl`, the commands' own.
pub fn state_directory() -> TreePath {
    at("cluster/.cdsl")
}

/// What those with this value of the variable see at `path`.
pub fn copy_of(variable: &Variable, value: &str, path: &TreePath) -> TreePath {
    path.below(&holder(variable, value))
}

/// What a new node sees at `path`.
pub fn template_of(path: &TreePath) -> TreePath {
    path.below(&template())
}

/// The text of the link at `path`.
pub fn link_text(variable: &Variable, path: &TreePath) -> Vec<u8> {
    path.below(&context_directory(variable)).as_bytes().to_vec()
}

/// The variable and the path of a link's text, if it is one that [`link_text`] makes; `None` for everything else.
pub fn parse_link(text: &[u8]) -> Option<(Variable, TreePath)> {
    let target = TreePath::parse(text).ok()?;
    // Spelled otherwise, it leads to the same place and is none of ours all the same.
    if target.as_bytes() != text {
        return None;
    }
    let mut parts = target
        .strip(&cluster())?
        .as_bytes()
        .split(|byte| *byte == b'/')
        .skip(1)
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>()
        .into_iter();
    let first = parts.next()?;
    let variable = if first == b"node{nodenum}" {
        Variable::nodenum()
    } else {
        let variable = Variable::parse(std::str::from_utf8(&first).ok()?).ok()?;
        if variable.is_nodenum() || parts.next()? != format!("{{{variable}}}").into_bytes() {
            return None;
        }
        variable
    };
    let path = parts.fold(TreePath::root(), |path, part| path.join(OsStr::from_bytes(&part)));
    (!path.is_root()).then_some((variable, path))
}

/// The first variable, of those that `known` knows, that a path has in its own name: a kernel that fills in braces
/// would find another file there.
pub fn variable_in(path: &TreePath, known: impl Fn(&str) -> bool) -> Option<String> {
    pieces(path.as_bytes()).find_map(|piece| match piece {
        Piece::Variable(name) if known(name) => Some(name.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_link_by_number_and_one_by_role() {
        let number = Variable::nodenum();
        assert_eq!(link_text(&number, &path("/etc/x")), b"/cluster/node{nodenum}/etc/x");
        assert_eq!(copy_of(&number, "3", &path("/etc/x")), path("/cluster/node3/etc/x"));
        let role = Variable::parse("role").unwrap();
        assert_eq!(link_text(&role, &path("/etc/x")), b"/cluster/role/{role}/etc/x");
        assert_eq!(copy_of(&role, "web", &path("/etc/x")), path("/cluster/role/web/etc/x"));
        assert_eq!(template_of(&path("/etc/x")), path("/cluster/template/etc/x"));
    }

    #[test]
    fn names_that_are_no_variable_or_are_taken() {
        assert!(matches!(Variable::parse("Role"), Err(VariableError::Form(_))));
        assert!(matches!(Variable::parse(""), Err(VariableError::Form(_))));
        assert!(matches!(Variable::parse("a}b"), Err(VariableError::Form(_))));
        assert!(matches!(Variable::parse("template"), Err(VariableError::Taken(_))));
        assert!(matches!(Variable::parse("node3"), Err(VariableError::Taken(_))));
        assert!(Variable::parse("nodename").is_ok());
    }

    #[test]
    fn what_is_no_link_of_ours() {
        for text in [
            "/cluster/node3/etc/x",
            "/cluster/node{nodenum}",
            "/cluster//node{nodenum}/etc/x",
            "cluster/node{nodenum}/etc/x",
            "/cluster/role/{rule}/etc/x",
            "/cluster/nodenum/{nodenum}/etc/x",
            "/other/node{nodenum}/etc/x",
            "",
        ] {
            assert_eq!(parse_link(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_variable_in_a_files_own_name_is_found() {
        let known = |name: &str| name == "nodenum";
        assert_eq!(variable_in(&path("/etc/{nodenum}.conf"), known), Some("nodenum".to_owned()));
        assert_eq!(variable_in(&path("/etc/{nodenum"), known), None);
        assert_eq!(variable_in(&path("/etc/{x}"), known), None);
    }

    proptest! {
        #[test]
        fn a_links_text_is_read_back(bytes in proptest::collection::vec(1u8..=255, 1..40), role in any::<bool>()) {
            let mut text = b"/".to_vec();
            text.extend(bytes);
            if let Ok(path) = TreePath::parse(&text) {
                prop_assume!(!path.is_root());
                let variable = if role { Variable::parse("role").unwrap() } else { Variable::nodenum() };
                prop_assert_eq!(parse_link(&link_text(&variable, &path)), Some((variable, path)));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_link(&text);
        }
    }
}
