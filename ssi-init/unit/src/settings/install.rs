// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Install]` (systemd.unit(5)) and of `[X-SSI]`.

use super::{Outcome, Reader, Table, value};
use crate::config::unit::{ClusterSection, Failback, InstallSection, Scope};
use crate::name::UnitName;
use crate::words::Rules;

/// The keys of `[Install]`.
pub(super) const INSTALL: Table<InstallSection> = &[
    ("Alias", |install, value, reader| words(&mut install.alias, value, reader)),
    ("WantedBy", |install, value, reader| words(&mut install.wanted_by, value, reader)),
    ("RequiredBy", |install, value, reader| words(&mut install.required_by, value, reader)),
    ("UpheldBy", |install, value, reader| words(&mut install.upheld_by, value, reader)),
    ("Also", |install, value, reader| words(&mut install.also, value, reader)),
    ("DefaultInstance", |install, value, _| {
        install.default_instance = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }),
];

/// The keys of `[X-SSI]`.
pub(super) const CLUSTER: Table<ClusterSection> = &[
    ("Scope", |cluster, value, reader| reader.set_word(&mut cluster.scope, value, Scope::from_word)),
    ("Nodes", |cluster, value, reader| nodes(&mut cluster.nodes, value, reader)),
    ("Avoid", |cluster, value, reader| nodes(&mut cluster.avoid, value, reader)),
    ("With", |cluster, value, reader| units(&mut cluster.with, value, reader)),
    ("Apart", |cluster, value, reader| units(&mut cluster.apart, value, reader)),
    ("Instances", |cluster, value, reader| {
        let count = value::unsigned32(value).filter(|count| *count > 0);
        cluster.instances = count.ok_or_else(|| reader.bad(value, "a number from 1 up"))?;
        Ok(())
    }),
    ("Failback", |cluster, value, reader| reader.set_word(&mut cluster.failback, value, Failback::from_word)),
    ("Spread", |cluster, value, reader| reader.set_bool(&mut cluster.spread, value)),
    ("Load", |cluster, value, reader| reader.set_bool(&mut cluster.least_loaded, value)),
    ("TakeoverSec", |cluster, value, reader| span(&mut cluster.takeover, value, reader)),
    ("ProbationSec", |cluster, value, reader| span(&mut cluster.probation, value, reader)),
    ("ErrorLimit", |cluster, value, reader| {
        if value.is_empty() {
            cluster.error_limit = None;
            return Ok(());
        }
        let count = value::unsigned32(value).filter(|count| *count > 0);
        cluster.error_limit = Some(count.ok_or_else(|| reader.bad(value, "a number from 1 up"))?);
        Ok(())
    }),
];

/// A span of time above zero; nothing: the cluster's value.
fn span(span: &mut Option<std::time::Duration>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        *span = None;
        return Ok(());
    }
    let found = reader.span(value)?.filter(|span| !span.is_zero());
    *span = Some(found.ok_or_else(|| reader.bad(value, "a span of time above zero"))?);
    Ok(())
}

/// Words kept as they are: their specifiers wait for the instance that is enabled.
fn words(list: &mut Vec<String>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.extend(list, value, Rules::NAMES, |_, word| Ok(word.to_owned()))
}

/// Other units of the cluster; of a template with several instances, the template.
fn units(list: &mut Vec<UnitName>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.extend(list, value, Rules::NAMES, |reader, word| reader.unit(word))
}

/// Numbers or names of nodes, or what their contexts have, as `role=web`.
fn nodes(list: &mut Vec<String>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.extend(list, value, Rules::NAMES, |reader, word| {
        let word = reader.text(word)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain);
        let fits = match word.split_once('=') {
            Some((variable, value)) => good(variable) && good(value),
            None => good(&word),
        };
        if fits { Ok(word) } else { Err(reader.bad(&word, "the number or name of a node, or VARIABLE=VALUE")) }
    })
}
