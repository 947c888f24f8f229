// SPDX-License-Identifier: GPL-2.0-or-later
//! What one daemon leaves to the next one of the same boot about the cluster's scope: [`Memory`], in a file below `/run`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use ssi_cluster::scope::Memory;

#[derive(Serialize, Deserialize)]
struct File {
    boot: String,
    memory: Memory,
}

/// The file and what is in it.
pub struct Kept {
    path: PathBuf,
    boot: String,
    written: Memory,
    failed: bool,
}

impl Kept {
    /// The file at this place, for this boot.
    #[must_use]
    pub fn new(path: PathBuf, boot: String) -> Kept {
        Kept { path, boot, written: Memory::default(), failed: false }
    }

    /// What an earlier daemon of this boot left; nothing if there was none.
    #[must_use]
    pub fn load(&self) -> Memory {
        let bytes = std::fs::read(&self.path).ok();
        let file = bytes.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
        file.filter(|file| file.boot == self.boot).map(|file| file.memory).unwrap_or_default()
    }

    /// Keeps it, if it is not what was kept last.
    pub fn keep(&mut self, memory: &Memory) {
        if self.written == *memory {
            return;
        }
        let file = File { boot: self.boot.clone(), memory: memory.clone() };
        let written = serde_json::to_vec(&file).map_err(anyhow::Error::from);
        match written.and_then(|bytes| crate::store::replace_file(&self.path, &bytes)) {
            Ok(()) => (self.written, self.failed) = (file.memory, false),
            // The next daemon would know less, and be the more careful for it.
            Err(e) if !self.failed => {
                tracing::warn!("cannot keep what the next ssi-clusterd of this boot is to know: {e:#}");
                self.failed = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_cluster::NodeId;

    #[test]
    fn what_was_kept_is_there_for_the_same_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scope.json");
        let kept = |boot: &str| Kept::new(path.clone(), boot.to_owned());
        assert_eq!(kept("a").load(), Memory::default());
        let ended = [(NodeId::new(2).unwrap(), "b".to_owned())].into();
        let memory = Memory { met_all: true, ended, ..Memory::default() };
        kept("a").keep(&memory);
        assert_eq!(kept("a").load(), memory);
        assert_eq!(kept("b").load(), Memory::default());
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(kept("a").load(), Memory::default());
    }
}
