// SPDX-License-Identifier: GPL-2.0-or-later
//! What can be set: words `ssi.init.NAME=VALUE` on the kernel's command line; in a container, whose `/proc/cmdline` is
//! its host's, among the arguments of process 1.
//!
//! | word | what | unless given |
//! | --- | --- | --- |
//! | `ssi.init.manager=` | the manager's program | `/usr/lib/ssi/ssi-init-manager` |
//! | `ssi.init.cdsl=` | the program that activates contexts | `/usr/bin/cdsl` |
//! | `ssi.init.shell=` | the emergency shell | sulogin(8), else `/bin/sh` |
//! | `ssi.init.hello=` | how long a new manager may take to say hello | 60s |
//! | `ssi.init.silence=` | after how long without a word a manager is taken for hung; 0: never | 60s |
//! | `ssi.init.restart_max=` | the longest pause before the manager is started again | 5s |
//! | `ssi.init.quick_deaths=` | after how many quick deaths a shell is offered on the console | 5 |
//! | `ssi.init.watchdog=` | keep the hardware watchdog with this time-out; 0: not | 0 |
//! | `ssi.init.watchdog_device=` | which | `/dev/watchdog0`, else `/dev/watchdog` |
//! | `ssi.init.term=` | how long processes have between SIGTERM and SIGKILL at shutdown | 10s |
//! | `ssi.init.umount=` | how long one unmount, swapoff or sync may take | 30s |
//! | `ssi.init.shutdown=` | how long all of the shutdown may take before the machine is ended regardless | 5min |
//!
//! Times are whole numbers with `ms`, `s` or `min`; without, seconds. What is not understood is told and left out: a
//! typing error on the command line must not keep a machine from booting.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

const PREFIX: &[u8] = b"ssi.init.";

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) manager: PathBuf,
    pub(crate) cdsl: PathBuf,
    pub(crate) shell: Option<PathBuf>,
    pub(crate) hello: Duration,
    /// Zero: never.
    pub(crate) silence: Duration,
    pub(crate) restart_max: Duration,
    pub(crate) quick_deaths: u32,
    /// Zero: no watchdog.
    pub(crate) watchdog: Duration,
    pub(crate) watchdog_device: Option<PathBuf>,
    pub(crate) term: Duration,
    pub(crate) umount: Duration,
    pub(crate) shutdown: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            manager: "/usr/lib/ssi/ssi-init-manager".into(),
            cdsl: "/usr/bin/cdsl".into(),
            shell: None,
            hello: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            restart_max: Duration::from_secs(5),
            quick_deaths: 5,
            watchdog: Duration::ZERO,
            watchdog_device: None,
            term: Duration::from_secs(10),
            umount: Duration::from_secs(30),
            shutdown: Duration::from_secs(300),
        }
    }
}

impl Settings {
    /// Reads the words; `told` is called with each that was not understood and what it should have been.
    pub(crate) fn read<'w>(words: impl IntoIterator<Item = &'w [u8]>, mut told: impl FnMut(&str, &str)) -> Self {
        let mut settings = Self::default();
        for word in words {
            let Some((name, value)) = word.strip_prefix(PREFIX).and_then(|word| {
                let equals = word.iter().position(|b| *b == b'=')?;
                Some((&word[..equals], &word[equals + 1..]))
            }) else {
                continue;
            };
            if let Err(wanted) = settings.set(name, value) {
                told(&String::from_utf8_lossy(word), wanted);
            }
        }
        settings
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match name {
            b"manager" => self.manager = path(value)?,
            b"cdsl" => self.cdsl = path(value)?,
            b"shell" => self.shell = Some(path(value)?),
            b"hello" => self.hello = span(value)?,
            b"silence" => self.silence = span(value)?,
            b"restart_max" => self.restart_max = span(value)?,
            b"quick_deaths" => self.quick_deaths = number(value).ok_or("a whole number")?,
            b"watchdog" => self.watchdog = span(value)?,
            b"watchdog_device" => self.watchdog_device = Some(path(value)?),
            b"term" => self.term = span(value)?,
            b"umount" => self.umount = span(value)?,
            b"shutdown" => self.shutdown = span(value)?,
            _ => return Err("one of the names that ssi-init(8) lists"),
        }
        Ok(())
    }
}

fn path(value: &[u8]) -> Result<PathBuf, &'static str> {
    if value.first() == Some(&b'/') && !value.contains(&0) {
        Ok(OsString::from_vec(value.to_vec()).into())
    } else {
        Err("a path that begins with /")
    }
}

fn number(value: &[u8]) -> Option<u32> {
    // u32's own reading takes a sign.
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn span(value: &[u8]) -> Result<Duration, &'static str> {
    let unit = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(unit);
    let count = number(digits).map(u64::from);
    match (count, unit) {
        (Some(count), b"ms") => Ok(Duration::from_millis(count)),
        (Some(count), b"" | b"s") => Ok(Duration::from_secs(count)),
        (Some(count), b"min") => Ok(Duration::from_secs(count * 60)),
        _ => Err("a time such as 500ms, 10s or 2min"),
    }
}

/// The words of a command line as the kernel cuts it (`next_arg` in `lib/cmdline.c`): at white space that is not between
/// double quotes, and with the quotes taken off.
pub(crate) fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![];
    let mut word = vec![];
    let mut quoted = false;
    for &byte in line {
        match byte {
            b'"' => quoted = !quoted,
            b if b.is_ascii_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            b => word.push(b),
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

/// The value of the last word that begins with `name=`.
pub(crate) fn value_of<'w>(words: &'w [Vec<u8>], name: &str) -> Option<&'w [u8]> {
    words.iter().rev().find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> (Settings, Vec<String>) {
        let mut told = vec![];
        let words = words(line.as_bytes());
        let settings = Settings::read(words.iter().map(Vec::as_slice), |word, wanted| {
            told.push(format!("{word}: {wanted}"));
        });
        (settings, told)
    }

    #[test]
    fn words_set_and_the_last_one_holds() {
        let line = "quiet ssi.init.silence=500ms \"ssi.init.manager=/opt/a b\" ssi.init.term=1 ssi.init.term=2min ssi.node=1\n";
        let (settings, told) = read(line);
        assert_eq!(told, Vec::<String>::new());
        assert_eq!(settings.silence, Duration::from_millis(500));
        assert_eq!(settings.manager, PathBuf::from("/opt/a b"));
        assert_eq!(settings.term, Duration::from_secs(120));
        assert_eq!(settings.umount, Settings::default().umount);
    }

    #[test]
    fn what_is_not_understood_is_told_and_left_out() {
        let (settings, told) =
            read("ssi.init.term=+1 ssi.init.hello=9h ssi.init.manager=relative ssi.init.quick_deaths= ssi.init.no=1");
        assert_eq!(settings, Settings::default());
        assert_eq!(
            told,
            [
                "ssi.init.term=+1: a time such as 500ms, 10s or 2min",
                "ssi.init.hello=9h: a time such as 500ms, 10s or 2min",
                "ssi.init.manager=relative: a path that begins with /",
                "ssi.init.quick_deaths=: a whole number",
                "ssi.init.no=1: one of the names that ssi-init(8) lists",
            ]
        );
    }

    #[test]
    fn a_word_is_found_by_its_name() {
        let words = words(b"systemd.hostname=a systemd.hostname=b systemd.hostnames=c");
        assert_eq!(value_of(&words, "systemd.hostname"), Some(&b"b"[..]));
        assert_eq!(value_of(&words, "systemd.host"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>, name in "(hello|term|manager|quick_deaths)", value: Vec<u8>) {
            let mut line = line;
            line.extend_from_slice(format!(" ssi.init.{name}=").as_bytes());
            line.extend(value);
            let words = words(&line);
            Settings::read(words.iter().map(Vec::as_slice), |_, _| {});
        }
    }
}
