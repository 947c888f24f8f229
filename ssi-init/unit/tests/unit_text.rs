// SPDX-License-Identifier: GPL-2.0-or-later
//! No bytes upset the readers, and names come back whole; what stock systemd-escape makes of paths and texts is what
//! we make of them.

mod chance;

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use proptest::prelude::*;
use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::name::{
    UnitName, UnitType, escape, escape_path, unescape, unescape_bytes, unescape_path, unescape_path_bytes,
};
use ssi_unit::settings;
use ssi_unit::specifier::Host;

/// Lines that are nearly right: keys of the section, values that mean something somewhere, and noise.
fn unit_text(kind: UnitType) -> impl Strategy<Value = Vec<u8>> {
    let sections: Vec<&'static str> = ["Unit", "Install", "X-SSI"].into_iter().chain(kind.section()).collect();
    let line = (prop::sample::select(sections), any::<prop::sample::Index>(), "\\PC{0,40}").prop_map(
        move |(section, index, value)| {
            let keys = settings::keys(kind, section);
            format!("[{section}]\n{}={value}\n", index.get(&keys)).into_bytes()
        },
    );
    let noise = prop::collection::vec(any::<u8>(), 0..30);
    let pieces = prop_oneof![8 => line, 1 => noise, 1 => Just(b"\\\n".to_vec())];
    prop::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

fn load(name: &str, text: Vec<u8>) {
    let mut files = MemoryFiles::new();
    files.file(format!("/etc/systemd/system/{name}"), text.clone());
    files.file(format!("/etc/systemd/system/{name}.d/x.conf"), text);
    let mut loader = Loader::new(files, SearchPath::system(), Host::default(), ManagerDefaults::default());
    let loaded = loader.load(&UnitName::new(name).unwrap());
    assert!(loaded.names.contains(&loaded.id));
}

proptest! {
    #[test]
    fn no_text_upsets_the_loader(
        (kind, text) in prop::sample::select(&UnitType::ALL[..]).prop_flat_map(|kind| (Just(kind), unit_text(kind)))
    ) {
        let stem = if kind == UnitType::Device || kind == UnitType::Mount { "a" } else { "a-b" };
        load(&format!("{stem}.{kind}"), text);
    }

    #[test]
    fn no_bytes_upset_the_lexer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        ssi_unit::file::parse(&bytes, "x".as_ref());
    }

    #[test]
    fn escapes_come_back(bytes in prop::collection::vec(1u8.., 0..60)) {
        prop_assert_eq!(unescape_bytes(&escape(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn paths_come_back(parts in prop::collection::vec("[a-zA-Z0-9.@ä\\\\-]{1,12}", 1..8)) {
        let path = format!("/{}", parts.join("/"));
        prop_assume!(!parts.iter().any(|part| part == "." || part == ".."));
        let name = UnitName::from_path(&path, UnitType::Mount).unwrap();
        if name.is_hashed() {
            prop_assert!(name.to_path().is_err());
        } else {
            prop_assert_eq!(name.to_path().unwrap(), path);
        }
    }

    #[test]
    fn no_name_upsets(text in "\\PC{0,40}(\\.(service|mount|slice))?") {
        if let Ok(name) = UnitName::new(&text) {
            let _ = (name.to_path(), name.parent_slice(), name.dash_prefixes(), name.template());
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        let _ = (unescape(&text), unescape_path(&text), escape_path(&text));
    }
}

/// Runs systemd-escape; `None` when it refuses.
fn systemd_escape(program: &std::path::Path, arguments: &[&str], text: &[u8]) -> Option<String> {
    let text = std::ffi::OsStr::from_bytes(text);
    let output = Command::new(program).args(arguments).arg("--").arg(text).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

#[test]
fn names_are_those_of_systemd_escape() {
    let Some(program) = chance::program("systemd-escape") else { return };
    let mut chance = chance::Chance::new(1);
    let pieces = ["a", "/", "//", ".", "..", "-", "\\", "\\x2d", "\\x", "ä", " ", "@", ":", "_", "a.b", "\\xzz", "0"];
    for _ in 0..chance::rounds(300) {
        let text: String = (0..chance.below(7) + 1).map(|_| chance.pick(&pieces)).collect();
        assert_eq!(systemd_escape(&program, &[], text.as_bytes()), Some(escape(text.as_bytes())), "{text}");
        // Without a slash at the start systemd-escape has a path, too.
        let ours = escape_path(&text).ok();
        assert_eq!(systemd_escape(&program, &["--path"], text.as_bytes()), ours, "--path {text}");
        let ours = unescape_path_bytes(&text).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(
            systemd_escape(&program, &["--path", "--unescape"], text.as_bytes()),
            ours,
            "--path --unescape {text}"
        );
        let ours = unescape_bytes(&text).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(systemd_escape(&program, &["--unescape"], text.as_bytes()), ours, "--unescape {text}");
    }
    for parts in [10, 40, 50, 51, 60, 200] {
        let path = format!("/{}", vec!["waldo"; parts].join("/"));
        let ours = UnitName::from_path(&path, UnitType::Mount).unwrap();
        let theirs = systemd_escape(&program, &["--path", "--suffix=mount"], path.as_bytes()).unwrap();
        if theirs.len() <= 255 {
            assert_eq!(ours.as_str(), theirs);
        } else {
            // The tool does not cut long names; the manager does.
            assert!(ours.is_hashed());
        }
    }
}
