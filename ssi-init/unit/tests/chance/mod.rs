// SPDX-License-Identifier: GPL-2.0-or-later
//! Repeatable chance for comparisons with stock systemd, and whether its programs are there at all.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;

/// Finds a program of systemd 252 on the machine; says so and gives `None` when there is none.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.exists());
    let version = found.as_ref().and_then(|path| std::process::Command::new(path).arg("--version").output().ok());
    let stock = version.is_some_and(|output| output.stdout.starts_with(b"systemd 252"));
    if !stock {
        eprintln!("skipped: {name} of systemd 252 is not on this machine, so there is no referee");
    }
    found.filter(|_| stock)
}

/// How often random comparisons are made; `SSI_REFEREE_ROUNDS` raises it for a long run.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("SSI_REFEREE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A small generator: the same numbers each run, so that a difference can be looked at again. `SSI_REFEREE_SEED` has
/// it give others.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        let own = std::env::var("SSI_REFEREE_SEED").ok().and_then(|text| text.parse().ok());
        Chance(own.unwrap_or(seed) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}
