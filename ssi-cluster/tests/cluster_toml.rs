// SPDX-License-Identifier: GPL-2.0-or-later
//! `cluster.toml` as an administrator meets it: what is right is read, and each wrong file gives exactly the messages
//! that stand beside it.
//!
//! `tests/bad/X.toml` is wrong, `tests/bad/X.err` is every message about it. After a message was changed on purpose:
//! `SSI_WRITE_MESSAGES=1 cargo test -p ssi-cluster --test cluster_toml`, then read what `git diff` shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ssi_cluster::config::{Config, EngineKind, FenceTimes, LoadError, MAX_FILE, Membership, NodeWork};
use ssi_cluster::{Context, NodeId};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn files(name: &str, extension: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.extension().is_some_and(|e| e == extension)).collect()
}

fn good(name: &str) -> Config {
    Config::load(&folder("good").join(name)).unwrap_or_else(|e| panic!("{e}"))
}

fn node(n: u32) -> NodeId {
    NodeId::new(n).unwrap()
}

#[test]
fn each_wrong_file_gives_exactly_its_messages() {
    let mut differing = Vec::new();
    let wrong = files("bad", "toml");
    assert!(wrong.len() >= 30, "the wrong files are gone");
    for file in wrong {
        let shown = Path::new(file.file_name().unwrap());
        let messages = match Config::parse(shown, &fs::read(&file).unwrap()) {
            Ok(_) => panic!("{} was taken for right", file.display()),
            Err(errors) => format!("{errors}\n"),
        };
        let expected = file.with_extension("err");
        if std::env::var_os("SSI_WRITE_MESSAGES").is_some() {
            fs::write(&expected, &messages).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&messages) {
            differing.push(format!("{} now gives:\n{messages}", file.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_message_has_its_file_of_mistakes() {
    let stems = |extension| files("bad", extension).iter().map(|p| p.with_extension("")).collect::<BTreeSet<_>>();
    assert_eq!(stems("err"), stems("toml"));
}

#[test]
fn everything_that_can_be_said_is_read() {
    let config = good("three_nodes.toml");
    assert_eq!(config.name, "alpha");
    let membership = Membership {
        engine: EngineKind::Corosync,
        token_ms: Some(3000),
        token_coefficient_ms: Some(650),
        port: 5405,
        mtu: Some(1500),
    };
    assert_eq!(config.membership, membership);
    assert_eq!(config.nodework, NodeWork { timeout_s: 90 });
    assert_eq!(config.nodes.keys().map(|n| n.get()).collect::<Vec<_>>(), [1, 2, 30]);
    let first = config.node(node(1)).unwrap();
    assert_eq!(first.addresses, ["192.0.2.11", "2001:db8::11"].map(|a| a.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(first.product_uuid.as_deref(), Some("4c4c4544-0051-3510-8052-b4c04f4a3131"));
    assert_eq!(first.speed_mhz, Some(9600));
    let second = config.node_by_name("NODE2.example.org").unwrap();
    assert_eq!(second.id, node(2));
    assert_eq!(
        second.mac.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["52:54:00:00:00:02", "52:54:00:00:01:02"]
    );
    assert_eq!(Context::of(&config, node(2)).get("rack"), Some("alpha-node2.example.org"));
    assert_eq!(Context::of(&config, node(30)).get("rack"), Some("r30"));
}

#[test]
fn one_machine_needs_three_lines_and_no_address() {
    let config = good("solo.toml");
    assert_eq!(config.membership.engine, EngineKind::Solo);
    assert_eq!((config.membership.port, config.nodework.timeout_s), (5405, 60));
    assert!(config.node(node(1)).unwrap().addresses.is_empty());
    assert!(good("solo_loopback.toml").node(node(1)).unwrap().addresses[0].is_loopback());
}

#[test]
fn fence_agents_are_told_what_their_manual_pages_name() {
    let config = good("fences.toml");
    assert_eq!(config.fence, FenceTimes { timeout_s: 20, delay_s: 0 });
    let first = config.node(node(1)).unwrap().fence.as_ref().unwrap();
    assert_eq!((first.agent.as_str(), first.action.as_str()), ("fence_ipmilan", "reboot"));
    let option = |name: &str| first.options.get(name).map(String::as_str);
    assert_eq!((option("lanplus"), option("power_wait"), option("agent")), (Some("1"), Some("4"), None));
    let second = config.node(node(2)).unwrap().fence.as_ref().unwrap();
    assert_eq!((second.agent.as_str(), second.action.as_str()), ("/usr/local/sbin/switch", "off"));
    assert!(good("three_nodes.toml").nodes.values().all(|node| node.fence.is_none()));
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let missing = folder("good").join("none.toml");
    let error = Config::load(&missing).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }));
    assert!(error.to_string().contains("none.toml: No such file"), "{error}");
}

#[test]
fn a_file_without_end_is_given_up() {
    let error = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(error.to_string().starts_with("/dev/zero:1:1: the file is longer than 1024 KiB"), "{error}");
}

#[test]
fn every_mistake_of_a_long_file_is_told() {
    let mut text = String::from("name = \"alpha\"\nnode = [");
    while text.len() < MAX_FILE - 100 {
        text.push_str("{x=1},");
    }
    text.push(']');
    let errors = Config::parse(Path::new("f"), text.as_bytes()).unwrap_err();
    assert!(errors.iter().count() > 100_000);
}

/// Whatever the bytes: an answer, and messages with places that exist.
fn is_answered(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Err(errors) = Config::parse(Path::new("f"), bytes) else { return Ok(()) };
    let lines = 1 + bytes.iter().filter(|b| **b == b'\n').count();
    prop_assert!(!errors.as_slice().is_empty());
    let places: Vec<_> = errors.iter().map(|e| (e.line, e.column)).collect();
    prop_assert!(places.is_sorted(), "{errors}");
    for error in &errors {
        prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
        prop_assert!(error.column <= bytes.len() + 1, "{error}");
        let told = error.to_string();
        prop_assert!(!told.contains('\n') && !error.what.is_empty() && !error.right.is_empty(), "{told:?}");
    }
    Ok(())
}

const FULL: &str = include_str!("good/three_nodes.toml");

/// A change to a right file.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, u8),
    Drop(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    RepeatLine(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let words = prop::sample::select(vec![
        "[[node]]\n",
        "[node]\n",
        "[membership]\n",
        "\"\"",
        "'",
        "\"\"\"",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        "\n",
        "\0",
        "id = 1\n",
        "name = 1\n",
        "nan",
        "-inf",
        "0x",
        "1979-05-27T07:32:00Z",
        "\\u",
        "\\UFFFFFFFF",
        "é",
        "context.",
        "node.",
        "# ",
        "\r",
        "\r\n",
        "{nodenum}",
        "{role}",
        "127.0.0.1",
        "::1",
        "99999999999999999999",
    ]);
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(i, b)| Change::Byte(i, b)),
        (at(), 1usize..40).prop_map(|(i, n)| Change::Drop(i, n)),
        (at(), words).prop_map(|(i, w)| Change::Insert(i, w.to_owned())),
        (at(), at()).prop_map(|(from, to)| Change::RepeatLine(from, to)),
    ]
}

fn changed(changes: &[Change]) -> Vec<u8> {
    let mut bytes = FULL.as_bytes().to_vec();
    for change in changes {
        match change {
            Change::Byte(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Drop(at, count) => {
                let at = at.index(bytes.len() + 1);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Change::Insert(at, text) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, text.bytes());
            }
            Change::RepeatLine(from, to) => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                if !lines.is_empty() {
                    let line = lines[from.index(lines.len())];
                    lines.insert(to.index(lines.len() + 1), line);
                }
                bytes = lines.concat();
            }
            Change::Byte(..) => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        is_answered(&bytes)?;
    }

    #[test]
    fn any_text_of_toml_s_letters_is_answered(text in "([\\[\\]{}=.,\"'#\\\\ \n]|[a-z0-9_-]{1,4}|node|name|id|context|membership|é){0,80}") {
        is_answered(text.as_bytes())?;
    }

    #[test]
    fn a_right_file_changed_at_random_is_answered(changes in prop::collection::vec(change(), 1..6)) {
        is_answered(&changed(&changes))?;
    }
}

#[test]
fn the_example_in_the_readme_is_right() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = Config::parse(Path::new("README.md"), example.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.nodes.len(), 3);
}
