// SPDX-License-Identifier: GPL-2.0-or-later
//! Where things are: the sources, what is built from them, what was said.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, tail};

/// How long building everything may take, on two slow cores with nothing built yet.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// The directories of one checkout.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// What cargo builds into.
    pub(crate) target: PathBuf,
    /// Whether programs are built as packages have them: benches measure those, tests want the quicker build.
    optimised: bool,
}

impl Place {
    /// The checkout that this program was built from.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .context("the sources this program was built from have moved: run it as `cargo xtask` in the checkout")?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        Ok(Self { root, target, optimised: false })
    }

    /// The same, with programs as packages have them.
    pub(crate) fn optimised(&self) -> Self {
        Self { optimised: true, ..self.clone() }
    }

    /// Where the project's programs are after [`Place::build`].
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target.join(if self.optimised { "release" } else { "debug" })
    }

    /// Where the words of a step are kept.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        let name = step.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "-");
        self.target.join("xtask-logs").join(format!("{name}.log"))
    }

    /// Cargo, in the workspace, without colour.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(arguments);
        command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
        // An error tells by its words what was tried; a panic still shows where it was.
        command.env("RUST_LIB_BACKTRACE", "0");
        // Set by `cargo run` for this program's own build; the next cargo finds its own.
        for own in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_PATH"] {
            command.env_remove(own);
        }
        // Where a change is judged, by the same cases each time; who works on something meets new ones at each run.
        if std::env::var_os("CI").is_some() {
            command.env("PROPTEST_RNG_SEED", "20010607");
        }
        command
    }

    /// Cargo's command for building the project's programs: all but this one, whose file is running.
    pub(crate) fn build_command(&self) -> Command {
        let mut command = self.cargo(&["build", "--workspace", "--exclude", "xtask", "--bins"]);
        if self.optimised {
            command.arg("--release");
        }
        command
    }

    /// Builds the project's programs, and says where they are to whoever looks for them in the environment.
    pub(crate) fn build(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let finished = command::run(self.build_command(), &self.log("binaries"), BUILD_LIMIT, say)?;
        if !finished.success {
            let (_, last) = tail(&finished.output, 60);
            bail!(
                "the project's programs could not be built ({}); all of it is in {}:\n{}",
                finished.how,
                finished.log.display(),
                last.join("\n")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stays_in_its_directory() -> Result<()> {
        let place = Place::find()?;
        assert_eq!(place.log("../a b").parent(), Some(place.target.join("xtask-logs").as_path()));
        Ok(())
    }
}
