// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever a peer says, nothing breaks.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use ssi_cluster::engine::Configuration;
use ssi_clusterd::agreement::shared::Shared;
use ssi_clusterd::agreement::{Action, Agreement, Event};

use crate::world::{SCRIPT_TIMEOUT_MS, id};

/// A member that is in step, alone.
fn alone() -> (Agreement, Configuration) {
    let mut agreement = Agreement::new(id(1), "boot".into(), Shared::default(), 1, SCRIPT_TIMEOUT_MS, 0);
    let only = BTreeSet::from([id(1)]);
    let seen = Configuration { ring: (1, 1), members: only.clone(), attached: only.clone(), quorate: true };
    let mut events = VecDeque::from([Event::Configuration(seen.clone())]);
    while let Some(event) = events.pop_front() {
        for action in agreement.on_event(event, 1, 1, &only) {
            if let Action::Send(message) = action {
                events.push_back(Event::Message(id(1), message));
            }
        }
    }
    assert!(agreement.settled());
    (agreement, seen)
}

/// A number that does harm where numbers are counted up and down.
fn awkward() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(2), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

/// What a peer that has gone mad may say: right in form, and otherwise anything.
fn mad_message() -> impl Strategy<Value = serde_json::Value> {
    let node = 0u64..4;
    let state = prop::sample::select(vec![
        "NEVERUP",
        "COMINGUP",
        "UP",
        "SHUTDOWN",
        "GOINGDOWN",
        "KCLEANUP",
        "UCLEANUP",
        "DOWN",
        "?",
    ]);
    (0..13, node, awkward(), awkward(), state.clone(), state, any::<bool>()).prop_map(|(kind, n, a, b, from, to, flag)| {
        let seen = serde_json::json!({"ring": [1, b], "members": [1, n], "attached": [1], "quorate": flag});
        let entry = serde_json::json!({"id": a, "at_ms": b, "view": a, "node": n, "from": from, "to": to, "cause": "?"});
        let view = serde_json::json!({"id": a, "members": [n, 1], "quorate": flag});
        let shared = serde_json::json!({"view": view, "lineage": a, "revision": b, "nodes": {}, "log": [entry, entry],
            "last_id": b, "works": {"7": {"kind": "nodeup", "node": n, "runner": 1, "scripts": [], "done": flag}}});
        let instance = serde_json::json!({"unit": "a.service", "index": 0});
        let grant = serde_json::json!({"round": {"ring": 1, "round": a}, "change": b});
        let run = serde_json::json!({"instance": instance, "grant": grant, "view": a, "takeover_ms": b});
        let part = serde_json::json!({"boot": "x", "last_round": {"ring": 1, "round": b}, "remembers": flag,
            "table": {"lineage": {"ring": a, "round": b}, "change": a, "holds": []}, "runs": [run, run], "silent_ms": {"2": a}});
        match kind {
            0 => serde_json::json!({"hello": {"sees": seen, "again": flag, "completed": u64::from(flag), "in_step": flag,
                "nonce": b, "incarnation": "x", "view": view, "lineage": a, "revision": b, "digest": "?", "scope": part}}),
            7 => serde_json::json!({"scope": {"pulse": {"stamp": {"life": a, "number": b}, "knows": a,
                "heard": {"1": {"life": 1, "number": b}}, "round": {"ring": 1, "round": 1}}}}),
            8 => serde_json::json!({"scope": {"change": {"round": {"ring": 1, "round": 1}, "change": if flag {
                serde_json::json!({"grant": {"instance": instance, "to": 1, "takeover_ms": a}})
            } else {
                serde_json::json!({"taken": {"instance": instance, "node": n, "grant": grant, "to": 1}})
            }}}}),
            9 => serde_json::json!({"service": {"view": 1, "unit": "a.service", "deed": if flag {
                serde_json::json!({"define": {"description": "ä".repeat(300), "wanted": {"takeover_ms": a, "probation_ms": b, "error_limit": 0, "wish": {
                "name": "a.service", "instances": {"Count": b as u32}, "nodes": [], "avoid": [1], "failback": "No",
                "spread": flag, "pin": null, "least_loaded": flag}}}})
            } else {
                [serde_json::json!("start"), serde_json::json!({"move": {"index": b as u32, "to": 1}}), serde_json::json!("stop")][(b % 3) as usize].clone()
            }}}),
            10 => serde_json::json!({"drain": {"view": 1, "node": n, "on": flag}}),
            11 => serde_json::json!({"running": {"a.service#0": {"unit": "a.service", "active": "?", "sub": ""}}}),
            1 => serde_json::json!({"state": {"exchange": {"1": a}, "shared": shared}}),
            2 => serde_json::json!({"move": {"view": a, "node": n, "from": from, "to": to, "cause": "\u{0}\u{fffd}", "at_ms": b,
                "reboot": flag}}),
            3 => serde_json::json!({"assign": {"view": a, "transition": b, "instead_of": if flag { Some(n) } else { None }}}),
            4 => serde_json::json!({"script-ended": {"transition": a, "script": "../../x", "outcome": "failed", "status": -1,
                "output": "ä".repeat(9000)}}),
            5 => serde_json::json!({"work-done": {"transition": a}}),
            _ => serde_json::json!({"of-a-later-version": [a, b]}),
        }
    })
}

proptest! {
    #[test]
    fn whatever_a_peer_says_nothing_breaks(
        said in prop::collection::vec((mad_message(), 1usize..4), 0..40),
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (mut agreement, seen) = alone();
        prop_assert!(ssi_clusterd::agreement::message::read(&noise).is_none());
        for (json, from) in said {
            let bytes = serde_json::to_vec(&json).unwrap();
            if let Some(message) = ssi_clusterd::agreement::message::read(&bytes) {
                agreement.on_event(Event::Message(id(from), message), 2, 2, &BTreeSet::from([id(1)]));
            }
        }
        // It still listens to its engine.
        agreement.on_event(Event::Configuration(Configuration { ring: (1, 2), ..seen }), 3, 3, &BTreeSet::from([id(1)]));
        prop_assert!(!agreement.shared().digest().is_empty());
    }
}
