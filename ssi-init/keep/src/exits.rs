// SPDX-License-Identifier: GPL-2.0-or-later
//! The order of exits: one is acknowledged only once what follows from it is in the log for good, and what follows from
//! it happens once.
//!
//! ```text
//!   Exit{7} ──heard()──> New ──> puts … ──decided()──┐   one batch: what follows, and "7 is decided"
//!                                                    v
//!                                     commit() ──committed()──> Ack{7}
//! ```
//!
//! Killed before the commit: the log knows nothing of it, and process 1 tells exit 7 to the next manager, to which it is
//! new. Killed between the commit and the acknowledgement: it is told again too, but the log says that 7 is decided, so
//! [`Heard::Known`]: it is only to be acknowledged.

use ssi_pid1::protocol::Exit;

use crate::log::{Committed, Log, LogError};

/// The log's key for the last exit that was decided.
pub const KEY: &str = "exits";

/// What is known of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: it is to be decided on.
    New,
    /// What follows from it is in the log, or is about to be: it is to be passed to [`Exits::decided`], and nothing else.
    Known,
}

/// Exits between hearing of them and acknowledging them.
#[derive(Debug)]
pub struct Exits {
    /// Numbers count from when this process 1 began: those of another say nothing.
    booted_us: u64,
    last: Option<u64>,
    /// Acknowledgements, with the batch that each waits for.
    held: Vec<(u64, u64)>,
}

impl Exits {
    /// Begins with what the log says; `booted_us` is that of the greeting.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn load(log: &Log, booted_us: u64) -> Result<Self, LogError> {
        let last = log.get(KEY)?.and_then(|bytes| {
            let (booted, seq) = bytes.split_first_chunk::<8>()?;
            let seq = u64::from_le_bytes(seq.try_into().ok()?);
            (u64::from_le_bytes(*booted) == booted_us).then_some(seq)
        });
        Ok(Self { booted_us, last, held: vec![] })
    }

    /// An exit was told. Process 1 tells the next only after this one is acknowledged.
    pub fn heard(&self, exit: &Exit) -> Heard {
        if self.last.is_some_and(|last| exit.seq <= last) { Heard::Known } else { Heard::New }
    }

    /// All that follows from this exit was put into the log since the last commit (or before). It is acknowledged after
    /// the next.
    ///
    /// # Errors
    /// The log takes no more; then it is not decided.
    pub fn decided(&mut self, log: &mut Log, seq: u64) -> Result<(), LogError> {
        if self.held.iter().any(|(held, _)| *held == seq) {
            return Ok(());
        }
        if self.last.is_some_and(|last| seq <= last) {
            // An earlier commit has it.
            self.held.push((seq, 0));
            return Ok(());
        }
        let [booted, number] = [self.booted_us.to_le_bytes(), seq.to_le_bytes()];
        log.put(KEY, &[booted, number].concat())?;
        self.last = Some(seq);
        self.held.push((seq, log.next_batch()));
        Ok(())
    }

    /// What may be acknowledged after this commit, in order.
    pub fn committed(&mut self, committed: &Committed) -> Vec<u64> {
        let free = self.held.extract_if(.., |(_, batch)| *batch <= committed.batch());
        free.map(|(seq, _)| seq).collect()
    }

    /// How many acknowledgements wait for a commit.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(seq: u64) -> Exit {
        Exit { seq, ..Exit::default() }
    }

    #[test]
    fn nothing_is_acknowledged_before_its_commit() {
        let mut log = Log::create().unwrap();
        let mut exits = Exits::load(&log, 5).unwrap();
        let before = log.commit().unwrap();
        assert_eq!(exits.heard(&exit(0)), Heard::New);
        log.put("unit/a", b"dead").unwrap();
        exits.decided(&mut log, 0).unwrap();
        assert_eq!(exits.committed(&before), [], "that commit was before it");
        let after = log.commit().unwrap();
        assert_eq!(exits.committed(&after), [0]);
        assert_eq!(exits.committed(&after), [], "once");
        // Told again by mistake, or since the acknowledgement got lost: it is not decided again.
        assert_eq!(exits.heard(&exit(0)), Heard::Known);
        exits.decided(&mut log, 0).unwrap();
        exits.decided(&mut log, 0).unwrap();
        assert!(!log.is_changed());
        let nothing = log.commit().unwrap();
        assert_eq!(exits.committed(&nothing), [0]);
    }

    #[test]
    fn the_next_manager_knows_what_was_decided_and_no_more() {
        let file = tempfile::tempfile().unwrap();
        let mut log = Log::create_in(file.try_clone().unwrap()).unwrap();
        let mut exits = Exits::load(&log, 5).unwrap();
        exits.decided(&mut log, 6).unwrap();
        let _ = log.commit().unwrap();
        exits.decided(&mut log, 7).unwrap();
        // Killed here.
        drop(log);
        let (log, _) = Log::open(file).unwrap();
        let next = Exits::load(&log, 5).unwrap();
        assert_eq!((next.heard(&exit(6)), next.heard(&exit(7))), (Heard::Known, Heard::New));
        let another = Exits::load(&log, 9).unwrap();
        assert_eq!(another.heard(&exit(6)), Heard::New, "of another process 1");
    }
}
