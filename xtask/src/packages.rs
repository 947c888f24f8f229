// SPDX-License-Identifier: GPL-2.0-or-later
//! The distribution's packages that building and checking need. What labs need is the lab's own affair
//! (`ssi_lab::setup`).

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::place::Place;

/// What building all of the workspace takes beside cargo: corosync's libraries and their headers, for the engine's
/// helper process; and udev's, for the unit manager.
pub(crate) const BUILD: [&str; 8] = [
    "gcc",
    "pkg-config",
    "libcfg-dev",
    "libcmap-dev",
    "libcpg-dev",
    "libquorum-dev",
    "libvotequorum-dev",
    "libudev-dev",
];
/// What checks the manual pages.
pub(crate) const MANUAL: [&str; 1] = ["mandoc"];

/// How long apt may take: slow networks are common, hung ones too.
const LIMIT: Duration = Duration::from_secs(900);

/// Installs those of these packages that are missing; quick when none is.
pub(crate) fn ensure(place: &Place, wanted: &[&str], say: &mut dyn FnMut(&str)) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("these packages are missing: {names}. Run this as root, or install them with: apt-get install {names}");
    }
    say(&format!("installing {names}"));
    if !install(place, &missing, say)? {
        // The lists of a fresh machine are empty or old.
        say("updating the lists of packages");
        let mut update = Command::new("apt-get");
        update.arg("update");
        let updated = command::run(update, &place.log("apt-update"), LIMIT, say)?;
        if !updated.success || !install(place, &missing, say)? {
            bail!("apt-get could not install {names}; what it said is in {}", place.log("apt-install").display());
        }
    }
    Ok(())
}

fn install(place: &Place, names: &[&str], say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]).args(names);
    Ok(command::run(command, &place.log("apt-install"), LIMIT, say)?.success)
}

/// Those of the packages that are not installed.
fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()
        .context("starting dpkg-query: installing packages is known for Debian and its like only")?;
    // It ends with an error when it does not know one of them; what it knows it tells all the same.
    let installed = installed(&String::from_utf8_lossy(&output.stdout));
    Ok(wanted.iter().copied().filter(|name| !installed.contains(*name)).collect())
}

fn installed(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_package_with_only_its_settings_left_is_missing() {
        let found = super::installed("gcc installed\nmandoc config-files\npkg-config installed\nx not-installed\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["gcc", "pkg-config"]);
    }
}
