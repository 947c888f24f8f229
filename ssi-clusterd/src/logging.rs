// SPDX-License-Identifier: GPL-2.0-or-later
//! Where log lines go: to the journal with fields where one listens, else to stderr.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. `node` goes into the field `SSI_NODE` of every line (systemd.journal-fields(7)).
pub fn start(node: Option<ssi_cluster::NodeId>) {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    // Set by the service manager when stderr is the journal's (systemd.exec(5)).
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        let fields: Vec<(&str, String)> = node.map(|n| ("SSI_NODE", n.to_string())).into_iter().collect();
        registry.with(journal.with_field_prefix(None).with_custom_fields(fields)).init();
        return;
    }
    registry
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false))
        .init();
}
