// SPDX-License-Identifier: GPL-2.0-or-later
//! The daemon's figures as OpenMetrics text (OpenMetrics 1.0).

use std::fmt::Write;

use ssi_cluster::NodeState;

use super::Standing;

/// All figures, ended by `# EOF`.
pub fn text(s: &Standing) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, samples: Vec<(String, u64)>| {
        let _ = writeln!(out, "# TYPE {name} gauge\n# HELP {name} {help}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let one = |value: u64| vec![(String::new(), value)];
    gauge("ssi_view", "Number of the view.", one(s.view.id.0));
    gauge("ssi_members", "Members of the view.", one(s.view.members.len() as u64));
    gauge("ssi_quorate", "Whether the view has quorum.", one(s.view.quorate.into()));
    gauge("ssi_in_step", "Whether this node holds what the others hold.", one(s.in_step.into()));
    gauge("ssi_last_transition", "Number of the newest transition.", one(s.shared.last_id));
    let nodes: Vec<_> = s.nodes();
    let states = nodes.iter().flat_map(|n| {
        NodeState::ALL
            .map(|state| (format!("{{node=\"{}\",state=\"{state}\"}}", n.id), u64::from(n.state == state.name())))
    });
    gauge("ssi_node_state", "1 for the state a node is in.", states.collect());
    let loads = nodes.iter().filter_map(|n| Some((format!("{{node=\"{}\"}}", n.id), n.load?)));
    gauge("ssi_node_load_milli", "Exported load, thousandths of a task on a reference CPU.", loads.collect());
    out.push_str("# EOF\n");
    out
}
