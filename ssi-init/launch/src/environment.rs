// SPDX-License-Identifier: GPL-2.0-or-later
//! The variables of a unit: `PassEnvironment=`, `Environment=` and `EnvironmentFile=`, the later winning.
//!
//! Files are read at each start, as systemd.exec(5) has it: what an `ExecStartPre=` writes the main process finds.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ssi_unit::condition::matches_pattern;
use ssi_unit::config::ExecConfig;
use ssi_unit::environment::{is_name, parse_file};

use crate::request::LaunchError;

/// The unit's own variables, weakest first. `own`: the manager's, for `PassEnvironment=`. What is passed over is told
/// to `warn`.
pub(crate) fn of_unit(
    exec: &ExecConfig,
    unit: &str,
    own: &BTreeMap<String, String>,
    warn: &mut dyn FnMut(String),
) -> Result<Vec<(String, String)>, LaunchError> {
    let pass = exec.pass_environment.iter().filter_map(|name| Some((name.clone(), own.get(name)?.clone())));
    let mut variables: Vec<(String, String)> = pass.collect();
    let set = exec.environment.iter().filter_map(|assignment| assignment.split_once('='));
    variables.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for file in &exec.environment_files {
        match from_files(&file.path, warn) {
            Ok(found) => variables.extend(found),
            Err(_) if file.optional => {}
            Err(source) => {
                let (unit, path) = (unit.to_owned(), file.path.clone());
                return Err(LaunchError::EnvironmentFile { unit, path, source });
            }
        }
    }
    Ok(variables)
}

/// The variables of all files that fit a pattern, by name.
fn from_files(pattern: &str, warn: &mut dyn FnMut(String)) -> io::Result<Vec<(String, String)>> {
    let files = fitting(pattern);
    if files.is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let mut variables = Vec::new();
    for path in files {
        let entries = parse_file(&std::fs::read(&path)?).map_err(|bad| io::Error::other(format!("{path}: {bad}")))?;
        for entry in entries {
            if is_name(&entry.name) && !entry.value.contains('\0') {
                variables.push((entry.name, entry.value));
            } else {
                warn(format!("{path}:{}: \"{}\" is no name of a variable; ignored", entry.line, entry.name));
            }
        }
    }
    Ok(variables)
}

/// The paths that fit a pattern of glob(7), sorted; one without wildcards fits itself, there or not.
fn fitting(pattern: &str) -> Vec<String> {
    const WILD: [char; 4] = ['*', '?', '[', '\\'];
    if !pattern.contains(WILD) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let below = |base: &String| -> Vec<String> {
            if !part.contains(WILD) {
                return vec![format!("{base}/{part}")];
            }
            let folder = if base.is_empty() { "/" } else { base };
            let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            // A dot at the start has to be asked for.
            let fits =
                names.filter(|name| matches_pattern(part, name) && (!name.starts_with('.') || part.starts_with('.')));
            fits.map(|name| format!("{base}/{name}")).collect()
        };
        found = found.iter().flat_map(below).collect();
    }
    found.retain(|path| Path::new(path).symlink_metadata().is_ok());
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;
    use ssi_unit::config::exec::EnvironmentFile;

    type Made = Result<Vec<(String, String)>, LaunchError>;

    fn of(exec: &ExecConfig) -> (Made, Vec<String>) {
        let own = BTreeMap::from([("LANG".to_owned(), "C".to_owned()), ("SECRET".to_owned(), "x".to_owned())]);
        let mut warnings = Vec::new();
        let made = of_unit(exec, "a.service", &own, &mut |text| warnings.push(text));
        (made, warnings)
    }

    fn owned(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn files_come_last_and_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("2.conf", "B=two\n");
        put("1.conf", "B=one\nC='a b'\n9bad=1\n");
        put(".hidden.conf", "B=hidden\n");
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        exec.pass_environment = vec!["LANG".into(), "MISSING".into()];
        exec.environment = vec!["A=1".into(), "B=0".into()];
        exec.environment_files =
            vec![EnvironmentFile { path: folder.path().join("*.conf").display().to_string(), optional: false }];
        let (made, warnings) = of(&exec);
        let want = [("LANG", "C"), ("A", "1"), ("B", "0"), ("B", "one"), ("C", "a b"), ("B", "two")];
        assert_eq!(made.unwrap(), owned(&want));
        assert!(warnings.len() == 1 && warnings[0].contains("1.conf:3"), "{warnings:?}");
    }

    #[test]
    fn a_missing_file_stops_the_start_unless_it_may_be() {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        for path in ["/nowhere/file", "/nowhere/*"] {
            exec.environment_files = vec![EnvironmentFile { path: path.into(), optional: false }];
            let error = of(&exec).0.unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("a.service"), "{error}");
            exec.environment_files[0].optional = true;
            assert_eq!(of(&exec).0.unwrap(), []);
        }
    }
}
