// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the bytes of cluster.toml: an answer, whose messages have places in the text, or a configuration of which
//! every node's context can be told.
//!
//! `cargo +nightly fuzz run cluster_toml fuzz/corpus/cluster_toml tests/good tests/bad`, from `ssi-cluster/`.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ssi_cluster::{Config, Context};

fuzz_target!(|bytes: &[u8]| {
    match Config::parse(Path::new("cluster.toml"), bytes) {
        Ok(config) => {
            assert!(!config.nodes.is_empty());
            for id in config.nodes.keys() {
                let context = Context::on_machine(&config, *id, "x86_64", "Linux");
                for (variable, value) in context.vars() {
                    // What is filled in becomes one part of a path.
                    assert!(!matches!(value, "" | "." | "..") && !value.contains(['/', '\0', '\n']), "{variable}");
                    assert!(value.len() <= 255, "{variable} is {} bytes long", value.len());
                    assert!(!value.contains(['{', '}']), "{variable} is not filled in");
                }
            }
        }
        Err(errors) => {
            let lines = 1 + bytes.iter().filter(|b| **b == b'\n').count();
            let places: Vec<_> = errors.iter().map(|e| (e.line, e.column)).collect();
            assert!(!places.is_empty() && places.is_sorted());
            for error in &errors {
                assert!((1..=lines).contains(&error.line) && (1..=bytes.len() + 1).contains(&error.column));
                assert!(!error.to_string().contains('\n'));
            }
        }
    }
});
