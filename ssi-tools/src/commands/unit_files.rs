// SPDX-License-Identifier: GPL-2.0-or-later
//! What all members' unit managers are to do with their unit files.

use ssi_cluster::client::FilesStatus;

use crate::cli::{DaemonReload, Places};
use crate::daemon::{Daemon, Picture};
use crate::outcome::{Ending, Exit};
use crate::output::{Output, Tone};
use crate::table::{Cell, Side, render};

/// `ssi daemon-reload`.
///
/// # Errors
/// When the daemon cannot be asked or refuses.
pub async fn reload(args: &DaemonReload, places: &Places, out: &Output) -> Ending {
    on_all("reload", "", args.json, places, out).await
}

/// Has it done and tells of each node; fails where a member failed.
///
/// # Errors
/// When the daemon cannot be asked or refuses.
pub async fn on_all(deed: &str, unit: &str, json: bool, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let came = daemon.unit_files(deed, unit).await?;
    if json {
        out.json(&came)?;
    } else {
        const HEADING: [(&str, Side); 2] = [("NODE", Side::Left), ("DONE", Side::Left)];
        out.text(&render(&HEADING, &rows(&came, &daemon.picture().await?), out.paint))?;
    }
    let failed = came.iter().any(|status| status.error.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn rows(came: &[FilesStatus], picture: &Picture) -> Vec<Vec<Cell>> {
    let row = |node: &ssi_cluster::client::NodeStatus| {
        let said = match came.iter().find(|status| status.node == node.id) {
            Some(FilesStatus { error: None, .. }) => Cell::new(Tone::Good, "yes"),
            Some(FilesStatus { error: Some(error), .. }) => Cell::new(Tone::Bad, error.as_str()),
            None => Cell::new(Tone::Notice, "no, it is not a member"),
        };
        vec![format!("{} ({})", node.id, node.name).into(), said]
    };
    picture.nodes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use ssi_cluster::client::NodeStatus;

    #[test]
    fn each_node_is_told_of_those_that_were_not_there_too() {
        let node = |id: u32| NodeStatus { id, name: format!("node{id}"), ..NodeStatus::default() };
        let picture = Picture { nodes: vec![node(1), node(2), node(3)], ..Picture::default() };
        let came = [FilesStatus { node: 1, error: None }, FilesStatus { node: 2, error: Some("no such unit".into()) }];
        let heading = [("NODE", Side::Left), ("DONE", Side::Left)];
        let text = render(&heading, &rows(&came, &picture), Paint::PLAIN);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let expected =
            ["NODE       DONE", "1 (node1)  yes", "2 (node2)  no such unit", "3 (node3)  no, it is not a member"];
        assert_eq!(lines, expected);
    }
}
