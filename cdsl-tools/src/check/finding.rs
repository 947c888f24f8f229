// SPDX-License-Identifier: GPL-2.0-or-later
//! What a check can find: each with a sentence that tells it and one that tells its cure.

use std::fmt;

use crate::inventory::Kind;
use crate::layout::{self, Variable};
use crate::path::{TreePath, shown};

/// Whose part of the tree a copy is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Those of a value of a variable: node 3, or role web.
    Value(Variable, String),
    /// The template's.
    Template,
}

impl Whose {
    /// The directory that holds it all.
    pub fn holder(&self) -> TreePath {
        match self {
            Whose::Value(variable, value) => layout::holder(variable, value),
            Whose::Template => layout::template(),
        }
    }

    /// Where its copy of a path is.
    pub fn copy_of(&self, path: &TreePath) -> TreePath {
        path.below(&self.holder())
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Value(variable, value) if *variable == Variable::nodenum() => write!(f, "node {value}"),
            Whose::Value(variable, value) => write!(f, "{variable} {value}"),
            Whose::Template => f.write_str("the template"),
        }
    }
}

/// In what a copy differs from the record, or from the other copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Owner and group: those it has, and those it should have.
    Owner {
        /// User and group that it has.
        is: (u32, u32),
        /// User and group that the record has.
        should: (u32, u32),
    },
    /// Permission bits: those it has, and those it should have.
    Mode {
        /// Those it has.
        is: u32,
        /// Those that the record has.
        should: u32,
    },
    /// Extended attributes by name, ACLs and security labels among them, that differ from those of most copies.
    Attributes(Vec<String>),
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Drift::Owner { is, should } => {
                write!(f, "belongs to {}:{} and should to {}:{}", is.0, is.1, should.0, should.1)
            }
            Drift::Mode { is, should } => write!(f, "has the mode {is:04o} and should have {should:04o}"),
            Drift::Attributes(names) => write!(f, "has other {} than the other copies", attribute_words(names)),
        }
    }
}

/// Attributes in the words of those who set them.
fn attribute_words(names: &[String]) -> String {
    let words = names.iter().map(|name| match name.as_str() {
        "system.posix_acl_access" => "ACL".to_owned(),
        "system.posix_acl_default" => "default ACL".to_owned(),
        "security.selinux" => "SELinux label".to_owned(),
        "security.capability" => "capabilities".to_owned(),
        other => format!("attribute {other}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A command was cut off, and nothing has finished or undone its work yet.
    Interrupted {
        /// Its number.
        id: String,
        /// The paths it was at.
        paths: usize,
    },
    /// Nothing is at the path of a CDSL.
    LinkMissing {
        /// The path.
        path: TreePath,
    },
    /// Something that is no link is at the path of a CDSL.
    LinkReplaced {
        /// The path.
        path: TreePath,
        /// What is there; `None` for a socket.
        by: Option<Kind>,
    },
    /// The link at the path of a CDSL has another text.
    LinkElsewhere {
        /// The path.
        path: TreePath,
        /// The text it has.
        text: Vec<u8>,
    },
    /// A link of ours that the inventory does not have, or has as removed.
    LinkUnknown {
        /// The path.
        path: TreePath,
        /// By what it goes.
        var: Variable,
    },
    /// A CDSL inside another, which no link leads to.
    Nested {
        /// The path.
        path: TreePath,
        /// The one around it.
        inside: TreePath,
    },
    /// A copy is missing.
    CopyMissing {
        /// The path.
        path: TreePath,
        /// Whose.
        whose: Whose,
    },
    /// A configured node, or value, has no copies at all.
    CopiesMissing {
        /// Whose.
        whose: Whose,
    },
    /// A copy is of another kind than the CDSL.
    CopyKind {
        /// The path.
        path: TreePath,
        /// Whose.
        whose: Whose,
        /// What it is; `None` for a socket.
        is: Option<Kind>,
        /// What it should be.
        should: Kind,
    },
    /// A copy's owner, mode or attributes are not what they should be.
    CopyDrift {
        /// The path.
        path: TreePath,
        /// Whose.
        whose: Whose,
        /// In what.
        drift: Drift,
    },
    /// Something below /cluster that belongs to no CDSL.
    Orphan {
        /// Where it is.
        at: TreePath,
    },
    /// Something that a command which was cut off was working on.
    LeftOver {
        /// Where it is.
        at: TreePath,
    },
    /// Copies of a node, or value, that is not configured.
    HolderUnknown {
        /// Whose.
        whose: Whose,
    },
    /// A list asks for it, and it is not made.
    ListedMissing {
        /// The path.
        path: TreePath,
        /// The entry's place.
        said: String,
        /// The entry's reason.
        reason: String,
    },
    /// It is made otherwise than a list asks for.
    ListedOtherwise {
        /// The path.
        path: TreePath,
        /// In what.
        how: String,
        /// The entry's place.
        said: String,
    },
    /// A list says it is to be one for all.
    ListedShared {
        /// The path.
        path: TreePath,
        /// The entry's place.
        said: String,
        /// The entry's reason.
        reason: String,
    },
    /// A package manager left a file beside the link.
    LeftBeside {
        /// The path of the CDSL.
        path: TreePath,
        /// The file.
        at: TreePath,
        /// What it is.
        what: &'static str,
    },
}

impl Finding {
    /// Its kind in one word, for programs; it does not change between versions.
    pub fn word(&self) -> &'static str {
        match self {
            Finding::Interrupted { .. } => "interrupted",
            Finding::LinkMissing { .. } => "link-missing",
            Finding::LinkReplaced { .. } => "link-replaced",
            Finding::LinkElsewhere { .. } => "link-elsewhere",
            Finding::LinkUnknown { .. } => "link-unknown",
            Finding::Nested { .. } => "nested",
            Finding::CopyMissing { .. } => "copy-missing",
            Finding::CopiesMissing { .. } => "copies-missing",
            Finding::CopyKind { .. } => "copy-kind",
            Finding::CopyDrift { drift: Drift::Owner { .. }, .. } => "copy-owner",
            Finding::CopyDrift { drift: Drift::Mode { .. }, .. } => "copy-mode",
            Finding::CopyDrift { drift: Drift::Attributes(_), .. } => "copy-attributes",
            Finding::Orphan { .. } => "orphan",
            Finding::LeftOver { .. } => "left-over",
            Finding::HolderUnknown { .. } => "holder-unknown",
            Finding::ListedMissing { .. } => "listed-missing",
            Finding::ListedOtherwise { .. } => "listed-otherwise",
            Finding::ListedShared { .. } => "listed-shared",
            Finding::LeftBeside { .. } => "left-beside",
        }
    }

    /// What it is about.
    pub fn path(&self) -> TreePath {
        match self {
            Finding::Interrupted { .. } => layout::state_directory(),
            Finding::LinkMissing { path }
            | Finding::LinkReplaced { path, .. }
            | Finding::LinkElsewhere { path, .. }
            | Finding::LinkUnknown { path, .. }
            | Finding::Nested { path, .. }
            | Finding::CopyMissing { path, .. }
            | Finding::CopyKind { path, .. }
            | Finding::CopyDrift { path, .. }
            | Finding::Orphan { at: path }
            | Finding::LeftOver { at: path }
            | Finding::ListedMissing { path, .. }
            | Finding::ListedOtherwise { path, .. }
            | Finding::ListedShared { path, .. }
            | Finding::LeftBeside { path, .. } => path.clone(),
            Finding::CopiesMissing { whose } | Finding::HolderUnknown { whose } => whose.holder(),
        }
    }

    /// Whose copy it is about, where it is about one.
    pub fn whose(&self) -> Option<&Whose> {
        match self {
            Finding::CopyMissing { whose, .. }
            | Finding::CopiesMissing { whose }
            | Finding::CopyKind { whose, .. }
            | Finding::CopyDrift { whose, .. }
            | Finding::HolderUnknown { whose } => Some(whose),
            _ => None,
        }
    }

    /// What could be done about it.
    pub fn cure(&self) -> String {
        const REPAIR: &str = "`cdsl check --repair`";
        match self {
            Finding::Interrupted { .. } => format!("{REPAIR} finishes or undoes it"),
            Finding::LinkMissing { .. } => format!("{REPAIR} makes it again, where a copy is left"),
            Finding::LinkReplaced { by: None, .. } => {
                "stop the program that listens there, remove its socket, then `cdsl check --repair`".to_owned()
            }
            Finding::LinkReplaced { .. } => {
                format!("{REPAIR} makes the newer of the two this node's copy and keeps the older in the attic")
            }
            Finding::LinkElsewhere { .. } => {
                format!(
                    "if the new link is not wanted, remove it, then {REPAIR}; if it is, copy to a file what it leads to and put that there, then {REPAIR}"
                )
            }
            Finding::LinkUnknown { .. } => format!("{REPAIR} takes it into the inventory, if it leads to a copy"),
            Finding::Nested { inside, .. } => format!(
                "`cdsl remove {inside}`, or move away what is there and `cdsl check --rebuild`: a CDSL inside another is never reached"
            ),
            Finding::CopyMissing { whose: Whose::Template, .. } => {
                format!("{REPAIR} copies this node's, where every node has its own; else put it there by hand")
            }
            Finding::CopyMissing { .. } => format!("{REPAIR} copies it from the template"),
            Finding::CopiesMissing { whose } => match whose {
                Whose::Value(variable, value) if *variable == Variable::nodenum() => {
                    format!("`cdsl node add {value}` or {REPAIR} makes them")
                }
                _ => format!("{REPAIR} makes them"),
            },
            Finding::CopyKind { .. } => {
                "move it away; then `cdsl check --repair` copies it from the template".to_owned()
            }
            Finding::CopyDrift { drift: Drift::Attributes(_), .. } => {
                format!("{REPAIR} gives it the ACLs and labels of the others")
            }
            Finding::CopyDrift { .. } => format!("{REPAIR} gives it what the inventory has"),
            Finding::Orphan { .. } => {
                "if it is not needed, remove it; if it is, make the path it is for a CDSL with --force".to_owned()
            }
            Finding::LeftOver { .. } => format!("{REPAIR} finishes what it was for, or puts it into the attic"),
            Finding::HolderUnknown { whose } => match whose {
                Whose::Value(variable, value) if *variable == Variable::nodenum() => {
                    format!("`cdsl node remove {value}` puts them into the attic; or configure the node")
                }
                _ => "move the directory away, or give a node that value in cluster.toml".to_owned(),
            },
            Finding::ListedMissing { .. } => "`cdsl apply` makes it".to_owned(),
            Finding::ListedOtherwise { .. } => {
                "`cdsl remove` it, then `cdsl apply`; or say so in a list in /etc/ssi/cdsl.d".to_owned()
            }
            Finding::ListedShared { .. } => {
                "`cdsl remove` it; or, if it is meant so, name it as [[cdsl]] in a list in /etc/ssi/cdsl.d".to_owned()
            }
            Finding::LeftBeside { .. } => format!("{REPAIR} --packages puts it where it belongs"),
        }
    }
}

/// What a thing is, for sentences.
pub(super) fn kind_words(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::File) => "a file",
        Some(Kind::Directory) => "a directory",
        Some(Kind::Symlink) => "a symbolic link",
        Some(Kind::Device) => "a device",
        Some(Kind::Fifo) => "a named pipe",
        None => "a socket",
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Interrupted { id, paths } => {
                write!(f, "a command was cut off in the middle of changing {paths} paths (journal {id})")
            }
            Finding::LinkMissing { path } => write!(f, "{path} is not there and should be a CDSL"),
            Finding::LinkReplaced { path, by } => write!(f, "{path} is {} and should be a CDSL", kind_words(*by)),
            Finding::LinkElsewhere { path, text } => {
                write!(f, "{path} should be a CDSL, and is a link to {}", shown(text))
            }
            Finding::LinkUnknown { path, var } => {
                write!(f, "{path} is a CDSL by {{{var}}} that the inventory does not have")
            }
            Finding::Nested { path, inside } => write!(f, "{path} is in the inventory, and inside the CDSL {inside}"),
            Finding::CopyMissing { path, whose } => write!(f, "{path}: {whose} has no copy"),
            Finding::CopiesMissing { whose } => write!(f, "{whose} has no copies at all"),
            Finding::CopyKind { path, whose, is, should } => write!(
                f,
                "{path}: the copy of {whose} is {} and should be {}",
                kind_words(*is),
                kind_words(Some(*should))
            ),
            Finding::CopyDrift { path, whose, drift } => write!(f, "{path}: the copy of {whose} {drift}"),
            Finding::Orphan { at } => write!(f, "{at} belongs to no CDSL"),
            Finding::LeftOver { at } => write!(f, "{at} was left by a command that was cut off"),
            Finding::HolderUnknown { whose } => {
                write!(f, "{} has copies of {whose}, which cluster.toml does not have", whose.holder())
            }
            Finding::ListedMissing { path, said, reason } => {
                write!(f, "{path} should be a CDSL and is none: {reason} ({said})")
            }
            Finding::ListedOtherwise { path, how, said } => write!(f, "{path} {how} ({said})"),
            Finding::ListedShared { path, said, reason } => {
                write!(f, "{path} is a CDSL and should be one for all: {reason} ({said})")
            }
            Finding::LeftBeside { path, at, what } => write!(f, "{at} is {what}, left beside the CDSL {path}"),
        }
    }
}
