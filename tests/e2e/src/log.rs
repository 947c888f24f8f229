// SPDX-License-Identifier: GPL-2.0-or-later
//! The transition log as tests look at it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{Cluster, eventually};

/// A text field of an entry; empty when it is not there.
pub fn field<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number field of an entry; 0 when it is not there.
pub fn number(entry: &Value, name: &str) -> u64 {
    entry.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// The states a node went through, in order.
pub fn moves(log: &[Value], node: u64) -> Vec<&str> {
    log.iter().filter(|e| number(e, "node") == node).map(|e| field(e, "to")).collect()
}

/// Waits until all these nodes have the same log, and checks it: its numbers rise by one from 1, and each move of a node
/// starts where its last one ended.
///
/// # Errors
/// When they do not come to have the same log, or it is not as it should be.
pub fn assert_same_log(cluster: &Cluster, nodes: &[u32]) -> Result<Vec<Value>> {
    let mut first = Vec::new();
    eventually("all nodes have the same log", || {
        first = cluster.log(nodes[0])?;
        for &n in &nodes[1..] {
            if cluster.log(n)? != first {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let mut last: BTreeMap<u64, String> = BTreeMap::new();
    for (i, entry) in first.iter().enumerate() {
        ensure!(number(entry, "id") == i as u64 + 1, "the numbers have a gap at {entry}");
        let was = last.insert(number(entry, "node"), field(entry, "to").to_owned()).unwrap_or("NEVERUP".into());
        ensure!(field(entry, "from") == was, "node was {was} before {entry}");
    }
    Ok(first)
}
