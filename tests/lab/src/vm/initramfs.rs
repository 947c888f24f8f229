// SPDX-License-Identifier: GPL-2.0-or-later
//! The guests' early user space: busybox, the virtio modules, and the agent, so that neither the
//! agent's version nor the lab's plan is part of the image.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{exists, run, run_with};

use super::cache;
use super::image::Image;

/// The first program.
const INIT: &str = include_str!("early-init.sh");
/// The archive's name.
const ARCHIVE: &str = "initramfs.img";

/// What the agent is made of. Its program differs from build to build of the same sources (features
/// of dependencies are the union of what is built beside it), and each difference would cost all
/// snapshots; the sources tell whether it is another agent.
const AGENT: [&str; 8] = [
    include_str!("../agent/mod.rs"),
    include_str!("../agent/background.rs"),
    include_str!("../agent/children.rs"),
    include_str!("../agent/exec.rs"),
    include_str!("../agent/files.rs"),
    include_str!("../agent/install.rs"),
    include_str!("../protocol.rs"),
    include_str!("../bin/ssi-lab-agent.rs"),
];

/// The archive, made now if it is not there, and its key.
pub(crate) fn ensure(image: &Image, agent: &Path) -> Result<(PathBuf, String)> {
    let key = cache::key([image.key.as_bytes(), INIT.as_bytes()].into_iter().chain(AGENT.map(str::as_bytes)));
    let place = cache::directory().join("boot").join(&key);
    cache::ensure(&place, |part| {
        fs::create_dir_all(part).with_context(|| format!("making {}", part.display()))?;
        build(image, agent, &part.join(ARCHIVE))
    })?;
    Ok((place.join(ARCHIVE), key))
}

fn build(image: &Image, agent: &Path, to: &Path) -> Result<()> {
    let tree = tempfile::tempdir().context("making a directory for the early user space")?;
    let root = tree.path();
    fs::create_dir(root.join("bin"))?;
    fs::create_dir(root.join("modules"))?;
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|path| Path::new(path).is_file());
    let busybox = busybox.context("there is no busybox: install the package busybox-static")?;
    fs::copy(busybox, root.join("bin/busybox")).context("copying busybox")?;
    for module in image.modules_in_order()? {
        fs::copy(image.modules().join(&module), root.join("modules").join(&module))?;
    }
    fs::copy(image.directory.join("modules.order"), root.join("modules.order"))?;
    fs::copy(agent, root.join("agent")).context("copying the agent")?;
    if exists("strip") {
        run("strip", [root.join("agent")])?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
    let names =
        run("find", [root.as_os_str(), "-mindepth".as_ref(), "1".as_ref(), "-printf".as_ref(), "%P\\n".as_ref()])?;
    let mut cpio = Command::new("busybox");
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(root);
    let archive = run_with(&mut cpio, &names)?;
    fs::write(to, archive).with_context(|| format!("writing {}", to.display()))
}
