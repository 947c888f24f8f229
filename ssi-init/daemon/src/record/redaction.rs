// SPDX-License-Identifier: GPL-2.0-or-later
//! What is left out of recordings, so that they can be given to somebody.

use ssi_manager::core::service::Notification;
use ssi_unit::words::{Rules, split};

/// Stands where something was left out.
const LEFT_OUT: &[u8] = b"left-out";
/// Fields of a notification that the manager looks at: sd_notify(3).
const FIELDS: [&str; 16] = [
    "READY",
    "RELOADING",
    "STOPPING",
    "STATUS",
    "ERRNO",
    "BUSERROR",
    "MAINPID",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
    "FDSTORE",
    "FDSTOREREMOVE",
    "FDNAME",
    "FDPOLL",
    "BARRIER",
    "MONOTONIC_USEC",
];

/// How the value of a setting is left out.
#[derive(Clone, Copy)]
enum How {
    /// It is a list of `NAME=VALUE`.
    Variables,
    /// It is one `NAME=VALUE`, or `NAME:VALUE`.
    After(u8),
    /// It goes as a whole.
    Whole,
}

/// The settings that have values which nobody else is to see.
fn how(key: &[u8]) -> Option<How> {
    Some(match key {
        b"Environment" | b"DefaultEnvironment" | b"ManagerEnvironment" => How::Variables,
        b"ConditionEnvironment" | b"AssertEnvironment" => How::After(b'='),
        b"SetCredential" | b"SetCredentialEncrypted" => How::After(b':'),
        b"StandardInputText" | b"StandardInputData" => How::Whole,
        _ => return None,
    })
}

/// A unit file, or system.conf, with the values left out of settings that may hold secrets. It has as many lines, so
/// that warnings tell the right ones.
pub fn of_unit_file(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        let Some((key, value)) = assignment(line) else {
            result.extend_from_slice(line);
            // A comment cannot be continued; anything else may be, and its next line is no setting then.
            if !is_comment(line) {
                continued(line, &mut lines, |more| result.extend_from_slice(more));
            }
            continue;
        };
        let Some(how) = how(key) else {
            result.extend_from_slice(line);
            continued(line, &mut lines, |more| result.extend_from_slice(more));
            continue;
        };
        let mut whole = value.to_vec();
        let mut count = 0;
        continued(line, &mut lines, |more| {
            count += 1;
            if !is_comment(more) {
                unfold(&mut whole);
                whole.extend_from_slice(more);
            }
        });
        unfold(&mut whole);
        result.extend_from_slice(key);
        result.push(b'=');
        result.extend_from_slice(&left_out(how, whole.trim_ascii()));
        result.push(b'\n');
        result.extend(std::iter::repeat_n(b'\n', count));
    }
    result
}

/// Passes the lines that continue this one.
fn continued<'a>(line: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>, mut each: impl FnMut(&'a [u8])) {
    let mut goes_on = ends_open(line);
    while goes_on {
        let Some(more) = lines.next() else { return };
        each(more);
        // Comments in between end nothing.
        goes_on = is_comment(more) || ends_open(more);
    }
}

fn is_comment(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'#' | b';'))
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn ends_open(line: &[u8]) -> bool {
    // Any at the end: what is taken for one line too many is left out, what is taken for one too few is not.
    without_end(line).last() == Some(&b'\\')
}

/// Puts a blank where a line is continued.
fn unfold(text: &mut Vec<u8>) {
    let length = without_end(text).len();
    text.truncate(length);
    if text.last() == Some(&b'\\') {
        text.pop();
        text.push(b' ');
    }
}

fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if is_comment(line) {
        return None;
    }
    let at = line.iter().position(|byte| *byte == b'=')?;
    Some((line[..at].trim_ascii(), &line[at + 1..]))
}

fn left_out(how: How, value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        // An empty value takes back what was set before.
        return Vec::new();
    }
    match how {
        How::Whole => LEFT_OUT.to_vec(),
        How::After(mark) => match value.iter().position(|byte| *byte == mark) {
            Some(at) => [&value[..=at], LEFT_OUT].concat(),
            // A name alone: it is looked for whether there is such a variable.
            None if mark == b'=' => value.to_vec(),
            None => LEFT_OUT.to_vec(),
        },
        How::Variables => {
            let Ok(words) = split(value, Rules::C.relaxed()) else { return LEFT_OUT.to_vec() };
            let names = words.iter().map(|word| {
                let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
                let is_name = word.contains(&b'=')
                    && !name.is_empty()
                    && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
                if is_name { [name, b"=", LEFT_OUT].concat() } else { LEFT_OUT.to_vec() }
            });
            names.collect::<Vec<_>>().join(&b' ')
        }
    }
}

/// A notification with the fields that the manager looks at.
pub fn of_notification(message: &Notification) -> Notification {
    let known = |(name, _): &&(String, String)| FIELDS.contains(&name.as_str());
    Notification {
        sender: message.sender,
        fields: message.fields.iter().filter(known).cloned().collect(),
        fds: message.fds.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        String::from_utf8(of_unit_file(text.as_bytes())).unwrap()
    }

    #[test]
    fn values_are_left_out_and_names_and_lines_stay() {
        assert_eq!(of("[Service]\nEnvironment=A=1 \"B=two words\"\nUser=x\n"), "[Service]\nEnvironment=A=left-out B=left-out\nUser=x\n");
        assert_eq!(of("Environment=A=1 \\\n # no\n  B=2\nType=simple\n"), "Environment=A=left-out B=left-out\n\n\nType=simple\n");
        assert_eq!(of("Environment=\n"), "Environment=\n");
        assert_eq!(of("SetCredential=pass:word\n"), "SetCredential=pass:left-out\n");
        assert_eq!(of("StandardInputText=hush"), "StandardInputText=left-out\n");
        assert_eq!(of("ConditionEnvironment=|!KEY=1\n"), "ConditionEnvironment=|!KEY=left-out\n");
    }

    #[test]
    fn a_line_that_continues_another_is_no_setting() {
        let text = "ExecStart=/bin/a \\\n  Environment=A=1\n# Environment=B=1 \\\nUser=x\n";
        assert_eq!(of(text), text);
    }

    #[test]
    fn nothing_of_a_secret_is_left_however_it_is_written() {
        for text in [
            "Environment=A=hush",
            "  Environment  =  'A=hush'\n",
            "Environment=A=x\\\nhush\n",
            "Environment=A=x\\\r\nhush\r\n",
            "Environment=\"A=hush\n",
            "Environment=\\\n\\\nA=hush",
            "Environment=A=1 hush",
            "DefaultEnvironment=A=\\x20hush",
            "SetCredential=hush",
            "SetCredentialEncrypted=x: \\\n hush \\\n hush\n",
            "StandardInputData=hush \\\n;comment\\\n hush",
        ] {
            assert!(!of(text).contains("hush"), "{text}: {}", of(text));
        }
    }
}
