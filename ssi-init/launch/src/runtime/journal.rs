// SPDX-License-Identifier: GPL-2.0-or-later
//! What journald is told of a unit: links and files in /run/systemd/units whose names it knows, so that it puts the
//! invocation into each entry and applies `LogLevelMax=`, `LogRateLimit…=` and `LogExtraFields=`.

use std::io::{self, Write};
use std::path::Path;

use ssi_unit::config::ExecConfig;

use crate::plan::{invocation_text, level};

const PLACE: &str = "run/systemd/units";
const KINDS: [&str; 5] =
    ["invocation", "log-level-max", "log-extra-fields", "log-rate-limit-interval", "log-rate-limit-burst"];

/// Tells it of a start.
pub(crate) fn tell(root: &Path, unit: &str, invocation: u128, exec: &ExecConfig) -> io::Result<()> {
    let place = root.join(PLACE);
    std::fs::create_dir_all(&place)?;
    let link = |kind: &str, value: Option<String>| match value {
        Some(value) => point(&place.join(format!("{kind}:{unit}")), &value),
        None => Ok(()),
    };
    link("invocation", (invocation != 0).then(|| invocation_text(invocation)))?;
    link("log-level-max", exec.log_level_max.map(|max| level(max).to_string()))?;
    let interval = exec.log_rate_limit_interval.filter(|interval| !interval.is_zero());
    link("log-rate-limit-interval", interval.map(|interval| interval.as_micros().to_string()))?;
    let burst = exec.log_rate_limit_burst;
    link("log-rate-limit-burst", (burst != 0).then(|| burst.to_string()))?;
    if !exec.log_extra_fields.is_empty() {
        let path = place.join(format!("log-extra-fields:{unit}"));
        let new = place.join(format!(".#log-extra-fields:{unit}"));
        let mut file = std::fs::File::create(&new)?;
        for field in &exec.log_extra_fields {
            // Each field with its length before it, as in the journal's native protocol.
            file.write_all(&(field.len() as u64).to_le_bytes())?;
            file.write_all(field)?;
        }
        std::fs::rename(&new, &path)?;
    }
    Ok(())
}

/// Takes all back.
pub(crate) fn forget(root: &Path, unit: &str) {
    for kind in KINDS {
        // Gone already, or never told.
        let _ = std::fs::remove_file(root.join(PLACE).join(format!("{kind}:{unit}")));
    }
}

/// A link with this text, replaced at once when it has another.
fn point(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read_link(path).is_ok_and(|old| old == Path::new(text)) {
        return Ok(());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(text, &new)?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    #[test]
    fn journald_finds_what_it_looks_for() {
        let root = tempfile::tempdir().unwrap();
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        exec.log_level_max = Some(ssi_unit::config::exec::LogLevel::Notice);
        exec.log_extra_fields = vec![b"A=1".to_vec()];
        tell(root.path(), "a.service", 1, &exec).unwrap();
        tell(root.path(), "a.service", 0xab, &exec).unwrap();
        let place = root.path().join(PLACE);
        let link = |name: &str| std::fs::read_link(place.join(name)).unwrap().display().to_string();
        assert_eq!(link("invocation:a.service"), "000000000000000000000000000000ab");
        assert_eq!(link("log-level-max:a.service"), "5");
        assert_eq!(std::fs::read(place.join("log-extra-fields:a.service")).unwrap(), b"\x03\0\0\0\0\0\0\0A=1");
        forget(root.path(), "a.service");
        assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
    }
}
