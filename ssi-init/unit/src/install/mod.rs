// SPDX-License-Identifier: GPL-2.0-or-later
//! Enabling, disabling, masking and linking units: which symbolic links are made and removed.
//!
//! ```text
//!   Installer { files, folders, host }.enable(["ssh.service"])
//!        │  finds the unit's file (discover.rs), reads [Install], follows Also=
//!        ▼
//!   Outcome { changes: [Link { /etc/systemd/system/multi-user.target.wants/ssh.service → … }], notices, errors }
//!        │  apply(changes, root)
//!        ▼
//!   the file system
//! ```
//!
//! Nothing is written before [`apply`]: an [`Installer`] works on an [`Overlay`](tree::Overlay) that shows each step
//! what the steps before it did. So the same code answers "what would happen", and can be tested without a disk.
//! The rules are those of systemctl(1), systemd.unit(5), "[Install] Section Options", and systemd.preset(5); they are
//! held against `systemctl --root` of systemd 252.

mod apply;
mod discover;
mod links;
mod preset;
mod removal;
mod state;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use apply::{ApplyError, apply};
pub use preset::PresetMode;
pub use state::UnitFileState;

use crate::files::Files;
use crate::specifier::Host;
use discover::Context;
use tree::Overlay;

/// Where unit files lie, and what each place means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// All of them, the one that counts most first.
    pub search: Vec<PathBuf>,
    /// The administrator's, kept.
    pub persistent: PathBuf,
    /// The administrator's, until the next boot.
    pub runtime: PathBuf,
    /// Files that generators made.
    pub generated: Vec<PathBuf>,
    /// Files of units made at run time.
    pub transient: PathBuf,
    /// Properties set at run time: kept, and until the next boot.
    pub control: [PathBuf; 2],
    /// Folders of preset files, the one that counts most first.
    pub presets: Vec<PathBuf>,
}

impl Folders {
    /// Those of the system's manager on Debian, systemd.unit(5); `generators`: with those that generators write to,
    /// which are of no interest below another root.
    #[must_use]
    pub fn system(generators: bool) -> Folders {
        let search = [
            "/etc/systemd/system.control",
            "/run/systemd/system.control",
            "/run/systemd/transient",
            "/run/systemd/generator.early",
            "/etc/systemd/system",
            "/etc/systemd/system.attached",
            "/run/systemd/system",
            "/run/systemd/system.attached",
            "/run/systemd/generator",
            "/usr/local/lib/systemd/system",
            "/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/run/systemd/generator.late",
        ];
        let is_generated = |path: &&str| path.starts_with("/run/systemd/generator");
        let paths = |list: Vec<&str>| list.into_iter().map(PathBuf::from).collect();
        let presets = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
        Folders {
            search: paths(search.into_iter().filter(|path| generators || !is_generated(path)).collect()),
            persistent: "/etc/systemd/system".into(),
            runtime: "/run/systemd/system".into(),
            generated: if generators { paths(search.into_iter().filter(is_generated).collect()) } else { Vec::new() },
            transient: "/run/systemd/transient".into(),
            control: ["/etc/systemd/system.control".into(), "/run/systemd/system.control".into()],
            presets: presets.into_iter().map(|root| Path::new(root).join("systemd/system-preset")).collect(),
        }
    }

    /// Whether the path lies directly in one of the folders.
    fn holds(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.search.iter().any(|folder| folder == parent))
    }

    /// Whether the path lies somewhere below one of the folders.
    fn is_above(&self, path: &Path) -> bool {
        self.search.iter().any(|folder| path.starts_with(folder) && path != folder)
    }

    fn is_generated(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.generated.iter().any(|folder| folder == parent))
    }

    fn is_transient(&self, path: &Path) -> bool {
        path.parent() == Some(&self.transient)
    }

    fn is_config(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| parent == self.persistent || parent == self.runtime)
    }

    fn is_control(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.control.iter().any(|folder| folder == parent))
    }

    fn is_vendor(&self, path: &Path) -> bool {
        ["/usr", "/lib"].into_iter().any(|root| path.starts_with(root)) || self.is_generated(path)
    }
}

/// One thing to do to the file system. Paths are as the system below the root sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Make a symbolic link, and the folders above it.
    Link {
        /// Where.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
    },
    /// Remove a file or link; folders above it that are left empty go too.
    Unlink(PathBuf),
    /// Remove a folder of drop-ins and the files in it.
    RemoveFolder(PathBuf),
}

/// What the administrator should know, though it stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// This unit is masked and was passed over.
    Masked(String),
    /// A generator masks this unit, so it stays masked.
    MaskedByGenerator(String),
    /// This name leads to a unit that is not there.
    Dangling(String),
    /// The second was made to depend on the first, which does not exist.
    NoDestination(String, String),
    /// There is no such unit, or its file cannot be used; links to it are looked for and removed all the same.
    Unusable(InstallError),
    /// This unit of an `Also=` could not be found.
    NoAuxiliary(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Masked(unit) => write!(f, "Unit {unit} is masked, ignoring."),
            Notice::MaskedByGenerator(unit) => {
                write!(f, "Unit {unit} is masked via a generator and cannot be unmasked.")
            }
            Notice::Dangling(unit) => write!(f, "Unit {unit} is an alias to a unit that is not present, ignoring."),
            Notice::NoDestination(unit, to) => {
                write!(f, "Unit {unit} is added as a dependency to a non-existent unit {to}.")
            }
            Notice::Unusable(error) => write!(f, "{error}; only links to it are removed."),
            Notice::NoAuxiliary(unit) => write!(f, "Failed to enable auxiliary unit {unit}, ignoring."),
        }
    }
}

/// Why a unit cannot be enabled, disabled and so on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum InstallError {
    /// Something else is where the link would go.
    #[error("file \"{0}\" already exists{target}", target = .1.as_ref().map(|to| format!(" and is a symlink to \"{}\"", to.display())).unwrap_or_default())]
    Exists(PathBuf, Option<PathBuf>),
    /// The unit is masked.
    #[error("unit {0} is masked")]
    Masked(String),
    /// The unit's file is made anew at each boot.
    #[error("unit {0} is transient or generated")]
    Generated(String),
    /// A file to be linked lies below a folder of unit files already.
    #[error("file {0} is under the unit file hierarchy already")]
    UnderFolders(PathBuf),
    /// A word of `[Install]` has an unknown specifier.
    #[error("invalid specifier in \"{0}\"")]
    Specifier(String),
    /// A word of `[Install]` has a specifier without a value here.
    #[error("cannot resolve specifiers in \"{0}\"")]
    Unresolved(String),
    /// A template without instance cannot be wanted by a unit that has none either.
    #[error("destination unit {0} of {1} is a non-template unit")]
    NotTemplate(String, String),
    /// Not the name of a unit.
    #[error("\"{0}\" is not a valid unit name")]
    BadName(String),
    /// The unit's file is a link that must not be followed here, or links go round in circles.
    #[error("refusing to operate on linked unit file {0}")]
    Linked(String),
    /// The alias is no possible name of the unit.
    #[error("cannot alias {unit} as {alias}")]
    CannotAlias {
        /// What it should be called.
        alias: String,
        /// The unit.
        unit: String,
    },
    /// No such unit.
    #[error("unit {0} does not exist")]
    NotFound(String),
    /// Not an absolute path, or a name that cannot be used here.
    #[error("\"{0}\" cannot be used here")]
    Invalid(String),
    /// The file system said no.
    #[error("\"{0}\": {1}")]
    Io(String, String),
}

impl InstallError {
    /// The D-Bus error's name, by which systemctl tells what went wrong.
    #[must_use]
    pub const fn bus_name(&self) -> &'static str {
        match self {
            InstallError::Exists(..) => "org.freedesktop.systemd1.UnitExists",
            InstallError::Masked(_) => "org.freedesktop.systemd1.UnitMasked",
            InstallError::Generated(_) => "org.freedesktop.systemd1.UnitGenerated",
            InstallError::UnderFolders(_) => "org.freedesktop.systemd1.UnitBadPath",
            InstallError::Specifier(_)
            | InstallError::Unresolved(_)
            | InstallError::NotTemplate(..)
            | InstallError::BadName(_)
            | InstallError::CannotAlias { .. } => "org.freedesktop.systemd1.BadUnitSetting",
            InstallError::Linked(_) => "org.freedesktop.systemd1.UnitLinked",
            InstallError::NotFound(_) => "org.freedesktop.systemd1.NoSuchUnit",
            InstallError::Invalid(_) => "org.freedesktop.DBus.Error.InvalidArgs",
            InstallError::Io(..) => "org.freedesktop.DBus.Error.IOError",
        }
    }
}

/// What an operation comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What to do, in order.
    pub changes: Vec<Change>,
    /// What to say.
    pub notices: Vec<Notice>,
    /// What went wrong; changes that were found before it are to be made all the same.
    pub errors: Vec<InstallError>,
    /// How many units had something in `[Install]`: 0 is worth a hint to the administrator.
    pub carries_install_info: usize,
}

/// Works out installations.
#[derive(Clone, Copy)]
pub struct Installer<'a> {
    /// The system.
    pub files: &'a dyn Files,
    /// Where its unit files are.
    pub folders: &'a Folders,
    /// The machine, for specifiers in `[Install]`.
    pub host: &'a Host,
    /// Until the next boot only (`--runtime`).
    pub runtime: bool,
    /// Replace links that are in the way (`--force`).
    pub force: bool,
}

/// The work of one operation.
struct Work<'a> {
    installer: Installer<'a>,
    tree: Overlay<'a>,
    outcome: Outcome,
}

impl<'a> Installer<'a> {
    fn work(self) -> Work<'a> {
        Work { installer: self, tree: Overlay::new(self.files), outcome: Outcome::default() }
    }

    fn config_folder(self) -> &'a Path {
        if self.runtime { &self.folders.runtime } else { &self.folders.persistent }
    }

    /// Makes the links that the units' `[Install]` sections ask for; names, or absolute paths of files to link too.
    #[must_use]
    pub fn enable(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        let _ = work.enable(units);
        work.finish()
    }

    /// Removes all links to the units.
    #[must_use]
    pub fn disable(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        let _ = work.disable(units);
        work.finish()
    }

    /// Disables, then enables.
    #[must_use]
    pub fn reenable(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        // A linked file is found again by its path, once its link is gone.
        let again: Vec<String> = units.iter().map(|unit| work.path_or_name(unit)).collect();
        let names: Vec<&str> = units.iter().map(|unit| unit.rsplit('/').next().unwrap_or(unit)).collect();
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        if work.disable(&names).is_ok() {
            let _ = work.enable(&again);
        }
        work.finish()
    }

    /// Links the units' names to /dev/null.
    #[must_use]
    pub fn mask(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        for unit in units {
            match crate::name::UnitName::new(unit) {
                Ok(name) => {
                    let path = self.config_folder().join(name.as_str());
                    let _ = work.create_link(Path::new("/dev/null"), &path, self.force);
                }
                Err(_) => work.outcome.errors.push(InstallError::BadName((*unit).to_owned())),
            }
        }
        work.finish()
    }

    /// Takes masks away again.
    #[must_use]
    pub fn unmask(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        let _ = work.unmask(units);
        work.finish()
    }

    /// Links files that lie elsewhere into the folders of unit files.
    #[must_use]
    pub fn link(self, paths: &[&Path]) -> Outcome {
        let mut work = self.work();
        let _ = work.link(paths);
        work.finish()
    }

    /// Removes what the administrator changed, so that the vendor's files hold again.
    #[must_use]
    pub fn revert(self, units: &[&str]) -> Outcome {
        let mut work = self.work();
        let _ = work.revert(units);
        work.finish()
    }

    /// Makes `target` want (or, with `requires`, require) the units.
    #[must_use]
    pub fn add_dependency(self, units: &[&str], target: &str, requires: bool) -> Outcome {
        let mut work = self.work();
        let _ = work.add_dependency(units, target, requires);
        work.finish()
    }

    /// Makes `target` the unit that is started at boot.
    #[must_use]
    pub fn set_default(self, target: &str) -> Outcome {
        let mut work = self.work();
        let _ = work.set_default(target);
        work.finish()
    }

    /// The unit that is started at boot.
    ///
    /// # Errors
    /// [`InstallError`] when `default.target` leads nowhere.
    pub fn get_default(self) -> Result<String, InstallError> {
        let work = self.work();
        let mut context = Context::default();
        let found = work.discover(&mut context, "default.target", discover::Depth::NAME)?;
        Ok(context.info(found).name.to_string())
    }

    /// Enables or disables each unit as the preset files say.
    #[must_use]
    pub fn preset(self, units: &[&str], mode: PresetMode) -> Outcome {
        let mut work = self.work();
        let _ = work.preset(units, mode);
        work.finish()
    }

    /// As [`Installer::preset`], for all units there are.
    #[must_use]
    pub fn preset_all(self, mode: PresetMode) -> Outcome {
        let mut work = self.work();
        let _ = work.preset_all(mode);
        work.finish()
    }

    /// Whether the preset files would have the unit enabled.
    #[must_use]
    pub fn preset_enables(self, unit: &str) -> bool {
        preset::Presets::read(self.files, &self.folders.presets).query(unit).is_some()
    }

    /// What `systemctl is-enabled` says of a unit.
    ///
    /// # Errors
    /// [`InstallError`] when there is no such unit, or links to it are broken.
    pub fn state(self, unit: &str) -> Result<UnitFileState, InstallError> {
        self.work().state(unit)
    }
}

/// The operation cannot go on; why is in the outcome's errors.
struct Stopped;

impl Work<'_> {
    fn finish(self) -> Outcome {
        self.outcome
    }

    fn fail<T>(&mut self, error: InstallError) -> Result<T, Stopped> {
        self.outcome.errors.push(error);
        Err(Stopped)
    }
}
