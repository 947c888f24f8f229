// SPDX-License-Identifier: GPL-2.0-or-later
//! From what a unit's files say of its place in the cluster to what the placement takes: names and context variables
//! become nodes by cluster.toml.

use ssi_cluster::NodeId;
use ssi_cluster::config::Config;
use ssi_cluster::placement::{Instances, MAX_INSTANCES, UnitWish};
use ssi_cluster::scope::Wanted;
use ssi_cluster::scope::manager::Spec;

use crate::agreement::SHORTEST_TAKEOVER_MS;

/// What a unit's files mean in this cluster, and what of them means nothing.
pub fn resolve(unit: &str, spec: &Spec, config: &Config) -> (Wanted, Vec<String>) {
    let mut troubles = Vec::new();
    let (nodes, avoid) = {
        let mut words = |setting: &str, words: &[String]| {
            let mut found: Vec<NodeId> = Vec::new();
            for word in words {
                let before = found.len();
                found.extend(nodes_of(word, config));
                if found.len() == before {
                    troubles.push(format!("{unit}: {setting}={word}: no node of cluster.toml is that"));
                }
            }
            let mut seen = std::collections::BTreeSet::new();
            found.retain(|node| seen.insert(*node));
            found
        };
        (words("Nodes", &spec.nodes), words("Avoid", &spec.avoid))
    };
    let mut avoid = avoid;
    if nodes.is_empty() && !spec.nodes.is_empty() {
        // None of those it may run on is there: not any, but none.
        avoid = config.nodes.keys().copied().collect();
    }
    let instances = match spec.instances {
        Some(count) => Instances::Count(count.clamp(1, MAX_INSTANCES)),
        None => Instances::All,
    };
    let takeover_ms = spec.takeover_ms.max(SHORTEST_TAKEOVER_MS);
    if takeover_ms != spec.takeover_ms {
        troubles.push(format!("{unit}: TakeoverSec= is too short and taken for {} ms", SHORTEST_TAKEOVER_MS));
    }
    let wish = UnitWish {
        nodes,
        avoid,
        failback: spec.failback,
        spread: spec.spread,
        least_loaded: spec.least_loaded,
        with: spec.with.clone(),
        apart: spec.apart.clone(),
        ..UnitWish::new(unit, instances)
    };
    let (probation_ms, error_limit) = (spec.probation_ms, spec.error_limit);
    (Wanted { wish, takeover_ms, probation_ms, error_limit }, troubles)
}

/// The nodes that a word stands for: a number, a name, or `variable=value` of their contexts.
fn nodes_of(word: &str, config: &Config) -> Vec<NodeId> {
    if let Some((variable, value)) = word.split_once('=') {
        let has =
            |node: &&ssi_cluster::config::NodeConfig| node.context.get(variable).is_some_and(|known| known == value);
        return config.nodes.values().filter(has).map(|node| node.id).collect();
    }
    let by_number = word.parse().ok().and_then(NodeId::new).filter(|id| config.node(*id).is_some());
    let by_name = || config.nodes.values().find(|node| node.name == word).map(|node| node.id);
    by_number.or_else(by_name).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config() -> Config {
        let text = "name = \"c\"\n[membership]\nengine = \"corosync\"\n\
            [[node]]\nid = 1\nname = \"one\"\naddress = \"192.0.2.1\"\ncontext = { role = \"web\" }\n\
            [[node]]\nid = 2\nname = \"two\"\naddress = \"192.0.2.2\"\ncontext = { role = \"mail\" }\n\
            [[node]]\nid = 3\nname = \"three\"\naddress = \"192.0.2.3\"\ncontext = { role = \"web\" }\n";
        Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap()
    }

    fn numbers(words: &[&str]) -> (Vec<u32>, Vec<u32>, usize) {
        let spec = Spec { nodes: words.iter().map(|word| (*word).to_owned()).collect(), ..Spec::default() };
        let (wanted, troubles) = resolve("db.service", &spec, &config());
        let plain = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
        (plain(&wanted.wish.nodes), plain(&wanted.wish.avoid), troubles.len())
    }

    #[test]
    fn numbers_names_and_variables_in_their_order() {
        assert_eq!(numbers(&[]), (vec![], vec![], 0));
        assert_eq!(numbers(&["two", "1"]), (vec![2, 1], vec![], 0));
        assert_eq!(numbers(&["3", "role=web"]), (vec![3, 1], vec![], 0));
        assert_eq!(numbers(&["2", "9", "four"]), (vec![2], vec![], 2));
    }

    #[test]
    fn where_no_node_is_meant_it_runs_nowhere() {
        assert_eq!(numbers(&["role=database"]), (vec![], vec![1, 2, 3], 1));
    }

    #[test]
    fn a_takeover_that_is_too_short_is_told() {
        let spec = Spec { takeover_ms: 10, ..Spec::default() };
        let (wanted, troubles) = resolve("db.service", &spec, &config());
        assert_eq!((wanted.takeover_ms, troubles.len()), (SHORTEST_TAKEOVER_MS, 1));
    }
}
