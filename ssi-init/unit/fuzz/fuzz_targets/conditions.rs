// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the parameter of a condition: it holds, it does not, or it cannot be told.
//!
//! `cargo +nightly fuzz run conditions`, from `ssi-init/unit/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_unit::condition::{Condition, ConditionKind, ThisMachine, evaluate};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::{Host, Specifiers};

fuzz_target!(|input: (u8, &str)| {
    let (kind, value) = input;
    let (host, Ok(name)) = (Host::default(), UnitName::new("a.service")) else { return };
    let kind = ConditionKind::ALL[usize::from(kind) % ConditionKind::ALL.len()];
    if let Ok(Some(condition)) = Condition::parse(kind, value, &Specifiers::of(&host, &name)) {
        let machine = ThisMachine::new(host.clone());
        assert_eq!(evaluate(&[condition], &machine).outcomes.len(), 1);
    }
});
