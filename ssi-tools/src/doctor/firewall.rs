// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether nftables' rules seem to keep the other nodes' packets out. Pure: `nft -j list ruleset` in
//! (`libnftables-json(5)`), a guess out.
//!
//! A guess, because what a rule set does to a packet is only known by sending one. It errs towards silence: it speaks
//! up when an input chain refuses by default and no rule anywhere accepts the port.

use serde_json::Value;

/// The input chain that seems to refuse UDP to `port`, as `family table chain`.
pub fn refuses(rules: &Value, port: u16) -> Option<String> {
    let entries: Vec<&Value> =
        rules.get("nftables").and_then(Value::as_array).map(|a| a.iter().collect()).unwrap_or_default();
    let expressions: Vec<(&Value, &[Value])> = entries
        .iter()
        .filter_map(|e| e.get("rule"))
        .map(|r| (r, r.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)))
        .collect();
    if expressions.iter().any(|(_, e)| accepts_port(e, port)) {
        return None;
    }
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    entries.iter().filter_map(|e| e.get("chain")).find_map(|chain| {
        if text(chain, "hook") != "input" {
            return None;
        }
        let here = |rule: &Value| {
            ["family", "table"].iter().all(|k| rule.get(k) == chain.get(k)) && rule.get("chain") == chain.get("name")
        };
        let of_chain = || expressions.iter().filter(|(rule, _)| here(rule)).map(|(_, e)| *e);
        // A rule that accepts whatever comes: nothing after it matters.
        if of_chain().any(|e| is_verdict_only(e, &["accept"])) {
            return None;
        }
        let refuses_rest = text(chain, "policy") == "drop"
            || of_chain().next_back().is_some_and(|e| is_verdict_only(e, &["drop", "reject"]));
        refuses_rest.then(|| format!("{} {} {}", text(chain, "family"), text(chain, "table"), text(chain, "name")))
    })
}

/// Whether a rule is one of these verdicts for every packet; counters and log lines beside it do not matter.
fn is_verdict_only(expressions: &[Value], verdicts: &[&str]) -> bool {
    let mut left = expressions.iter().filter(|e| e.get("counter").is_none() && e.get("log").is_none());
    left.next().is_some_and(|e| verdicts.iter().any(|v| e.get(v).is_some())) && left.next().is_none()
}

/// Whether a rule accepts UDP to the port, maybe under further conditions.
fn accepts_port(expressions: &[Value], port: u16) -> bool {
    let accepts = expressions.iter().any(|e| e.get("accept").is_some());
    accepts
        && expressions.iter().filter_map(|e| e.get("match")).any(|m| {
            let payload = m.get("left").and_then(|l| l.get("payload"));
            let field = |key: &str| payload.and_then(|p| p.get(key)).and_then(Value::as_str);
            field("field") == Some("dport")
                && matches!(field("protocol"), Some("udp" | "th"))
                && m.get("op").and_then(Value::as_str) != Some("!=")
                && m.get("right").is_some_and(|right| covers(right, port))
        })
}

/// Whether a number, a range, or a set of them has the port in it. A named set is taken to: its content is elsewhere.
fn covers(right: &Value, port: u16) -> bool {
    if let Some(number) = right.as_u64() {
        return number == u64::from(port);
    }
    if let Some(named) = right.as_str() {
        return named.starts_with('@');
    }
    let bounds = |v: &Value| Some((v.get(0)?.as_u64()?, v.get(1)?.as_u64()?));
    if let Some((low, high)) = right.get("range").and_then(bounds) {
        return (low..=high).contains(&u64::from(port));
    }
    right.get("set").and_then(Value::as_array).is_some_and(|set| set.iter().any(|v| covers(v, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(policy: &str, expressions: &[Value]) -> Value {
        let mut all = vec![
            json!({"metainfo": {"version": "1.0.6"}}),
            json!({"table": {"family": "inet", "name": "filter"}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": policy}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "output", "hook": "output", "policy": "drop"}}),
        ];
        for e in expressions {
            all.push(json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": e}}));
        }
        json!({"nftables": all})
    }

    fn dport(right: Value) -> Value {
        json!([{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}}, {"accept": null}])
    }

    #[test]
    fn a_chain_that_drops_and_opens_nothing_is_named() {
        let closed = rules(
            "drop",
            &[json!([{"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "lo"}}, {"accept": null}])],
        );
        assert_eq!(refuses(&closed, 5405).as_deref(), Some("inet filter input"));
        let rejects_last = rules("accept", &[dport(json!(22)), json!([{"counter": {}}, {"reject": null}])]);
        assert_eq!(refuses(&rejects_last, 5405).as_deref(), Some("inet filter input"));
    }

    #[test]
    fn a_chain_that_lets_the_port_in_is_not() {
        assert_eq!(refuses(&rules("accept", &[]), 5405), None);
        assert_eq!(refuses(&json!({"nftables": []}), 5405), None);
        for right in [
            json!(5405),
            json!({"set": [22, 5405]}),
            json!({"range": [5400, 5410]}),
            json!({"set": [{"range": [5400, 5410]}]}),
            json!("@cluster"),
        ] {
            assert_eq!(refuses(&rules("drop", &[dport(right.clone())]), 5405), None, "{right}");
        }
        assert!(refuses(&rules("drop", &[dport(json!({"range": [1, 22]}))]), 5405).is_some());
        assert_eq!(refuses(&rules("drop", &[json!([{"accept": null}])]), 5405), None);
    }
}
