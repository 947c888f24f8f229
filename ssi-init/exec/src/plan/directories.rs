// SPDX-License-Identifier: GPL-2.0-or-later
//! Directories that are made for a unit, its credentials, its login record.

use crate::step::Step;
use serde::{Deserialize, Serialize};

/// `RuntimeDirectory=`, `StateDirectory=`, `CacheDirectory=`, `LogsDirectory=`, `ConfigurationDirectory=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directories {
    /// The sets that the unit has, in the order of [`DirectoryKind::ALL`].
    pub sets: Vec<DirectorySet>,
    /// Directories that the manager wants under another root than `/` (tests, image builds).
    pub prefix: Option<String>,
}

/// The directories of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectorySet {
    /// Which kind.
    pub kind: DirectoryKind,
    /// `…DirectoryMode=`, 0o755 unless told.
    pub mode: u32,
    /// The directories, relative to the kind's place.
    pub entries: Vec<ManagedDirectory>,
    /// `RuntimeDirectoryPreserve=` is not `no`. With a dynamic user the directory then lives below `private/`.
    pub preserve: bool,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedDirectory {
    /// Relative path, without `..`.
    pub path: String,
    /// `path:link`: relative paths beside it that point to it.
    pub symlinks: Vec<String>,
}

/// The five kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DirectoryKind {
    /// Below /run; goes when the unit stops.
    Runtime,
    /// Below /var/lib.
    State,
    /// Below /var/cache.
    Cache,
    /// Below /var/log.
    Logs,
    /// Below /etc; its owner is left alone.
    Configuration,
}

impl DirectoryKind {
    /// All of them, in the order in which they are made.
    pub const ALL: [DirectoryKind; 5] = [
        DirectoryKind::Runtime,
        DirectoryKind::State,
        DirectoryKind::Cache,
        DirectoryKind::Logs,
        DirectoryKind::Configuration,
    ];

    /// Where they live in the system's manager.
    pub fn place(self) -> &'static str {
        match self {
            DirectoryKind::Runtime => "/run",
            DirectoryKind::State => "/var/lib",
            DirectoryKind::Cache => "/var/cache",
            DirectoryKind::Logs => "/var/log",
            DirectoryKind::Configuration => "/etc",
        }
    }

    /// The environment variable that names them.
    pub fn variable(self) -> &'static str {
        match self {
            DirectoryKind::Runtime => "RUNTIME_DIRECTORY",
            DirectoryKind::State => "STATE_DIRECTORY",
            DirectoryKind::Cache => "CACHE_DIRECTORY",
            DirectoryKind::Logs => "LOGS_DIRECTORY",
            DirectoryKind::Configuration => "CONFIGURATION_DIRECTORY",
        }
    }

    /// The step that fails when one cannot be made.
    pub fn step(self) -> Step {
        match self {
            DirectoryKind::Runtime => Step::RuntimeDirectory,
            DirectoryKind::State => Step::StateDirectory,
            DirectoryKind::Cache => Step::CacheDirectory,
            DirectoryKind::Logs => Step::LogsDirectory,
            DirectoryKind::Configuration => Step::ConfigurationDirectory,
        }
    }
}

/// `LoadCredential=` and `SetCredential=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// Identifier and source. The first that gives something wins for an identifier: those that are loaded stand
    /// before those that are set.
    pub entries: Vec<(String, CredentialSource)>,
    /// Where the manager's own credentials lie (`$CREDENTIALS_DIRECTORY`), and then the system's stores, for
    /// sources that are a plain name.
    pub stores: Vec<String>,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialSource {
    /// An absolute path: a file, a socket to read from, or a directory whose files are taken as `id_name`.
    Path(String),
    /// A name below [`Credentials::stores`]. Not there: left out.
    Store(String),
    /// `SetCredential=`.
    Bytes(Vec<u8>),
}

/// `UtmpIdentifier=`, `UtmpMode=`. utmp(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utmp {
    /// Four characters at most.
    pub identifier: String,
    /// Which records.
    pub mode: UtmpMode,
}

/// Which records a start leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UtmpMode {
    /// INIT_PROCESS: for getty.
    #[default]
    Init,
    /// INIT_PROCESS and LOGIN_PROCESS: for login.
    Login,
    /// And USER_PROCESS: for anything else.
    User,
}
