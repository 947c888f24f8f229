// SPDX-License-Identifier: GPL-2.0-or-later
//! Names: of scripts, of what a script says it provides, and of files that are not meant to be looked at.
//!
//! The facilities are those of the Linux Standard Base, chapter "Facility Names"; what they are as targets is told in
//! systemd.special(7).

use ssi_unit::name::{NameError, UnitName, UnitType};

/// LSB's facilities and the target of each; none where every service is ordered after it anyway.
const FACILITIES: [(&[u8], Option<&str>); 7] = [
    (b"local_fs", None),
    (b"network", Some(NETWORK_ONLINE)),
    (b"named", Some("nss-lookup.target")),
    (b"portmap", Some("rpcbind.target")),
    (b"remote_fs", Some("remote-fs.target")),
    (b"syslog", None),
    (b"time", Some("time-sync.target")),
];

/// The target of `$network`. It is passive: who needs it must pull it in.
pub const NETWORK_ONLINE: &str = "network-online.target";

/// Ends of file names that package managers and editors give to what is not in use.
const BACKUP_SUFFIXES: [&[u8]; 17] = [
    b"rpmnew",
    b"rpmsave",
    b"rpmorig",
    b"dpkg-old",
    b"dpkg-new",
    b"dpkg-tmp",
    b"dpkg-dist",
    b"dpkg-bak",
    b"dpkg-backup",
    b"dpkg-remove",
    b"ucf-new",
    b"ucf-old",
    b"ucf-dist",
    b"swp",
    b"bak",
    b"old",
    b"new",
];

/// Whether a file is hidden, a backup, or part of the file system's own household.
pub fn is_hidden_or_backup(file_name: &[u8]) -> bool {
    if file_name.starts_with(b".") || file_name.ends_with(b"~") {
        return true;
    }
    if matches!(file_name, b"lost+found" | b"aquota.user" | b"aquota.group") {
        return true;
    }
    let suffix = file_name.iter().rposition(|byte| *byte == b'.').map(|dot| &file_name[dot + 1..]);
    suffix.is_some_and(|suffix| BACKUP_SUFFIXES.contains(&suffix))
}

/// `name` without the `.sh` that scripts of early boot once had.
fn without_sh(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".sh").unwrap_or(name)
}

/// The unit of the script (or of the service) called `name`.
///
/// ```
/// use ssi_sysv::generator::name::unit_of_script;
/// assert_eq!(unit_of_script(b"hwclock.sh")?.as_str(), "hwclock.service");
/// assert_eq!(unit_of_script(b"foo+")?.as_str(), "foo\\x2b.service");
/// # Ok::<(), ssi_unit::name::NameError>(())
/// ```
///
/// # Errors
/// [`NameError`] where no unit can have that name, such as `@foo`.
pub fn unit_of_script(name: &[u8]) -> Result<UnitName, NameError> {
    mangle(without_sh(name))
}

/// A unit's name from what people write: a whole name stays, a path becomes a device or mount unit, and everything else
/// a service, with what names may not hold escaped.
fn mangle(text: &[u8]) -> Result<UnitName, NameError> {
    let as_str = std::str::from_utf8(text).ok();
    if let Some(text) = as_str {
        if let Ok(name) = UnitName::new(text) {
            return Ok(name);
        }
        if text.starts_with('/') {
            let device = ["/dev/", "/sys/"].iter().any(|under| text.starts_with(under));
            let kind = if device { UnitType::Device } else { UnitType::Mount };
            if let Ok(name) = UnitName::from_path(text, kind) {
                return Ok(name);
            }
        }
    }
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let mut escaped = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'/' => escaped.push('-'),
            b':' | b'-' | b'_' | b'.' | b'\\' | b'@' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    UnitName::new(&escaped).or_else(|_| UnitName::new(&format!("{escaped}.service")))
}

/// What a word of `Provides:`, `Required-Start:` and their kin stands for, in the script called `script`.
///
/// `None` where it says nothing: a facility that is there for every service, or the script itself.
///
/// # Errors
/// [`NameError`] where no unit can have that name.
pub fn unit_of_facility(word: &[u8], script: &[u8]) -> Result<Option<UnitName>, NameError> {
    // Scripts leave the `$` out or put one too many; the names of the standard are known with and without.
    let bare = word.strip_prefix(b"$").unwrap_or(word);
    if let Some((_, target)) = FACILITIES.iter().find(|(name, _)| *name == bare) {
        return target.map(UnitName::new).transpose();
    }
    if word.starts_with(b"$") {
        // A facility of the distribution or site.
        let text = String::from_utf8_lossy(bare);
        if let Some(wrong) = text.chars().find(|c| *c == '@') {
            return Err(NameError::Character(text.clone().into_owned(), wrong));
        }
        return UnitName::new(&format!("{text}.target")).map(Some);
    }
    if bare == without_sh(script) {
        return Ok(None);
    }
    unit_of_script(bare).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facility(word: &str) -> Option<String> {
        unit_of_facility(word.as_bytes(), b"me.sh").expect("a name").map(|name| name.as_str().to_owned())
    }

    #[test]
    fn facilities_of_the_standard_are_targets() {
        assert_eq!(facility("$network").as_deref(), Some("network-online.target"));
        assert_eq!(facility("named").as_deref(), Some("nss-lookup.target"));
        assert_eq!(facility("$local_fs"), None);
        assert_eq!(facility("syslog"), None);
        assert_eq!(facility("$mail-transport-agent").as_deref(), Some("mail-transport-agent.target"));
    }

    #[test]
    fn other_words_are_services_and_oneself_is_nothing() {
        assert_eq!(facility("cron").as_deref(), Some("cron.service"));
        assert_eq!(facility("cron.sh").as_deref(), Some("cron.service"));
        assert_eq!(facility("me"), None);
        assert_eq!(facility("x.target").as_deref(), Some("x.target"));
        assert_eq!(facility("/srv/x").as_deref(), Some("srv-x.mount"));
    }

    #[test]
    fn no_unit_is_called_so() {
        for word in ["", "$", "@x", "$a@b", "$we+ird"] {
            assert!(unit_of_facility(word.as_bytes(), b"me").is_err(), "{word}");
        }
        assert!(unit_of_script(b".sh").is_err());
        assert!(unit_of_script(&[b'x'; 300]).is_err());
    }

    #[test]
    fn backups_are_known_by_their_end() {
        for name in [".x", "x~", "x.dpkg-new", "x.sh.bak", "x.swp", "lost+found"] {
            assert!(is_hidden_or_backup(name.as_bytes()), "{name}");
        }
        for name in ["x", "x.sh", "x.tmp", "x.orig", "bak", "new", "x.bak.sh"] {
            assert!(!is_hidden_or_backup(name.as_bytes()), "{name}");
        }
    }
}
