// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask man`: the manual pages and the shells' completions, as a package ships them.
//!
//! Pages of commands are made from the commands' own definitions (`ssi_tools::man`, `cdsl.rs` here); what no command defines (files,
//! overviews) is written by hand in `man/` and copied.

mod cdsl;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use cdsl_tools::cli::Cdsl;
use clap::CommandFactory as _;
use clap_complete::Shell;
use ssi_tools::cli::{Ssi, openssi};

use crate::place::Place;

/// The shells that get completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What was written.
pub(crate) struct Written {
    /// Manual pages.
    pub(crate) pages: Vec<PathBuf>,
    /// Completions.
    pub(crate) completions: Vec<PathBuf>,
}

/// Writes the pages to `directory` and the completions to `completions/` in it.
pub(crate) fn write(place: &Place, directory: &Path) -> Result<Written> {
    let completions = directory.join("completions");
    fs::create_dir_all(&completions).with_context(|| format!("making {}", completions.display()))?;
    let ours = ssi_tools::man::render(directory)
        .with_context(|| format!("writing manual pages to {}", directory.display()))?;
    let mut ours = ours;
    ours.extend(ssi_tools::man::write(directory, ssi_tools::man::pages_of(Cdsl::command(), &cdsl::extra)?)?);
    for page in pages_in(&place.root.join("man"))? {
        let Some(name) = page.file_name() else { continue };
        let copy = directory.join(name);
        let text = fs::read(&page).with_context(|| format!("reading {}", page.display()))?;
        if ours.contains(&copy) && fs::read(&copy).with_context(|| format!("reading {}", copy.display()))? != text {
            bail!("there are two pages {}: one by hand, one made from the programs", name.display());
        }
        fs::write(&copy, text).with_context(|| format!("writing {}", copy.display()))?;
    }
    let mut written = Written { pages: pages_in(directory)?, completions: Vec::new() };
    ensure!(!written.pages.is_empty(), "no manual page was written to {}", directory.display());
    for mut command in [
        Ssi::command(),
        Cdsl::command(),
        openssi::Cluster::command(),
        openssi::ClusterName::command(),
        openssi::ClusterNodeNum::command(),
        openssi::ClusterNodeGetState::command(),
        openssi::Loads::command(),
    ] {
        let name = command.get_name().to_owned();
        for shell in SHELLS {
            let made = clap_complete::generate_to(shell, &mut command, &name, &completions);
            let made = made.with_context(|| format!("writing {shell} completions to {}", completions.display()))?;
            written.completions.push(made);
        }
    }
    Ok(written)
}

/// The manual pages in a directory: files whose ending is a section's number.
pub(crate) fn pages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(pages),
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending.len() == 1 && ending.bytes().all(|byte| byte.is_ascii_digit())) {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_completions() -> Result<()> {
        let place = Place::find()?;
        let directory = tempfile::tempdir()?;
        let written = write(&place, directory.path())?;
        let has = |files: &[PathBuf], name: &str| files.iter().any(|file| file.ends_with(name));
        assert!(has(&written.pages, "ssi.1"), "{:?}", written.pages);
        for name in openssi::NAMES {
            assert!(has(&written.completions, &format!("{name}.bash")), "{:?}", written.completions);
        }
        Ok(())
    }
}
