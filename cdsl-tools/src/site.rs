// SPDX-License-Identifier: GPL-2.0-or-later
//! What every command needs: the root it works on, the cluster's configuration there, and which node is meant.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use ssi_cluster::config::Config;
use ssi_cluster::{Context, NodeId, identity};

use crate::layout::{Variable, good_value};
use crate::path::TreePath;
use crate::tree::root::is_absent;
use crate::tree::{Root, TreeError};

/// Why a command cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The root cannot be worked on.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The configuration has mistakes; each is told with its place.
    #[error("{0}")]
    Config(String),
    /// There is none.
    #[error("{0} is not there: CDSLs go by the nodes that it lists; make it with `ssi create`")]
    NoConfig(String),
    /// A node was named that is not in it.
    #[error("there is no node {0} in {1}; it has {2}")]
    NoNode(NodeId, String, String),
    /// Which node this machine is, is not known.
    #[error("{0}")]
    Unknown(String),
    /// A variable that no node has.
    #[error("no node has a variable {{{0}}}; those there are: {1}")]
    NoVariable(Variable, String),
    /// A value that cannot be the name of a directory.
    #[error("node {node}'s {{{variable}}} is \"{value}\", which cannot be the name of a directory")]
    BadValue {
        /// The node.
        node: NodeId,
        /// The variable.
        variable: Variable,
        /// Its value there.
        value: String,
    },
}

/// Where a command works.
#[derive(Debug)]
pub struct Site {
    /// The root.
    pub root: Root,
    config: Option<Config>,
    /// The node that was named with `--node`.
    named: Option<NodeId>,
}

/// `/etc/ssi/cluster.toml`
pub fn config_path() -> TreePath {
    TreePath::root().join(OsStr::new("etc/ssi/cluster.toml"))
}

impl Site {
    /// Opens the root and reads its configuration. A configuration that is not there is an error once it is needed.
    ///
    /// # Errors
    /// What is wrong with root or configuration, or that it has no node of that number.
    pub fn open(root: &Path, named: Option<NodeId>) -> Result<Self, SiteError> {
        let root = Root::open(root)?;
        let path = config_path();
        let shown = root.shown(&path);
        let config = match root.lookup(&path, rustix::fs::OFlags::RDONLY) {
            Ok(fd) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut bytes)
                    .map_err(|error| TreeError::new("read", shown.clone(), error))?;
                let config =
                    Config::parse(Path::new(&shown), &bytes).map_err(|error| SiteError::Config(error.to_string()))?;
                Some(config)
            }
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(TreeError::new("read", shown, error).into()),
        };
        let site = Self { root, config, named };
        if let (Some(node), Some(config)) = (named, &site.config)
            && config.node(node).is_none()
        {
            return Err(SiteError::NoNode(node, shown, site.known()));
        }
        Ok(site)
    }

    fn known(&self) -> String {
        let nodes = self.config.iter().flat_map(|config| config.nodes.keys());
        nodes.map(NodeId::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`SiteError::NoConfig`].
    pub fn config(&self) -> Result<&Config, SiteError> {
        self.config.as_ref().ok_or_else(|| SiteError::NoConfig(self.root.shown(&config_path())))
    }

    /// The contexts of all configured nodes, by their numbers.
    ///
    /// # Errors
    /// [`SiteError::NoConfig`].
    pub fn contexts(&self) -> Result<BTreeMap<NodeId, Context>, SiteError> {
        let config = self.config()?;
        Ok(config.nodes.keys().map(|node| (*node, Context::of(config, *node))).collect())
    }

    /// The values a variable has on the configured nodes, each with the nodes that have it.
    ///
    /// # Errors
    /// When no node has it, or a value cannot be the name of a directory.
    pub fn values(&self, variable: &Variable) -> Result<BTreeMap<String, Vec<NodeId>>, SiteError> {
        let mut values: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
        let contexts = self.contexts()?;
        for (node, context) in &contexts {
            let Some(value) = context.get(variable.as_str()) else { continue };
            if !good_value(value) {
                return Err(SiteError::BadValue { node: *node, variable: variable.clone(), value: value.to_owned() });
            }
            values.entry(value.to_owned()).or_default().push(*node);
        }
        if values.is_empty() {
            let known = contexts.values().next().into_iter().flat_map(Context::vars);
            let known = known.map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
            return Err(SiteError::NoVariable(variable.clone(), known));
        }
        Ok(values)
    }

    /// The node that is meant: the one named with `--node`, else this machine's. For another root than the machine's,
    /// only a name tells.
    ///
    /// # Errors
    /// The sentence of `ssi_cluster::identity`, or that a name is needed.
    pub fn node(&self) -> Result<NodeId, SiteError> {
        if let Some(node) = self.named {
            return Ok(node);
        }
        identity::own_node(self.config()?).map_err(|error| SiteError::Unknown(error.to_string()))
    }

    /// The node whose own the original becomes: [`Site::node`], where that is known. An image that no node runs from
    /// has none.
    pub fn node_if_known(&self) -> Option<NodeId> {
        match (self.named, self.root.is_machine()) {
            (Some(node), _) => Some(node),
            // Another tree may be an image for other machines, or the shared root that this node has mounted there.
            _ => self.config.as_ref().and_then(|config| identity::own_node(config).ok()),
        }
    }

    /// This node's value of a variable.
    ///
    /// # Errors
    /// As [`Site::node`], and when it has no such variable.
    pub fn own_value(&self, variable: &Variable) -> Result<String, SiteError> {
        let node = self.node()?;
        let contexts = self.contexts()?;
        let value = contexts.get(&node).and_then(|context| context.get(variable.as_str()));
        value.map(str::to_owned).ok_or_else(|| SiteError::NoVariable(variable.clone(), "see `cdsl context`".to_owned()))
    }
}
