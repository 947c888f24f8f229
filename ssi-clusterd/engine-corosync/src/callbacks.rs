// SPDX-License-Identifier: GPL-2.0-or-later
//! Where corosync's libraries call back.
//!
//! The binding takes plain function pointers and holds a lock of its own while it calls them: calling the library from
//! one would wait for itself, and a panic in one would poison that lock for good. So they only note down what came, in
//! one queue in the order of the calls, and the queue is emptied when the library has returned.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rust_corosync::{NodeId, cpg, quorum};

use crate::sequencer::{Heard, Ring};

static HEARD: Mutex<VecDeque<Heard>> = Mutex::new(VecDeque::new());

fn heard() -> MutexGuard<'static, VecDeque<Heard>> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came since the last time, in its order.
pub(crate) fn take() -> VecDeque<Heard> {
    std::mem::take(&mut *heard())
}

/// The callbacks of the quorum service. The list of nodes comes with the ring from the cpg service, in its order there.
pub(crate) fn of_quorum() -> quorum::ModelData {
    quorum::ModelData::ModelV1(quorum::Model1Data {
        flags: quorum::Model1Flags::None,
        quorum_notification_fn: Some(on_quorum),
        nodelist_notification_fn: None,
    })
}

/// The callbacks of the cpg service.
pub(crate) fn of_cpg() -> cpg::ModelData {
    cpg::ModelData::ModelV1(cpg::Model1Data {
        flags: cpg::Model1Flags::None,
        deliver_fn: Some(on_message),
        confchg_fn: Some(on_group),
        totem_confchg_fn: Some(on_ring),
    })
}

fn numbers(nodes: Vec<NodeId>) -> Vec<u32> {
    nodes.into_iter().map(u32::from).collect()
}

fn on_quorum(_: &quorum::Handle, quorate: bool, ring: quorum::RingId, members: Vec<NodeId>) {
    let ring = Ring { representative: ring.nodeid.into(), seq: ring.seq };
    heard().push_back(Heard::Quorum { ring, quorate, members: numbers(members) });
}

fn on_message(_: &cpg::Handle, _group: String, from: NodeId, _pid: u32, payload: &[u8], _length: usize) {
    heard().push_back(Heard::Message { from: from.into(), payload: payload.to_vec() });
}

fn on_group(
    _: &cpg::Handle,
    _group: &str,
    present: Vec<cpg::Address>,
    left: Vec<cpg::Address>,
    joined: Vec<cpg::Address>,
) {
    use cpg::Reason::{NodeDown, NodeUp};
    let with_ring = left.iter().chain(&joined).any(|a| matches!(a.reason, NodeDown | NodeUp));
    let present = present.into_iter().map(|a| a.nodeid.into()).collect();
    heard().push_back(Heard::Group { present, with_ring });
}

fn on_ring(_: &cpg::Handle, ring: cpg::RingId, members: Vec<NodeId>) {
    let ring = Ring { representative: ring.nodeid.into(), seq: ring.seq };
    heard().push_back(Heard::Ring { ring, members: numbers(members) });
}
