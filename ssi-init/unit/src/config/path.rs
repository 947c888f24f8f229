// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Path]` section: systemd.path(5).

use std::time::Duration;

use super::words::words;
use crate::name::UnitName;

words! {
    /// What about a path is waited for.
    pub enum PathEvent {
        /// It exists.
        Exists = "PathExists",
        /// Something that matches the pattern exists.
        ExistsGlob = "PathExistsGlob",
        /// A file open for writing was closed, or the directory changed.
        Changed = "PathChanged",
        /// As changed, and at each write.
        Modified = "PathModified",
        /// A directory holds something.
        DirectoryNotEmpty = "DirectoryNotEmpty",
    }
}

/// One path that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathWatch {
    /// What is waited for.
    pub event: PathEvent,
    /// Absolute path, or a pattern for [`PathEvent::ExistsGlob`].
    pub path: String,
}

/// The `[Path]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathConfig {
    /// What is watched, in the order it was written.
    pub watches: Vec<PathWatch>,
    /// What is started; `None`: the service of the same name.
    pub unit: Option<UnitName>,
    /// Make the directories before watching.
    pub make_directory: bool,
    /// Mode of directories so made.
    pub directory_mode: u32,
    /// Triggers are counted over this time; `None`: not told, two seconds.
    pub trigger_limit_interval: Option<Duration>,
    /// Triggers allowed in that time; `None`: not told, 200.
    pub trigger_limit_burst: Option<u32>,
}

impl Default for PathConfig {
    fn default() -> PathConfig {
        PathConfig {
            watches: Vec::new(),
            unit: None,
            make_directory: false,
            directory_mode: 0o755,
            trigger_limit_interval: None,
            trigger_limit_burst: None,
        }
    }
}
