// SPDX-License-Identifier: GPL-2.0-or-later
//! What the daemon keeps on disk, and how a file is replaced.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::{Context, Result};

use crate::agreement::shared::Shared;

/// Replaces a file whole: after a cut at any moment it is the old one or the new one, on disk.
///
/// # Errors
/// Names the file and the step.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file without a folder")?;
    let shown = path.display();
    let mut file = tempfile::Builder::new()
        .prefix(".ssi-")
        .tempfile_in(dir)
        .with_context(|| format!("cannot make a temporary file in {}", dir.display()))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(|| format!("cannot write {shown}"))?;
    file.persist(path).map_err(|e| e.error).with_context(|| format!("cannot replace {shown}"))?;
    let dir_file = std::fs::File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    dir_file.sync_all().with_context(|| format!("cannot sync {}", dir.display()))
}

/// Reads what was kept. Nothing kept is an empty state; what cannot be read is put aside, not lost.
pub fn load(path: &Path) -> Shared {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Shared::default(),
        Err(e) => {
            tracing::warn!("cannot read {}: {e}; starting without it", path.display());
            return Shared::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|e| {
        let aside = path.with_extension("json.unreadable");
        let kept = std::fs::rename(path, &aside).map(|()| format!("put aside as {}", aside.display()));
        let kept = kept.unwrap_or_else(|e| format!("and cannot be put aside: {e}"));
        tracing::warn!("{} is not readable ({e}), {kept}; starting without it", path.display());
        Shared::default()
    })
}

/// Writes states to disk in a thread of its own, so that a slow disk does not hold up the daemon. Of several that wait
/// only the newest is written.
pub struct Keeper {
    states: mpsc::Sender<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub fn start(path: PathBuf) -> Self {
        let (states, queue) = mpsc::channel::<Shared>();
        let thread = std::thread::spawn(move || {
            let mut failing = false;
            while let Ok(mut state) = queue.recv() {
                while let Ok(newer) = queue.try_recv() {
                    state = newer;
                }
                let written = serde_json::to_vec(&state)
                    .context("cannot write down what is held")
                    .and_then(|bytes| replace_file(&path, &bytes));
                match written {
                    Ok(()) => failing = false,
                    Err(e) if !failing => {
                        failing = true;
                        tracing::error!(
                            "{e:#}; the cluster goes on, but this node will start without it after a reboot"
                        );
                    }
                    Err(_) => {}
                }
            }
        });
        Self { states, thread: Some(thread) }
    }

    /// Has this written, unless a newer one comes first.
    pub fn keep(&self, shared: &Shared) {
        let _ = self.states.send(shared.clone());
    }

    /// Waits until the last one is written.
    pub fn finish(mut self) {
        let Some(thread) = self.thread.take() else { return };
        drop(self);
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_and_the_unreadable_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agreed.json");
        assert_eq!(load(&path), Shared::default());
        let keeper = Keeper::start(path.clone());
        let mut shared = Shared::default();
        for last_id in 1..=50 {
            shared.last_id = last_id;
            keeper.keep(&shared);
        }
        keeper.finish();
        assert_eq!(load(&path), shared);
        std::fs::write(&path, "{ torn").unwrap();
        assert_eq!(load(&path), Shared::default());
        assert!(dir.path().join("agreed.json.unreadable").exists());
    }
}
