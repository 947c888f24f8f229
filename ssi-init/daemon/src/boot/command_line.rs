// SPDX-License-Identifier: GPL-2.0-or-later
//! What the kernel's command line asks of the manager: kernel-command-line(7), "Core OS Command Line Arguments".

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The unit to boot into, by `systemd.unit=` or one of sysvinit's words (`1`, `single`, `emergency`, `5`, …).
    pub(crate) unit: Option<String>,
    /// `systemd.mask=`
    pub(crate) masks: Vec<String>,
    /// `systemd.wants=`
    pub(crate) wants: Vec<String>,
    /// `systemd.setenv=`
    pub(crate) environment: Vec<(String, String)>,
    /// `debug` or `systemd.log_level=debug`.
    pub(crate) debug: bool,
}

impl CommandLine {
    /// Reads it. What is another program's is passed over; of a word that is given twice the last counts.
    pub(crate) fn read(text: &str) -> Self {
        let mut line = Self::default();
        for word in words(text) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key.replace('-', "_"), Some(value)),
                None => (word.clone(), None),
            };
            match (key.as_str(), value) {
                ("systemd.unit", Some(unit)) if !unit.is_empty() => line.unit = Some(unit.to_owned()),
                ("systemd.mask", Some(unit)) => line.masks.push(unit.to_owned()),
                ("systemd.wants", Some(unit)) => line.wants.push(unit.to_owned()),
                ("systemd.setenv", Some(pair)) => {
                    if let Some((name, value)) = pair.split_once('=') {
                        line.environment.push((name.to_owned(), value.to_owned()));
                    }
                }
                ("systemd.log_level", Some(level)) => line.debug = level == "debug" || level == "7",
                ("debug", None) => line.debug = true,
                (word, None) => {
                    if let Some(unit) = run_level(word) {
                        line.unit = Some(unit.to_owned());
                    }
                }
                _ => {}
            }
        }
        line
    }
}

/// The unit for a word of sysvinit's, as kernel-command-line(7) lists them.
fn run_level(word: &str) -> Option<&'static str> {
    Some(match word {
        "emergency" | "-b" => "emergency.target",
        "rescue" | "single" | "-s" | "s" | "S" | "1" => "rescue.target",
        "2" | "3" | "4" => "multi-user.target",
        "5" => "graphical.target",
        _ => return None,
    })
}

/// The words, at blanks outside of double quotes, as the kernel splits them.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            c if c.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_boot_into() {
        for (text, unit) in [
            ("root=/dev/vda quiet", None),
            ("root=/dev/vda single", Some("rescue.target")),
            ("systemd.unit=x.target 5", Some("graphical.target")),
            ("5 systemd.unit=x.target", Some("x.target")),
            ("init=/bin/sh emergency", Some("emergency.target")),
            ("console=1 loglevel=3", None),
        ] {
            assert_eq!(CommandLine::read(text).unit.as_deref(), unit, "{text}");
        }
    }

    #[test]
    fn quotes_keep_blanks_together() {
        let line = CommandLine::read("systemd.setenv=\"A=b c\" systemd.mask=x.service systemd.log-level=debug\n");
        assert_eq!(line.environment, [("A".to_owned(), "b c".to_owned())]);
        assert_eq!((line.masks, line.debug), (vec!["x.service".to_owned()], true));
        assert_eq!(words(" a  \"\" b"), ["a", "", "b"]);
    }
}
