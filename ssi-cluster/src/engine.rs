// SPDX-License-Identifier: GPL-2.0-or-later
//! What a membership engine tells, and the frames in which its helper process tells it.
//!
//! The helper (`ssi-engine-corosync`) and the daemon come from one package and are restarted together, so the frames
//! carry no version beyond [`PROTOCOL`]: a mismatch is an upgrade caught half-way, and the daemon starts the helper anew.
//!
//! ```text
//!  0        4                    4+n
//!  ┌────────┬────────────────────┐
//!  │ n (BE) │ postcard of a frame │     n ≤ MAX_FRAME
//!  └────────┴────────────────────┘
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// The number of this set of frames.
pub const PROTOCOL: u32 = 1;

/// The largest frame, in bytes. Corosync's own bound on a message is 1 MiB.
pub const MAX_FRAME: usize = 1 << 20;

/// What the engine sees at one point of the order that all members share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// The engine's own name for this membership; two different memberships never share one. For corosync, the
    /// representative's number and the ring's sequence.
    pub ring: (u32, u64),
    /// The machines the engine sees.
    pub members: BTreeSet<NodeId>,
    /// The members on which this project's daemon is connected to the engine.
    pub attached: BTreeSet<NodeId>,
    /// Whether the engine counts the members as a quorum.
    pub quorate: bool,
}

/// From the engine to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The helper is up and connected.
    Ready {
        /// [`PROTOCOL`] as the helper was built with.
        protocol: u32,
        /// This node's number as the engine knows it.
        own: NodeId,
    },
    /// Membership, attachment or quorum changed. What is delivered after it was ordered after it.
    Configuration(Configuration),
    /// A message; all attached members get it at the same place of the order, the sender too.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What was sent.
        payload: Vec<u8>,
    },
    /// The engine cannot be reached, and why. The helper goes on trying.
    Unreachable(String),
}

/// From the daemon to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEngine {
    /// Send to all attached members, in order.
    Send(Vec<u8>),
    /// Leave the group in order; the helper ends after it.
    Leave,
    /// Ask the engine to put a node out of the membership.
    Fence {
        /// The node.
        node: NodeId,
        /// Why, for the engine's log.
        reason: String,
    },
}

/// A frame that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length word is over [`MAX_FRAME`].
    #[error("a frame of {0} bytes is over the bound of {MAX_FRAME}")]
    TooLong(usize),
    /// The body is no frame of this protocol.
    #[error("a frame cannot be understood: {0}")]
    Malformed(#[from] postcard::Error),
}

/// The bytes of a frame, its length word before it.
///
/// # Errors
/// [`FrameError`] when the frame is too long.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    let body = postcard::to_stdvec(frame)?;
    if body.len() > MAX_FRAME {
        return Err(FrameError::TooLong(body.len()));
    }
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Takes the first whole frame off the front of `buffer`; `None` while it is not all there.
///
/// # Errors
/// [`FrameError`] for what can never become a frame: the connection is of no more use then.
pub fn decode<T: for<'de> Deserialize<'de>>(buffer: &mut Vec<u8>) -> Result<Option<T>, FrameError> {
    let Some((head, _)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = buffer.get(4..4 + length) else {
        return Ok(None);
    };
    let frame = postcard::from_bytes(body)?;
    buffer.drain(..4 + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8), cut in 1usize..40) {
            let sent: Vec<_> = payloads.into_iter().map(ToEngine::Send).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|f| encode(f).unwrap()).collect();
            let (mut buffer, mut got) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = decode::<ToEngine>(&mut buffer).unwrap() {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn garbage_is_an_error_or_waits_but_never_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<FromEngine>(&mut bytes);
        }
    }
}
