// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the bytes of a value or of a file of variables: words, command lines whose commands have a program and a
//! zeroth argument, variables, and texts with specifiers no longer than they may be.
//!
//! `cargo +nightly fuzz run words`, from `ssi-init/unit/`.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use ssi_unit::environment::{self, Environment, expand_arguments};
use ssi_unit::exec_line;
use ssi_unit::name::UnitName;
use ssi_unit::specifier::{Host, PATH_MAX, Specifiers, Table};
use ssi_unit::words::{Rules, split};

fuzz_target!(|bytes: &[u8]| {
    for rules in
        [Rules::PLAIN, Rules::NAMES, Rules::QUOTED, Rules::C, Rules::VARIABLE, Rules::COLONS, Rules::C.relaxed()]
    {
        if let Ok(words) = split(bytes, rules) {
            assert!(words.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }
    }
    let (host, Ok(name)) = (Host::default(), UnitName::new("a-b@c-d.service")) else { return };
    let specifiers = Specifiers::of(&host, &name);
    if let Ok(text) = specifiers.bytes(bytes, Table::Full, PATH_MAX) {
        assert!(text.len() <= PATH_MAX);
    }
    let variables: Environment = match environment::parse_file(bytes) {
        Ok(entries) => entries.into_iter().map(|entry| (entry.name, entry.value)).collect(),
        Err(_) => Environment::new(),
    };
    let _ = expand_arguments(&[OsString::from_vec(bytes.to_vec())], &variables);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let line = exec_line::parse(text, &specifiers);
        for command in line.commands {
            assert!(!command.program.is_empty() && !command.arguments.is_empty());
            let _ = expand_arguments(&command.arguments, &variables);
        }
        let _ = environment::assignments(text, |word| specifiers.bytes(word, Table::Full, PATH_MAX));
    }
});
