// SPDX-License-Identifier: GPL-2.0-or-later
use proptest::prelude::*;

use super::*;

fn ring(seq: u64) -> Ring {
    Ring { representative: 1, seq }
}

fn quorum(seq: u64, quorate: bool, members: &[u32]) -> Heard {
    Heard::Quorum { ring: ring(seq), quorate, members: members.to_vec() }
}

fn group(present: &[u32], with_ring: bool) -> Heard {
    Heard::Group { present: present.to_vec(), with_ring }
}

fn rings(seq: u64, members: &[u32]) -> Heard {
    Heard::Ring { ring: ring(seq), members: members.to_vec() }
}

fn said(from: u32, text: u8) -> Heard {
    Heard::Message { from, payload: vec![text] }
}

fn nodes(numbers: &[u32]) -> BTreeSet<NodeId> {
    numbers.iter().filter_map(|n| NodeId::new(*n)).collect()
}

fn configuration(seq: u64, members: &[u32], attached: &[u32], quorate: bool) -> FromEngine {
    FromEngine::Configuration(Configuration {
        ring: (1, seq),
        members: nodes(members),
        attached: nodes(attached),
        quorate,
    })
}

fn message(from: u32, text: u8) -> FromEngine {
    FromEngine::Message { from: NodeId::new(from).unwrap(), payload: vec![text] }
}

fn told(sequencer: &mut Sequencer) -> Vec<FromEngine> {
    std::iter::from_fn(|| sequencer.next()).collect()
}

/// Node 2 of three, attached, and quiet.
fn begun() -> Sequencer {
    let mut s = Sequencer::new(NodeId::new(2).unwrap());
    s.hear(quorum(4, true, &[1, 2, 3]));
    assert!(!s.wants_base());
    s.hear(group(&[1, 2, 3], false));
    assert!(s.wants_base());
    assert_eq!(told(&mut s), []);
    s.settle();
    assert_eq!(told(&mut s), [configuration(4, &[1, 2, 3], &[1, 2, 3], true)]);
    s
}

#[test]
fn a_lost_node_leaves_members_and_attached_at_once_whichever_stream_is_first() {
    let after = [configuration(8, &[1, 2], &[1, 2], true), message(1, b'a')];
    let mut s = begun();
    for heard in [group(&[1, 2], true), rings(8, &[1, 2]), said(1, b'a')] {
        s.hear(heard);
        assert_eq!(told(&mut s), []);
    }
    assert!(s.waits_for_quorum());
    s.hear(quorum(8, true, &[1, 2]));
    assert_eq!(told(&mut s), after);

    let mut s = begun();
    for heard in [quorum(8, true, &[1, 2]), group(&[1, 2], true), rings(8, &[1, 2]), said(1, b'a')] {
        s.hear(heard);
    }
    assert_eq!(told(&mut s), after);
    assert!(!s.waits_for_quorum());
}

#[test]
fn a_ring_that_passed_before_quorum_spoke_of_it_was_never_quorate() {
    let mut s = begun();
    for heard in [group(&[2], true), rings(8, &[2]), said(2, b'a'), group(&[1, 2], true), rings(12, &[1, 2])] {
        s.hear(heard);
    }
    s.hear(quorum(12, true, &[1, 2]));
    let expected = [configuration(8, &[2], &[2], false), message(2, b'a'), configuration(12, &[1, 2], &[1, 2], true)];
    assert_eq!(told(&mut s), expected);
}

#[test]
fn quorum_alone_may_change() {
    let mut s = begun();
    s.hear(quorum(4, false, &[1, 2, 3]));
    s.hear(quorum(4, false, &[1, 2, 3]));
    assert_eq!(told(&mut s), [configuration(4, &[1, 2, 3], &[1, 2, 3], false)]);
}

#[test]
fn quorum_of_a_ring_to_come_changes_nothing_yet() {
    let mut s = begun();
    s.hear(quorum(8, false, &[2]));
    s.hear(said(1, b'a'));
    assert_eq!(told(&mut s), [message(1, b'a')]);
}

#[test]
fn a_process_that_goes_is_told_among_the_messages() {
    let mut s = begun();
    for heard in [said(3, b'a'), group(&[1, 2], false), said(1, b'b'), group(&[1, 2, 3], false)] {
        s.hear(heard);
    }
    let expected = [
        message(3, b'a'),
        configuration(4, &[1, 2, 3], &[1, 2], true),
        message(1, b'b'),
        configuration(4, &[1, 2, 3], &[1, 2, 3], true),
    ];
    assert_eq!(told(&mut s), expected);
}

#[test]
fn nothing_is_told_before_this_node_is_in_the_group() {
    let mut s = Sequencer::new(NodeId::new(2).unwrap());
    s.hear(quorum(0, false, &[]));
    s.hear(quorum(4, true, &[1, 2, 3]));
    s.hear(group(&[1, 3], true));
    s.hear(rings(8, &[1, 2, 3]));
    s.hear(quorum(8, true, &[1, 2, 3]));
    assert!(!s.wants_base());
    s.hear(group(&[1, 2, 3], false));
    assert!(s.wants_base());
    s.settle();
    assert_eq!(told(&mut s), [configuration(8, &[1, 2, 3], &[1, 2, 3], true)]);
}

#[test]
fn a_ring_that_formed_while_connecting_is_not_mistaken_for_the_first() {
    let mut s = Sequencer::new(NodeId::new(2).unwrap());
    s.hear(quorum(4, true, &[1, 2, 3]));
    for heard in [group(&[1, 2, 3], false), said(3, b'a'), group(&[1, 2], true), rings(8, &[1, 2]), said(1, b'b')] {
        s.hear(heard);
    }
    s.hear(quorum(8, true, &[1, 2]));
    s.settle();
    let expected = [
        configuration(4, &[1, 2, 3], &[1, 2, 3], true),
        message(3, b'a'),
        configuration(8, &[1, 2], &[1, 2], true),
        message(1, b'b'),
    ];
    assert_eq!(told(&mut s), expected);
}

#[test]
fn without_a_ring_from_quorum_it_waits() {
    let mut s = Sequencer::new(NodeId::new(2).unwrap());
    s.hear(group(&[2], false));
    s.settle();
    assert!(s.wants_base());
    s.hear(quorum(4, false, &[2]));
    s.settle();
    assert_eq!(told(&mut s), [configuration(4, &[2], &[2], false)]);
}

#[test]
fn numbers_that_are_no_nodes_are_left_out() {
    let mut s = begun();
    s.hear(said(0, b'a'));
    s.hear(said(70_000, b'b'));
    s.hear(group(&[1, 2, 3, 70_000], false));
    assert_eq!(told(&mut s), []);
}

#[test]
fn what_is_held_has_a_bound() {
    let mut s = begun();
    s.hear(rings(8, &[1, 2, 3]));
    while s.has_room() {
        s.hear(Heard::Message { from: 1, payload: vec![0; 1 << 20] });
    }
    assert!(s.held_bytes <= HELD_BYTES + (1 << 20));
    s.hear(quorum(8, true, &[1, 2, 3]));
    assert!(s.has_room() && s.held_bytes == 0);
    for seq in 9..2000 {
        s.hear(quorum(seq, true, &[1, 2, 3]));
    }
    assert!(s.quorums.len() <= QUORUMS);
}

/// cpg's stream: rings with what happens in them, each event as (what it is, which node).
fn streams() -> impl Strategy<Value = (Vec<Heard>, Vec<Heard>)> {
    let in_a_ring = prop::collection::vec((0..3u8, 1..4u32), 0..6);
    prop::collection::vec((any::<bool>(), 1..4u32, in_a_ring), 1..6).prop_map(|history| {
        let (mut cpg, mut quorums) = (Vec::new(), Vec::new());
        for (n, (quorate, other, events)) in history.into_iter().enumerate() {
            let seq = 8 + 4 * n as u64;
            let members = [2, other];
            cpg.extend([group(&members, true), rings(seq, &members)]);
            quorums.push(quorum(seq, quorate, &members));
            for (at, (kind, node)) in events.into_iter().enumerate() {
                match kind {
                    0 => cpg.push(group(&[2, node], false)),
                    1 => quorums.push(quorum(seq, node == 1, &members)),
                    _ => cpg.push(said(node, at as u8)),
                }
            }
        }
        (cpg, quorums)
    })
}

/// The events without the quorum, which is in no order with the messages, and without what then only repeats.
fn without_quorum(events: &[FromEngine]) -> Vec<FromEngine> {
    let mut last = None;
    let blind = |event: &FromEngine| match event {
        FromEngine::Configuration(c) => {
            let c = Configuration { quorate: false, ..c.clone() };
            (last.replace(c.clone()).as_ref() != Some(&c)).then_some(FromEngine::Configuration(c))
        }
        other => Some(other.clone()),
    };
    events.iter().filter_map(blind).collect()
}

proptest! {
    /// However the two streams interleave, the order of members, attached and messages is the same, and so is the end.
    #[test]
    fn the_order_does_not_depend_on_which_descriptor_was_read_first(
        (cpg, quorums) in streams(),
        turns in prop::collection::vec(any::<bool>(), 80),
    ) {
        let mut mixed = begun();
        let (mut left, mut right) = (cpg.iter(), quorums.iter());
        for cpg_first in turns {
            let next = if cpg_first { left.next().or_else(|| right.next()) } else { right.next().or_else(|| left.next()) };
            next.into_iter().for_each(|h| mixed.hear(h.clone()));
        }
        left.chain(right).for_each(|h| mixed.hear(h.clone()));

        let mut quorum_first = begun();
        quorums.iter().chain(&cpg).for_each(|h| quorum_first.hear(h.clone()));

        let (mixed, expected) = (told(&mut mixed), told(&mut quorum_first));
        prop_assert_eq!(without_quorum(&mixed), without_quorum(&expected));
        let end = |all: &[FromEngine]| all.iter().rev().find(|e| matches!(e, FromEngine::Configuration(_))).cloned();
        prop_assert_eq!(end(&mixed), end(&expected));
    }
}
