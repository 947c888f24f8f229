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

/// A unit file, or system.conf, with the values left out of settings that may hold secrets, and without comments. It has
/// as many lines, so that warnings tell the right ones; each ends with a newline.
///
/// What is one line, and which line goes on in the next, is as the parser of unit files has it: a setting that is taken
/// for the end of another one would not be left out.
pub fn of_unit_file(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut put = |line: &[u8]| {
        result.extend_from_slice(line);
        result.push(b'\n');
    };
    let mut lines = physical(text).into_iter();
    while let Some(first) = lines.next() {
        if is_comment(first) {
            put(b"#");
            continue;
        }
        let mut group = vec![first];
        let mut open = ends_open(first);
        while open && let Some(line) = lines.next() {
            // Comments in between end nothing.
            let comment = is_comment(line);
            group.push(if comment { b"#" } else { line });
            open = comment || ends_open(line);
        }
        let Some((key, how)) = key(first).and_then(|key| Some((key, how(key)?))) else {
            group.into_iter().for_each(&mut put);
            continue;
        };
        let mut whole = Vec::new();
        for line in group.iter().filter(|line| !is_comment(line)) {
            whole.extend_from_slice(line);
            if ends_open(line) {
                whole.pop();
                whole.push(b' ');
            }
        }
        let value = whole.iter().position(|byte| *byte == b'=').map_or(&[][..], |at| whole[at + 1..].trim_ascii());
        // Its number is that of its last line.
        group[1..].iter().for_each(|_| put(b""));
        put(&[key, b"=", &left_out(how, value)].concat());
    }
    result
}

/// Lines without their ends: `\n`, `\r`, NUL, or a run of them in which none comes twice, a NUL last.
fn physical(text: &[u8]) -> Vec<&[u8]> {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    let (mut lines, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (line, ends) = rest.split_at(rest.iter().position(is_end).unwrap_or(rest.len()));
        lines.push(line);
        let mut run = 0;
        while ends.get(run).is_some_and(|byte| is_end(byte) && !ends[..run].contains(byte) && !ends[..run].contains(&0))
        {
            run += 1;
        }
        rest = &ends[run..];
    }
    lines
}

fn is_comment(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'#' | b';'))
}

fn ends_open(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// What stands before the `=`.
fn key(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    Some(line[..line.iter().position(|byte| *byte == b'=')?].trim_ascii())
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
        assert_eq!(
            of("[Service]\nEnvironment=A=1 \"B=two words\"\nUser=x\n"),
            "[Service]\nEnvironment=A=left-out B=left-out\nUser=x\n"
        );
        assert_eq!(
            of("Environment=A=1 \\\n # no\n  B=2\nType=simple\n"),
            "\n\nEnvironment=A=left-out B=left-out\nType=simple\n"
        );
        assert_eq!(of("Environment=\n"), "Environment=\n");
        assert_eq!(of("SetCredential=pass:word\n"), "SetCredential=pass:left-out\n");
        assert_eq!(of("StandardInputText=hush"), "StandardInputText=left-out\n");
        assert_eq!(of("ConditionEnvironment=|!KEY=1\n"), "ConditionEnvironment=|!KEY=left-out\n");
    }

    #[test]
    fn a_line_that_continues_another_is_no_setting() {
        let text = "ExecStart=/bin/a \\\n  Environment=A=1\n#\nUser=x\n";
        assert_eq!(of(text), text);
    }

    #[test]
    fn nothing_of_a_secret_is_left_however_it_is_written() {
        for text in [
            "Environment=A=hush",
            "  Environment  =  'A=hush'\n",
            "Environment=A=x\\\nhush\n",
            "Environment=A=x\\\r\nhush\r\n",
            "User=x\rEnvironment=A=hush\n",
            "User=x\0Environment=A=hush\n",
            "User=x\\\\\nEnvironment=A=hush\n",
            "# x \\\nEnvironment=A=hush\n",
            "\u{feff}Environment=A=hush\n",
            "#Environment=A=hush\n",
            "User=x\\\n#hush\n",
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

    #[test]
    fn the_parser_sees_the_same_settings_in_the_same_lines() {
        let text = "[Unit]\r\nDescription=a\\\n; x\n  b\n[Service]\nEnvironment=A=1\\\n B=2\n\nUser=x\\\\\nGroup=y\n# z\\\nType=oneshot\n";
        let path = std::path::Path::new("/a.service");
        let keys = |text: &[u8]| {
            let parsed = format!("{:?}", ssi_unit::file::parse(text, path));
            parsed.replace("A=1  B=2", "A=left-out B=left-out")
        };
        assert_eq!(keys(&of_unit_file(text.as_bytes())), keys(text.as_bytes()));
    }
}
