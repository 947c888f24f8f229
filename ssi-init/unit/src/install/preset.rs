// SPDX-License-Identifier: GPL-2.0-or-later
//! Preset files, which say what a distribution or site wants enabled: systemd.preset(5).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::discover::{Context, Depth};
use super::{InstallError, Stopped, Work};
use crate::condition::matches_pattern;
use crate::files::{FileKind, Files};
use crate::name::UnitName;

/// What applying presets may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PresetMode {
    /// Enable and disable.
    #[default]
    Full,
    /// Only enable.
    EnableOnly,
    /// Only disable.
    DisableOnly,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: String,
    enable: bool,
    instances: Vec<String>,
}

/// The rules of all preset files, the first that fits counts.
pub(super) struct Presets {
    rules: Vec<Rule>,
}

impl Presets {
    /// Reads the files in the order of their names; of two with one name that of the first folder.
    pub(super) fn read(files: &dyn Files, folders: &[PathBuf]) -> Presets {
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in folders {
            for entry in files.list(folder).unwrap_or_default() {
                let preset = entry.name.to_string_lossy().ends_with(".preset");
                if preset && paths.iter().all(|known| known.file_name() != Some(&entry.name)) {
                    paths.push(folder.join(entry.name));
                }
            }
        }
        paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let texts = paths.iter().filter_map(|path| files.read(path).ok());
        let rules = texts.flat_map(|text| {
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().filter_map(rule).collect::<Vec<_>>()
        });
        Presets { rules: rules.collect() }
    }

    /// What the rules want of a unit: `None` to disable it; else to enable these: the unit, or instances of it.
    pub(super) fn query(&self, unit: &str) -> Option<Vec<String>> {
        let name = UnitName::new(unit).ok()?;
        for rule in &self.rules {
            let template =
                name.template().filter(|template| !rule.instances.is_empty() && *template == *rule.pattern.as_str());
            if let Some(template) = template {
                if name.is_template() {
                    let instances = rule.instances.iter().filter_map(|instance| template.instantiate(instance).ok());
                    return Some(instances.map(|name| name.to_string()).collect());
                }
                if rule.instances.iter().any(|instance| Some(instance.as_str()) == name.instance()) {
                    return rule.enable.then(|| vec![unit.to_owned()]);
                }
            }
            if matches_pattern(&rule.pattern, unit) {
                return rule.enable.then(|| vec![unit.to_owned()]);
            }
        }
        // A unit nobody speaks of is enabled.
        Some(vec![unit.to_owned()])
    }
}

/// Reads `enable PATTERN [INSTANCE…]` or `disable PATTERN`.
fn rule(line: &str) -> Option<Rule> {
    let (verb, rest) = line.trim().split_once([' ', '\t'])?;
    let rest = rest.trim();
    match verb {
        "disable" => Some(Rule { pattern: rest.to_owned(), enable: false, instances: Vec::new() }),
        "enable" => {
            let mut words = rest.split_ascii_whitespace().map(str::to_owned);
            let (pattern, instances) = (words.next()?, words.collect::<Vec<_>>());
            let template = UnitName::new(&pattern).is_ok_and(|name| name.is_template());
            (instances.is_empty() || template).then_some(Rule { pattern, enable: true, instances })
        }
        _ => None,
    }
}

impl Work<'_> {
    pub(super) fn preset(&mut self, units: &[&str], mode: PresetMode) -> Result<(), Stopped> {
        let presets = Presets::read(self.installer.files, &self.installer.folders.presets);
        let (mut plus, mut minus) = (Context::default(), Context::default());
        for unit in units {
            if let Err(error) = self.prepare(&presets, unit, &mut plus, &mut minus) {
                return self.fail(error);
            }
        }
        self.execute(plus, minus, mode)
    }

    pub(super) fn preset_all(&mut self, mode: PresetMode) -> Result<(), Stopped> {
        let presets = Presets::read(self.installer.files, &self.installer.folders.presets);
        let (mut plus, mut minus) = (Context::default(), Context::default());
        for folder in &self.installer.folders.search {
            for entry in self.tree.list(folder).unwrap_or_default() {
                let name = entry.name.to_string_lossy();
                if UnitName::new(&name).is_ok() && matches!(entry.kind, FileKind::Regular | FileKind::Link) {
                    // Masked, generated and broken units are no reason to leave the others as they are.
                    let _ = self.prepare(&presets, &name, &mut plus, &mut minus);
                }
            }
        }
        self.execute(plus, minus, mode)
    }

    fn prepare(
        &self,
        presets: &Presets,
        unit: &str,
        plus: &mut Context,
        minus: &mut Context,
    ) -> Result<(), InstallError> {
        if plus.knows(unit) || minus.knows(unit) {
            return Ok(());
        }
        let mut own = Context::default();
        let at = self.discover(&mut own, unit, Depth::NAME)?;
        if own.info(at).name != *unit {
            // An alias goes with its unit.
            return Ok(());
        }
        match presets.query(unit) {
            Some(names) => {
                for name in names {
                    let at = self.discover(plus, &name, Depth::FULL)?;
                    self.check(plus.info(at))?;
                }
            }
            None => {
                self.discover(minus, unit, Depth::NAME)?;
            }
        }
        Ok(())
    }

    fn execute(&mut self, mut plus: Context, mut minus: Context, mode: PresetMode) -> Result<(), Stopped> {
        if mode != PresetMode::EnableOnly {
            let marked = self.mark(&mut minus);
            self.remove_marked(marked);
        }
        if mode != PresetMode::DisableOnly {
            let _ = self.apply(&mut plus, Depth::OWN, true);
        }
        if self.outcome.errors.is_empty() { Ok(()) } else { Err(Stopped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut files = MemoryFiles::new();
        files.file("/usr/lib/systemd/system-preset/90.preset", "# x\nenable a.service\ndisable *\n");
        files.file("/etc/systemd/system-preset/10.preset", "enable t@.service one two\ndisable b*\n");
        files.file("/usr/lib/systemd/system-preset/10.preset", "enable b.service\n");
        let folders = ["/etc/systemd/system-preset".into(), "/usr/lib/systemd/system-preset".into()];
        let presets = Presets::read(&files, &folders);
        assert_eq!(presets.query("a.service"), Some(vec!["a.service".to_owned()]));
        assert_eq!(presets.query("b.service"), None);
        assert_eq!(presets.query("c.service"), None);
        assert_eq!(presets.query("t@.service"), Some(vec!["t@one.service".to_owned(), "t@two.service".to_owned()]));
        assert_eq!(presets.query("t@two.service"), Some(vec!["t@two.service".to_owned()]));
        assert_eq!(presets.query("t@three.service"), None);
    }
}
