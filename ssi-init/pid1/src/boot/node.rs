// SPDX-License-Identifier: GPL-2.0-or-later
//! The node's number, and with it the contexts: which files are this node's own.
//!
//! The number is worked out in this child, by the same code that every part of the cluster uses; process 1 gets the
//! number alone. Contexts are mounted by the command `cdsl`, before anything reads a file that is a node's own.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use ssi_cluster::{CLUSTER_TOML, Config, own_node};

use crate::say::say;
use crate::settings::Settings;

/// The node's number; 0 where there is no cluster. The error is a sentence for the administrator.
pub(crate) fn number_and_contexts(settings: &Settings, path: &OsString) -> Result<u32, String> {
    match std::fs::symlink_metadata(CLUSTER_TOML) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("looking for {CLUSTER_TOML}: {error}")),
        Ok(_) => {}
    }
    let config = Config::load(Path::new(CLUSTER_TOML)).map_err(|error| error.to_string())?;
    let node = own_node(&config).map_err(|error| error.to_string())?.get();
    say!(Note, "this is node {node} of the cluster {}", config.name);
    mount_contexts(settings, node, path)?;
    // Only for people and scripts to read: whoever has to be sure asks as this did.
    if let Err(error) = std::fs::write("/run/ssi/node", format!("{node}\n")) {
        say!(Warning, "writing /run/ssi/node: {error}");
    }
    Ok(node)
}

fn mount_contexts(settings: &Settings, node: u32, path: &OsString) -> Result<(), String> {
    let cdsl = settings.cdsl.display();
    let done = Command::new(&settings.cdsl).arg("mount").env("PATH", path).env("SSI_NODE", node.to_string()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "activating the contexts of node {node}: '{cdsl} mount' ended with {status}; see what it said above"
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say!(Warning, "there is no {cdsl}: contexts are not activated, every node sees the same files");
            Ok(())
        }
        Err(error) => Err(format!("activating the contexts of node {node}: starting '{cdsl} mount': {error}")),
    }
}
