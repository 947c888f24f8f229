// SPDX-License-Identifier: GPL-2.0-or-later
//! `cluster.toml` as the commands change it: read, checked, and given to all members at once, or, where no daemon runs,
//! put in place on this machine alone.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest, Sha256};
use ssi_cluster::NodeId;
use ssi_cluster::config::Config;

use crate::cli::Places;
use crate::daemon::Daemon;
use crate::outcome::Failure;

/// Where nodes' own files are: a folder that is there keeps its number taken.
const NODE_FILES: &str = "/cluster";

/// The file as it is.
#[derive(Debug)]
pub struct MembershipFile {
    /// Its text.
    pub text: String,
    /// What it says.
    pub config: Config,
}

/// How far a change went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All members have it.
    AllMembers,
    /// Only this machine has it, because no daemon runs here.
    ThisMachine,
}

impl MembershipFile {
    /// Reads the file; it has to be right before it can be changed.
    ///
    /// # Errors
    /// When it cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failure::failed(format!(
                "there is no {}; this machine is no node of a cluster yet. Make one with 'ssi create', or copy the file from a node of yours",
                path.display()
            )),
            _ => unreadable(path, &e),
        })?;
        let config = Config::parse(path, &bytes)
            .map_err(|e| Failure::failed(format!("cluster.toml is wrong as it is; mend it first:\n{e}")))?;
        let text =
            String::from_utf8(bytes).map_err(|e| Failure::failed(format!("{} is not UTF-8: {e}", path.display())))?;
        Ok(MembershipFile { text, config })
    }

    /// The fingerprint the daemon knows it by.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Checks a new text and puts it in force: through the daemon on all members, or, without one, on this machine.
    ///
    /// # Errors
    /// When the new text is wrong, the daemon refuses it, or it cannot be written. Nothing is changed then.
    pub async fn replace(&self, text: &str, daemon: Option<&Daemon>, places: &Places) -> Result<Reach, Failure> {
        Config::parse(&places.cluster_toml, text.as_bytes())
            .map_err(|e| Failure::Refused(format!("cluster.toml would be wrong, so nothing was changed:\n{e}")))?;
        match daemon {
            Some(daemon) => {
                daemon.replace_config(&self.fingerprint(), text).await?;
                Ok(Reach::AllMembers)
            }
            None => {
                write_whole(&places.cluster_toml, text.as_bytes(), 0o644, true)?;
                Ok(Reach::ThisMachine)
            }
        }
    }
}

fn unreadable(path: &Path, e: &std::io::Error) -> Failure {
    match e.kind() {
        ErrorKind::PermissionDenied => Failure::Refused(format!("you may not read {}: {e}", path.display())),
        _ => Failure::failed(format!("cannot read {}: {e}", path.display())),
    }
}

/// Puts a file in place whole or not at all, and on disk before it counts.
///
/// # Errors
/// [`Failure::Refused`] when the caller may not or, unless `replace`, when there is one already; [`Failure::Failed`]
/// for anything else.
pub fn write_whole(path: &Path, content: &[u8], mode: u32, replace: bool) -> Result<(), Failure> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |doing: String, e: std::io::Error| match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Failure::Refused(format!("{doing}: {e}; are you root?"))
        }
        ErrorKind::AlreadyExists => {
            Failure::Refused(format!("{} is there already and is left as it is", path.display()))
        }
        _ => Failure::Failed(anyhow::Error::new(e).context(doing)),
    };
    let step = |what: &str| format!("{what} {}", path.display());
    std::fs::create_dir_all(folder).map_err(|e| cannot(format!("making the folder {}", folder.display()), e))?;
    let mut file = tempfile::Builder::new()
        .prefix(".ssi-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|e| cannot(step("making a new file beside"), e))?;
    file.write_all(content).map_err(|e| cannot(step("writing"), e))?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(|e| cannot(step("setting the mode of"), e))?;
    file.as_file().sync_all().map_err(|e| cannot(step("writing to disk"), e))?;
    if replace {
        file.persist(path).map_err(|e| cannot(step("putting in place"), e.error))?;
    } else {
        file.persist_noclobber(path).map_err(|e| cannot(step("putting in place"), e.error))?;
    }
    // The name is on disk only when its folder is.
    std::fs::File::open(folder).and_then(|f| f.sync_all()).context(step("writing to disk the folder of"))?;
    Ok(())
}

/// Every number that was ever a node's, as far as it can be found out here: cluster.toml, the daemon's nodes, the
/// transition log, and the folders of nodes' own files.
///
/// # Errors
/// When the daemon is there but cannot be asked.
pub async fn numbers_used(config: &Config, daemon: Option<&Daemon>) -> Result<BTreeSet<NodeId>, Failure> {
    let mut used: BTreeSet<NodeId> = config.nodes.keys().copied().collect();
    if let Some(daemon) = daemon {
        used.extend(daemon.picture().await?.nodes.iter().filter_map(|n| NodeId::new(n.id)));
        let mut since = 0;
        loop {
            let (_, page) = daemon.transitions(since).await?;
            let Some(last) = page.last() else { break };
            since = last.id;
            used.extend(page.iter().map(|t| t.node));
        }
    }
    used.extend(numbers_of_folders(Path::new(NODE_FILES)));
    Ok(used)
}

fn numbers_of_folders(folder: &Path) -> Vec<NodeId> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.strip_prefix("node")?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_that_is_wished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/cluster.toml");
        write_whole(&path, b"one", 0o644, false).unwrap();
        assert!(matches!(write_whole(&path, b"two", 0o644, false), Err(Failure::Refused(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"two", 0o400, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        // Nothing is left beside it.
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_a_nodes_own_files_keeps_its_number_taken() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["node3", "node{nodenum}", "node", "node07", "nodex", "template"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(numbers_of_folders(dir.path()), [NodeId::new(3).unwrap()]);
    }
}
