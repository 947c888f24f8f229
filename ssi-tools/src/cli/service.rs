// SPDX-License-Identifier: GPL-2.0-or-later
//! The arguments of `ssi service`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::NodeRef;
use crate::figures::parse_span;

/// See [`super::Command::Service`].
#[derive(Args, Debug)]
pub struct ServiceCommand {
    /// What to do with units.
    #[command(subcommand)]
    pub command: ServiceSubcommand,
}

/// The commands of `ssi service`.
#[derive(Debug, Subcommand)]
pub enum ServiceSubcommand {
    /// List the units of the cluster, where they run and how they are doing
    List(ServiceList),
    /// Show all that is known of a unit
    Show(ServiceShow),
    /// Say why a unit runs where it runs, or why it does not
    Explain(ServiceExplain),
    /// Start a unit in the cluster, whatever became of it before
    Start(ServiceAct),
    /// Stop a unit wherever it runs; it stays down until somebody starts it
    Stop(ServiceAct),
    /// Stop a unit and start it again, on the nodes where it runs
    Restart(ServiceAct),
    /// Have a unit go to another node: it is stopped there, then started here
    ///
    /// It goes where it likes best, or to the node of --to, and stays there unless its file says Failback=yes.
    Move(ServiceMove),
    /// Have a unit run on one node or nowhere
    Pin(ServicePin),
    /// Have a unit run where it likes again
    Unpin(ServiceAct),
    /// Have a unit start at boot, on all members, as its [Install] section says
    Enable(ServiceFiles),
    /// Have a unit not start at boot any more, on all members
    Disable(ServiceFiles),
}

/// See [`ServiceSubcommand::List`].
#[derive(Args, Debug)]
pub struct ServiceList {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`ServiceSubcommand::Show`].
#[derive(Args, Debug)]
pub struct ServiceShow {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`ServiceSubcommand::Explain`].
#[derive(Args, Debug)]
pub struct ServiceExplain {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// How long to wait.
#[derive(Args, Clone, Debug)]
pub struct Patience {
    /// Do not wait until the cluster has done it
    #[arg(long)]
    pub no_wait: bool,
    /// Give up waiting after this time, such as 30s or 2m [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_span, conflicts_with = "no_wait")]
    pub timeout: Option<Duration>,
}

/// See [`ServiceSubcommand::Start`] and its kin.
#[derive(Args, Debug)]
pub struct ServiceAct {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// How long to wait.
    #[command(flatten)]
    pub patience: Patience,
}

/// See [`ServiceSubcommand::Enable`] and [`ServiceSubcommand::Disable`].
#[derive(Args, Debug)]
pub struct ServiceFiles {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// Start it as well, or stop it
    #[arg(long)]
    pub now: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// How long to wait with --now.
    #[command(flatten)]
    pub patience: Patience,
}

/// See [`ServiceSubcommand::Move`].
#[derive(Args, Debug)]
pub struct ServiceMove {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// The node to go to, a number or a name [default: where it likes best, but for where it is]
    #[arg(long, value_name = "NODE")]
    pub to: Option<NodeRef>,
    /// Which instance of several
    #[arg(long, value_name = "N")]
    pub instance: Option<u32>,
    /// How long to wait.
    #[command(flatten)]
    pub patience: Patience,
}

/// See [`ServiceSubcommand::Pin`].
#[derive(Args, Debug)]
pub struct ServicePin {
    /// The unit; a name without a suffix is a service's
    #[arg(value_parser = parse_unit)]
    pub unit: String,
    /// The node, a number or a name
    #[arg(long, value_name = "NODE")]
    pub to: NodeRef,
    /// How long to wait.
    #[command(flatten)]
    pub patience: Patience,
}

/// A unit's name; one without a suffix is a service's, as for systemctl(1).
fn parse_unit(text: &str) -> Result<String, String> {
    const TYPES: [&str; 9] = ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice"];
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.len() > 255 {
        return Err("a unit's name has letters, digits and :-_.\\@ in it".into());
    }
    let has_type = text.rsplit_once('.').is_some_and(|(_, end)| TYPES.contains(&end));
    Ok(if has_type { text.to_owned() } else { format!("{text}.service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_type_is_a_services() {
        assert_eq!(parse_unit("db").unwrap(), "db.service");
        assert_eq!(parse_unit("db.x").unwrap(), "db.x.service");
        assert_eq!(parse_unit("ha-nfs.target").unwrap(), "ha-nfs.target");
        assert!(parse_unit("a b").is_err() && parse_unit("").is_err());
    }
}
