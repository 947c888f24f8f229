// SPDX-License-Identifier: GPL-2.0-or-later
//! Command lines: the values of `ExecStart=` and its kin.
//!
//! ```text
//!   ExecStart=-@/usr/bin/prog argv0 "one arg" ; /bin/second
//!             ^^ prefixes     words, quotes     ^ next command
//! ```
//!
//! [`parse`] does what can be done when the file is read: prefixes, words, escapes, specifiers. `$NAME` stays in the
//! arguments until the program is run, when its environment is known; see
//! [`environment::expand_arguments`](crate::environment::expand_arguments). systemd.service(5), "Command lines".

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde::{Deserialize, Serialize};

use crate::specifier::{PATH_MAX, SpecifierError, Specifiers, TEXT_MAX, Table};
use crate::words::{BadWord, Rules, Splitter, WHITESPACE};

/// With whose rights a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// Those the unit is given.
    #[default]
    AsUnit,
    /// `+`: all; `User=`, `Group=`, capabilities and the mount namespace's protections do not apply.
    Full,
    /// `!`: the unit's protections, but the manager's user and groups.
    KeepUser,
    /// `!!`: as the unit's where the kernel has ambient capabilities, else as `!`.
    AmbientOrKeepUser,
}

/// One command to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecCommand {
    /// The program: an absolute path, or a file name to be looked for in the search path.
    pub program: String,
    /// All arguments, the zeroth one first; never empty. Variables are not replaced yet.
    pub arguments: Vec<OsString>,
    /// `-`: a failure counts as success.
    pub ignore_failure: bool,
    /// `:`: variables are left alone.
    pub no_variables: bool,
    /// `+`, `!`, `!!`.
    pub privilege: Privilege,
}

/// Why a command line makes its unit unusable (`bad-setting`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecLineError {
    /// A specifier has no value.
    #[error("\"{0}\": {1}")]
    Specifier(String, SpecifierError),
    /// Only prefixes.
    #[error("there is no program in \"{0}\"")]
    NoProgram(String),
    /// Quotes, backslashes or control characters in the program.
    #[error("the program \"{0}\" holds special characters")]
    SpecialCharacters(String),
    /// Ends in a slash.
    #[error("the program \"{0}\" is a directory")]
    Directory(String),
    /// Neither absolute nor a file name.
    #[error("the program \"{0}\" is neither an absolute path nor a file's name")]
    NotAPath(String),
    /// An argument's quotes are not closed.
    #[error("cannot take \"{0}\" apart: {1}")]
    Word(String, BadWord),
    /// `@` and no zeroth argument, or an empty one.
    #[error("the zeroth argument is missing or empty in \"{0}\"")]
    NoZeroth(String),
}

/// What a line gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecLine {
    /// The commands, in order. With an error, those before it.
    pub commands: Vec<ExecCommand>,
    /// What was let pass: escapes kept as written, commands with `-` that cannot be run.
    pub warnings: Vec<String>,
    /// What makes the unit unusable.
    pub error: Option<ExecLineError>,
}

/// Reads one line. An empty one gives nothing: the caller has it reset the list.
#[must_use]
pub fn parse(line: &str, specifiers: &Specifiers<'_>) -> ExecLine {
    let mut found = ExecLine::default();
    let mut words = Splitter::new(line.as_bytes());
    loop {
        let first = match next_word(&mut words, &mut found.warnings) {
            Ok(Some(first)) => first,
            Ok(None) => return found,
            // A first word that cannot be read is passed over with all that follows; only later ones are fatal.
            Err(bad) => {
                found.warnings.push(format!("cannot take \"{line}\" apart ({bad}); the line is ignored"));
                return found;
            }
        };
        if first == b";" {
            continue;
        }
        let (mut command, program) = prefixes(&first);
        let more = match finish(&mut command, program, line, &mut words, specifiers, &mut found.warnings) {
            Ok(more) => more,
            Err(error) if command.ignore_failure => {
                found.warnings.push(format!("the command is ignored: {error}"));
                return found;
            }
            Err(error) => {
                found.error = Some(error);
                return found;
            }
        };
        found.commands.push(command);
        if !more {
            return found;
        }
    }
}

fn next_word(words: &mut Splitter<'_>, warnings: &mut Vec<String>) -> Result<Option<Vec<u8>>, BadWord> {
    let here = words.clone();
    match words.next_word(Rules::C) {
        Err(_) => {
            // An unknown escape may still be meant as it stands, in a regular expression for instance.
            *words = here;
            let word = words.next_word(Rules::C.relaxed())?;
            if let Some(word) = &word {
                let shown = String::from_utf8_lossy(word);
                warnings.push(format!("unknown escapes in \"{shown}\" are kept as they are"));
            }
            Ok(word)
        }
        word => word,
    }
}

/// Takes the prefixes off a first word; a prefix that does not go with those before it begins the program's name.
fn prefixes(first: &[u8]) -> (ExecCommand, &[u8]) {
    let mut command = ExecCommand {
        program: String::new(),
        arguments: Vec::new(),
        ignore_failure: false,
        no_variables: false,
        privilege: Privilege::AsUnit,
    };
    let mut own_zeroth = false;
    let mut rest = first;
    while let [prefix, tail @ ..] = rest {
        match (prefix, command.privilege) {
            (b'-', _) if !command.ignore_failure => command.ignore_failure = true,
            (b'@', _) if !own_zeroth => own_zeroth = true,
            (b':', _) if !command.no_variables => command.no_variables = true,
            (b'+', Privilege::AsUnit) => command.privilege = Privilege::Full,
            (b'!', Privilege::AsUnit) => command.privilege = Privilege::KeepUser,
            (b'!', Privilege::KeepUser) => command.privilege = Privilege::AmbientOrKeepUser,
            _ => break,
        }
        rest = tail;
    }
    if !own_zeroth {
        // Filled in as soon as the program is known to be good.
        command.arguments.push(OsString::new());
    }
    (command, rest)
}

/// Reads program and arguments; says whether another command follows.
fn finish(
    command: &mut ExecCommand,
    program: &[u8],
    line: &str,
    words: &mut Splitter<'_>,
    specifiers: &Specifiers<'_>,
    warnings: &mut Vec<String>,
) -> Result<bool, ExecLineError> {
    let replace = |word: &[u8], limit| {
        let shown = || String::from_utf8_lossy(word).into_owned();
        specifiers.bytes(word, Table::Full, limit).map_err(|error| ExecLineError::Specifier(shown(), error))
    };
    let program = replace(program, PATH_MAX)?;
    let program = String::from_utf8(program)
        .map_err(|bad| ExecLineError::SpecialCharacters(String::from_utf8_lossy(bad.as_bytes()).into_owned()))?;
    check_program(&program, line)?;
    command.program = simplify(&program);
    if let Some(zeroth) = command.arguments.first_mut() {
        *zeroth = program.into();
    }
    let mut more = false;
    loop {
        // Only a bare ";" ends the command; one that is quoted or escaped is an argument. The splitter would give the
        // same word for all of them, so look before it does.
        match words.rest() {
            [b';'] => {
                words.skip(1);
                more = true;
                break;
            }
            [b';', blank, ..] if WHITESPACE.contains(blank) => {
                words.skip(1);
                more = true;
                break;
            }
            [b'\\', b';'] => {
                words.skip(2);
                command.arguments.push(";".into());
                continue;
            }
            [b'\\', b';', blank, ..] if WHITESPACE.contains(blank) => {
                words.skip(2);
                command.arguments.push(";".into());
                continue;
            }
            _ => {}
        }
        let word = next_word(words, warnings).map_err(|bad| ExecLineError::Word(line.to_owned(), bad))?;
        let Some(word) = word else { break };
        command.arguments.push(OsString::from_vec(replace(&word, TEXT_MAX)?));
    }
    if command.arguments.is_empty() {
        return Err(ExecLineError::NoZeroth(line.to_owned()));
    }
    Ok(more)
}

fn check_program(program: &str, line: &str) -> Result<(), ExecLineError> {
    let shown = || program.to_owned();
    let parts = || program.split('/');
    if program.is_empty() {
        Err(ExecLineError::NoProgram(line.to_owned()))
    } else if program.chars().any(|c| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\')) {
        Err(ExecLineError::SpecialCharacters(shown()))
    } else if program.ends_with('/') {
        Err(ExecLineError::Directory(shown()))
    } else if parts().any(|part| part.len() > 255)
        || !(program.starts_with('/') || (!program.contains('/') && !matches!(program, "." | "..")))
    {
        Err(ExecLineError::NotAPath(shown()))
    } else {
        Ok(())
    }
}

/// A path without doubled slashes and `.` components.
fn simplify(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let joined = parts.join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::UnitName;
    use crate::specifier::Host;
    use proptest::prelude::*;

    fn line(text: &str) -> ExecLine {
        let (host, name) = (Host::default(), UnitName::new("x@i.service").unwrap());
        parse(text, &Specifiers::of(&host, &name))
    }

    fn commands(text: &str) -> Vec<(String, Vec<String>)> {
        let found = line(text);
        assert_eq!(found.error, None, "{text}");
        let text = |word: OsString| word.into_string().unwrap();
        found.commands.into_iter().map(|c| (c.program, c.arguments.into_iter().map(text).collect())).collect()
    }

    fn one(program: &str, arguments: &[&str]) -> (String, Vec<String>) {
        (program.to_owned(), arguments.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn words_and_specifiers() {
        assert_eq!(commands("/bin/echo a 'b c' %i $X"), [one("/bin/echo", &["/bin/echo", "a", "b c", "i", "$X"])]);
        assert_eq!(commands("/bin//./echo"), [one("/bin/echo", &["/bin//./echo"])]);
        assert_eq!(commands("echo x"), [one("echo", &["echo", "x"])]);
        assert_eq!(commands("@/bin/sh login -i"), [one("/bin/sh", &["login", "-i"])]);
    }

    #[test]
    fn several_commands_in_a_line() {
        let two = [one("/bin/a", &["/bin/a", "1"]), one("/bin/b", &["/bin/b"])];
        assert_eq!(commands("/bin/a 1 ; /bin/b"), two);
        assert_eq!(commands("; /bin/a 1 ; ; /bin/b ;"), two);
        assert_eq!(commands(r#"/bin/a \; ";" x; \;y"#).len(), 1);
        assert_eq!(commands(r#"/bin/a \; ";" x;"#), [one("/bin/a", &["/bin/a", ";", ";", "x;"])]);
    }

    #[test]
    fn prefixes_in_any_order_and_once() {
        let get = |text: &str| line(text).commands.remove(0);
        let command = get("-:!!@/bin/a zero");
        assert!(command.ignore_failure && command.no_variables);
        assert_eq!(command.privilege, Privilege::AmbientOrKeepUser);
        assert_eq!(command.arguments, ["zero"]);
        assert_eq!(get("+-/bin/a").privilege, Privilege::Full);
        assert_eq!(get("!/bin/a").privilege, Privilege::KeepUser);
        // A prefix that comes twice is part of the name, which then is no path.
        assert!(line("--/bin/a").error.is_none());
        assert!(line("--/bin/a").commands.is_empty());
        assert!(matches!(line("+!/bin/a").error, Some(ExecLineError::NotAPath(_))));
    }

    #[test]
    fn bad_lines() {
        assert!(matches!(line("bin/a").error, Some(ExecLineError::NotAPath(_))));
        assert!(matches!(line("/bin/").error, Some(ExecLineError::Directory(_))));
        assert!(matches!(line("+").error, Some(ExecLineError::NoProgram(_))));
        assert!(matches!(line("@/bin/a").error, Some(ExecLineError::NoZeroth(_))));
        assert!(matches!(line("/bin/a %z").error, Some(ExecLineError::Specifier(..))));
        assert!(matches!(line("/bin/a 'x").error, Some(ExecLineError::Word(..))));
        assert!(matches!(line(r"/bin/a\n").error, Some(ExecLineError::SpecialCharacters(_))));
        // With "-" none of them matters, and a first word that is not closed never does.
        for passed_over in ["-bin/a", "-/bin/", "-", "-@/bin/a", "-/bin/a %z", "'/bin/a"] {
            let found = line(passed_over);
            assert!(found.error.is_none() && found.commands.is_empty() && !found.warnings.is_empty(), "{passed_over}");
        }
    }

    #[test]
    fn unknown_escapes_stay() {
        let found = line(r"/bin/grep \.x\d");
        assert_eq!(found.commands[0].arguments[1], r"\.x\d");
        assert_eq!(found.warnings.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(text in any::<String>()) {
            let found = line(&text);
            prop_assert!(found.commands.iter().all(|command| !command.arguments.is_empty() && !command.program.is_empty()));
        }

        #[test]
        fn quoting_comes_back(words in proptest::collection::vec("[ -$&-~]{0,20}", 0..6)) {
            let quoted: Vec<String> = words.iter().map(|w| format!("\"{}\"", w.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            let found = line(&format!("/bin/a {}", quoted.join(" ")));
            prop_assert_eq!(found.commands.len(), 1);
            let arguments: Vec<_> = found.commands[0].arguments[1..].iter().map(|w| w.to_str().unwrap().to_owned()).collect();
            prop_assert_eq!(arguments, words);
        }
    }
}
