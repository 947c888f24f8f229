// SPDX-License-Identifier: GPL-2.0-or-later
//! What every process of the system finds in its environment: the search path and the language, what system.conf(5) and
//! the kernel's command line add, and what `systemctl set-environment` adds later.

use std::collections::BTreeMap;

use ssi_unit::environment::parse_file;

/// Where programs are looked for when nothing says otherwise, systemd.exec(5).
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
/// Where they are as well while `/bin` is a directory of its own.
const SPLIT: &str = ":/sbin:/bin";

/// The names locale.conf(5) may set.
const LOCALE: [&str; 14] = [
    "LANG",
    "LANGUAGE",
    "LC_CTYPE",
    "LC_NUMERIC",
    "LC_TIME",
    "LC_COLLATE",
    "LC_MONETARY",
    "LC_MESSAGES",
    "LC_PAPER",
    "LC_NAME",
    "LC_ADDRESS",
    "LC_TELEPHONE",
    "LC_MEASUREMENT",
    "LC_IDENTIFICATION",
];

/// The environment of a system that begins.
///
/// `locale` is the text of locale.conf, or of `/etc/default/locale` where Debian has that instead; `defaults` are
/// `DefaultEnvironment=` and `ManagerEnvironment=`, `given` the kernel's command line.
pub(crate) fn first(
    split_usr: bool,
    locale: Option<&[u8]>,
    defaults: &[String],
    given: &[(String, String)],
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    environment.insert("PATH".to_owned(), if split_usr { format!("{PATH}{SPLIT}") } else { PATH.to_owned() });
    if let Some(entries) = locale.and_then(|text| parse_file(text).ok()) {
        for entry in entries {
            if LOCALE.contains(&entry.name.as_str()) {
                environment.insert(entry.name, entry.value);
            }
        }
    }
    environment.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    for pair in defaults {
        if let Some((name, value)) = pair.split_once('=') {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    environment.extend(given.iter().cloned());
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_win_and_only_names_of_a_locale_are_taken() {
        let locale = b"LANG=de_DE.UTF-8\nPATH=/evil\n# no\nLC_TIME=\"en_DK.UTF-8\"\n";
        let found = first(true, Some(locale), &["A=1".to_owned()], &[("A".to_owned(), "2".to_owned())]);
        assert_eq!(found["PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        assert_eq!(
            (found["LANG"].as_str(), found["LC_TIME"].as_str(), found["A"].as_str()),
            ("de_DE.UTF-8", "en_DK.UTF-8", "2")
        );
        assert_eq!(first(false, None, &[], &[])["LANG"], "C.UTF-8");
    }
}
