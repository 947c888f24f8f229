// SPDX-License-Identifier: GPL-2.0-or-later
//! What of the manager's program can be used, and tested, without a process 1: what it is in, told to people and
//! programs, and recordings of what it did.
//!
//! ```text
//!   the manager runs:   Core ──System──▶ record::Recorder ──▶ the machine
//!                         ▲ Loader ────▶ record::RecordedFiles ──▶ unit files
//!                         │                   │ every entry, question and answer
//!                       events                ▼
//!                                          recording (one JSON object a line)
//!                                             │
//!   somewhere else:     Core ──System──▶ replay::Player: answers as recorded, and sees whether the same is asked
//! ```
//!
//! | module | subject |
//! | --- | --- |
//! | [`dump`] | all units and jobs, as text and as JSON |
//! | [`record`] | what a recording is, and making one |
//! | [`replay`] | doing again what was recorded |
//!
//! Start with [`record`]. The program itself begins in `main.rs`.

pub mod dump;
pub mod record;
pub mod replay;
