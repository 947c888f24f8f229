// SPDX-License-Identifier: GPL-2.0-or-later
//! The generator's edge: folders of scripts and links in, the late folder out.

use super::header::Header;
use super::name::{is_hidden_or_backup, unit_of_script};
use super::plan::{Plan, RunLevel, Script, StartLink, plan};
use ssi_unit::load::SearchPath;
use ssi_unit::name::UnitName;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Largest script in bytes. The largest of Debian's has some 30,000.
const SCRIPT_MAX: u64 = 16 * 1024 * 1024;

/// Where the generator looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Folders of scripts (`SYSTEMD_SYSVINIT_PATH`), in a row the first counts.
    pub scripts: Vec<PathBuf>,
    /// Folders that hold `rc1.d` to `rc5.d` (`SYSTEMD_SYSVRCND_PATH`).
    pub run_levels: Vec<PathBuf>,
    /// Folders of native units (`SYSTEMD_UNIT_PATH`), without those of generators.
    pub native: Vec<PathBuf>,
}

impl Sources {
    /// /etc/init.d, /etc and the manager's folders, unless the environment names others: colon-separated, and for units
    /// a colon at the end adds the usual ones.
    pub fn from_environment() -> Sources {
        let mut native = Vec::new();
        let units = env::var_os("SYSTEMD_UNIT_PATH");
        if let Some(units) = &units {
            native.extend(folders(units));
        }
        if units.is_none_or(|units| units.as_bytes().ends_with(b":")) {
            let own = SearchPath::system();
            native.extend(own.folders().iter().filter(|folder| !is_generators(folder)).cloned());
        }
        let one_or = |variable: &str, usual: &str| match env::var_os(variable) {
            Some(value) => folders(&value),
            None => vec![PathBuf::from(usual)],
        };
        Sources {
            scripts: one_or("SYSTEMD_SYSVINIT_PATH", "/etc/init.d"),
            run_levels: one_or("SYSTEMD_SYSVRCND_PATH", "/etc"),
            native,
        }
    }

    /// Reads everything and plans the units.
    pub fn plan(&self) -> Plan {
        let mut remarks = Vec::new();
        let scripts = self.scripts.iter().flat_map(|folder| self.read_scripts(folder, &mut remarks)).collect();
        let mut links = Vec::new();
        for (folder, level) in self.run_levels.iter().flat_map(|at| RunLevel::ALL.map(|level| (at, level))) {
            let names = list(&folder.join(level.folder()), &mut remarks);
            links.extend(names.iter().filter_map(|name| StartLink::read(level, name.as_bytes())));
        }
        let mut plan = plan(scripts, &links);
        remarks.append(&mut plan.remarks);
        plan.remarks = remarks;
        plan
    }

    fn read_scripts(&self, folder: &Path, remarks: &mut Vec<String>) -> Vec<Script> {
        let mut scripts = Vec::new();
        for name in list(folder, remarks) {
            if is_hidden_or_backup(name.as_bytes()) {
                continue;
            }
            let path = folder.join(&name);
            match self.read_script(path.clone(), &name) {
                Ok(script) => scripts.extend(script),
                Err(why) => remarks.push(format!("{} is left out: {why}", path.display())),
            }
        }
        scripts
    }

    /// `None` for what is no script, or has a native unit.
    fn read_script(&self, path: PathBuf, name: &OsStr) -> Result<Option<Script>, String> {
        let status = fs::metadata(&path).map_err(|error| error.to_string())?;
        if !status.is_file() || status.permissions().mode() & 0o100 == 0 {
            return Ok(None);
        }
        // A line of a unit file ends with either.
        if name.as_bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err("its name holds the end of a line".to_owned());
        }
        let unit = unit_of_script(name.as_bytes()).map_err(|error| error.to_string())?;
        if self.is_taken(&unit) {
            return Ok(None);
        }
        let mut text = Vec::new();
        let file = fs::File::open(&path).map_err(|error| error.to_string())?;
        file.take(SCRIPT_MAX + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > SCRIPT_MAX {
            return Err(format!("it is larger than {SCRIPT_MAX} bytes"));
        }
        let header = Header::read(&text).map_err(|error| error.to_string())?;
        Ok(Some(Script { unit, path, header }))
    }

    /// Whether a native unit, an alias or a mask has the name, or the template of its name.
    fn is_taken(&self, unit: &UnitName) -> bool {
        let template = unit.is_instance().then(|| unit.template()).flatten();
        [Some(unit), template.as_ref()].into_iter().flatten().any(|name| self.is_native(name))
    }

    fn is_native(&self, name: &UnitName) -> bool {
        for folder in &self.native {
            let path = folder.join(name.as_str());
            let Ok(entry) = fs::symlink_metadata(&path) else { continue };
            if !entry.is_symlink() {
                // Whatever it is, and be it a folder, the manager looks no further.
                return true;
            }
            match fs::metadata(&path) {
                Ok(_) => return true,
                // Broken. An alias of a unit that is not there hides the name all the same; a link that leads out of
                // the manager's folders to nowhere is as good as none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.leads_inside(folder, &path) {
                        return true;
                    }
                }
                Err(_) => return true,
            }
        }
        false
    }

    /// Whether the link at `path`, in `folder`, leads into one of the folders of units.
    fn leads_inside(&self, folder: &Path, path: &Path) -> bool {
        let Ok(target) = fs::read_link(path) else { return false };
        // The target is not there, nor perhaps the folder it would be in: what can be followed is followed.
        let target = folder.join(target);
        let Some(there) = target.ancestors().skip(1).find_map(|part| fs::canonicalize(part).ok()) else { return false };
        self.native.iter().any(|own| fs::canonicalize(own).is_ok_and(|own| there.starts_with(own)))
    }
}

fn is_generators(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_bytes().starts_with(b"generator"))
}

fn folders(list: &OsStr) -> Vec<PathBuf> {
    let parts = list.as_bytes().split(|byte| *byte == b':').filter(|part| !part.is_empty());
    parts
        .map(|part| PathBuf::from(OsString::from_vec(part.to_vec())))
        // Fails only where the current folder is gone, where a relative path means nothing.
        .filter_map(|path| std::path::absolute(path).ok())
        .collect()
}

/// The names in a folder, sorted; none where there is no such folder.
fn list(folder: &Path, remarks: &mut Vec<String>) -> Vec<OsString> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                remarks.push(format!("the folder {} is passed over: {error}", folder.display()));
            }
            return Vec::new();
        }
    };
    let mut names: Vec<OsString> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    names
}

/// Why the plan is not, or not all, in the folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; the units of init scripts are not complete", path.display())]
pub struct WriteError {
    /// What was to be made.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Plan {
    /// Writes the plan into `folder`, which is made if need be. What is there already stays.
    ///
    /// # Errors
    /// [`WriteError`]: the first that failed. All others have been tried.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let mut first = Ok(());
        let mut note = |path: PathBuf, outcome: io::Result<()>| {
            if let Err(source) = outcome
                && first.is_ok()
            {
                first = Err(WriteError { path, source });
            }
        };
        if !self.units.is_empty() {
            note(folder.to_path_buf(), fs::create_dir_all(folder));
        }
        for (name, text) in &self.units {
            let path = folder.join(name.as_str());
            note(path.clone(), write_new(&path, text));
        }
        for (alias, unit) in &self.aliases {
            let path = folder.join(alias.as_str());
            note(path.clone(), link(unit.as_str(), &path));
        }
        for (target, unit) in &self.wanted {
            let wants = folder.join(format!("{target}.wants"));
            let path = wants.join(unit.as_str());
            let outcome = fs::create_dir_all(&wants).and_then(|()| link(&format!("../{}", unit.as_str()), &path));
            note(path, outcome);
        }
        first
    }
}

/// A file that was not there before: nothing is written through a link that another generator left.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|entry| entry.is_symlink()) {
        // Another generator's alias: the script itself is the better claim.
        fs::remove_file(path)?;
    }
    let mut file = fs::File::create_new(path)?;
    file.write_all(text)
}

fn link(target: &str, path: &Path) -> io::Result<()> {
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}
