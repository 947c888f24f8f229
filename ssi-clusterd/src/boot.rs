// SPDX-License-Identifier: GPL-2.0-or-later
//! Which boot of this machine this is.
//!
//! The kernel's boot id is shared by all namespace nodes of a machine and says nothing of a node that left in order and
//! came again, so the daemon makes an id of its own at the first start after a boot and keeps it below `/run`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::store::replace_file;

/// The id of this boot, made now if there is none.
///
/// # Errors
/// When the file cannot be read or made.
pub fn incarnation(file: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(file) {
        let text = text.trim();
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(text.to_owned());
        }
    }
    let made = random_hex().context("cannot get random bytes")?;
    replace_file(file, made.as_bytes())?;
    Ok(made)
}

/// Has the next start be one of a machine that came anew: this one left in order.
pub fn forget(file: &Path) {
    let _ = std::fs::remove_file(file);
}

/// A number that differs at each start.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(_) => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64),
    }
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_boot_has_one_id_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("boot-id");
        let first = incarnation(&file).unwrap();
        assert_eq!(incarnation(&file).unwrap(), first);
        forget(&file);
        let second = incarnation(&file).unwrap();
        assert_ne!(second, first);
        std::fs::write(&file, "torn").unwrap();
        assert_ne!(incarnation(&file).unwrap(), "torn");
    }
}
