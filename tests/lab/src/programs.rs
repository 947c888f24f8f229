// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the lab's own programs are: in `$SSI_LAB_BIN`, or beside the program that runs.

use std::path::PathBuf;

use crate::error::Error;

/// The keeper, which is the command too.
pub(crate) const KEEPER: &str = "ssi-lab";
/// The agent.
pub(crate) const AGENT: &str = "ssi-lab-agent";

/// Finds one of them.
pub(crate) fn find(program: &'static str) -> Result<PathBuf, Error> {
    if let Some(directory) = std::env::var_os("SSI_LAB_BIN") {
        let path = PathBuf::from(directory).join(program);
        if path.is_file() {
            return Ok(path);
        }
    }
    let own =
        std::env::current_exe().map_err(|error| Error::system("finding the running program's own file", error))?;
    let mut directory = own.parent().map(PathBuf::from).unwrap_or_default();
    // Cargo puts test programs into deps/ and examples/, one below.
    for _ in 0..2 {
        let path = directory.join(program);
        if path.is_file() {
            return Ok(path);
        }
        if !directory.pop() {
            break;
        }
    }
    Err(Error::Program { program, beside: own.parent().map(PathBuf::from).unwrap_or_default() })
}
