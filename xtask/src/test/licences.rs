// SPDX-License-Identifier: GPL-2.0-or-later
//! Licences and sources of all dependencies against `deny.toml`, where cargo-deny is not installed.
//!
//! cargo-deny does more (it reads the licence files, and knows the advisories); this much needs nothing but cargo:
//! every dependency's licence expression must be met by the licences that `deny.toml` allows, and every dependency
//! must come from the registry. The expressions are SPDX's (annex D of its specification), with the `/` of old crates
//! read as OR.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The part of deny.toml that is looked at.
#[derive(Deserialize)]
struct Deny {
    licenses: Allowed,
}

#[derive(Deserialize)]
struct Allowed {
    allow: BTreeSet<String>,
}

/// The part of `cargo metadata` that is looked at.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for the workspace's own.
    source: Option<String>,
}

/// Checks what `cargo metadata` told, and gives the number of packages and what is wrong with them.
pub(super) fn check(deny: &str, metadata: &str) -> Result<(usize, Vec<String>)> {
    let deny: Deny = toml::from_str(deny).context("reading deny.toml")?;
    let metadata: Metadata = serde_json::from_str(metadata).context("reading what cargo metadata wrote")?;
    let mut wrong = Vec::new();
    for Package { name, version, license, source } in &metadata.packages {
        let says = |what: String| format!("{name} {version}: {what}");
        match license.as_deref().map(|text| (text, met(text, &deny.licenses.allow))) {
            None => wrong.push(says("it names no licence".to_owned())),
            Some((text, None)) => wrong.push(says(format!("its licence '{text}' cannot be read"))),
            Some((text, Some(false))) => wrong.push(says(format!("its licence '{text}' is not one deny.toml allows"))),
            Some((_, Some(true))) => {}
        }
        if let Some(source) = source
            && !source.starts_with("registry+")
            && !source.starts_with("sparse+")
        {
            wrong.push(says(format!("it does not come from the registry but from {source}")));
        }
    }
    Ok((metadata.packages.len(), wrong))
}

/// Whether a licence expression can be met with the allowed licences; `None` when it is none.
fn met(expression: &str, allowed: &BTreeSet<String>) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let met = either(&mut words, allowed)?;
    words.is_empty().then_some(met)
}

fn take<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

fn next_is(words: &mut &[&str], word: &str) -> bool {
    let is = words.first() == Some(&word);
    if is {
        *words = &words[1..];
    }
    is
}

/// `both {OR both}`
fn either(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = both(words, allowed)?;
    while next_is(words, "OR") {
        met |= both(words, allowed)?;
    }
    Some(met)
}

/// `one {AND one}`
fn both(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while next_is(words, "AND") {
        met &= one(words, allowed)?;
    }
    Some(met)
}

/// `( either )`, or a licence, perhaps `WITH` an exception, which is allowed or not together with it.
fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let first = take(words)?;
    if first == "(" {
        let met = either(words, allowed)?;
        return next_is(words, ")").then_some(met);
    }
    if ["OR", "AND", "WITH", ")"].contains(&first) {
        return None;
    }
    if next_is(words, "WITH") {
        let exception = take(words)?;
        return Some(allowed.contains(&format!("{first} WITH {exception}")));
    }
    Some(allowed.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_their_operators_bind() {
        let allowed = ["MIT", "Unicode-3.0", "A WITH e"].map(String::from).into();
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("Apache-2.0", Some(false)),
            ("MIT OR Apache-2.0", Some(true)),
            ("MIT/Apache-2.0", Some(true)),
            ("Apache-2.0 / MIT", Some(true)),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Some(true)),
            ("(MIT OR Apache-2.0) AND OpenSSL", Some(false)),
            ("OpenSSL AND MIT OR MIT", Some(true)),
            ("MIT AND (OpenSSL OR Zlib)", Some(false)),
            ("A WITH e", Some(true)),
            ("A", Some(false)),
            ("MIT WITH f", Some(false)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("MIT )", None),
        ] {
            assert_eq!(met(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_named() -> Result<()> {
        let metadata = r#"{"packages": [
            {"name": "own", "version": "1.0.0", "license": "MIT", "source": null},
            {"name": "good", "version": "1.0.0", "license": "MIT", "source": "registry+x"},
            {"name": "none", "version": "1.0.0", "license": null, "source": "registry+x"},
            {"name": "bad", "version": "2.0.0", "license": "SSPL-1.0", "source": "git+x"}]}"#;
        let (count, wrong) = check("[licenses]\nallow = [\"MIT\"]\n", metadata)?;
        assert_eq!(count, 4);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("none 1.0.0") && wrong[1].contains("SSPL-1.0") && wrong[2].contains("git+x"));
        Ok(())
    }
}
