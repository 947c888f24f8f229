// SPDX-License-Identifier: GPL-2.0-or-later
//! The guests' Debian: built once by mmdebstrap from the machine's own package sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::apt::{Sources, release_of_this_machine};
use crate::command::{run, run_with};

use super::cache;
use super::modules::{WANTED, in_order};

/// The guests' release.
const RELEASE: &str = "bookworm";
/// The guests' packages: what boots, and what clusters and those who look into them need.
const PACKAGES: [&str; 25] = [
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "iputils-ping",
    "procps",
    "nftables",
    "corosync",
    "libcpg4",
    "libcfg7",
    "libcmap4",
    "libquorum5",
    "libvotequorum8",
    "strace",
    "e2fsprogs",
    "curl",
    "netbase",
    "less",
    "ipvsadm",
    "nbd-client",
    "nfs-kernel-server",
    "nfs-common",
    "busybox-static",
];
/// What is left out of them: nobody reads it in a guest.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];
/// What is done to the tree, `$1`: a cluster's daemons wait until a scene configures them, what looks
/// for LVM's leftovers finds none for seconds, and root gets in at the serial console.
const CHANGES: &str = "set -e\n\
    for unit in corosync nftables nbd-client ipvsadm e2scrub_reap nfs-server nfs-client.target nfs-blkmap rpcbind rpcbind.socket rpc-statd; do chroot \"$1\" systemctl disable \"$unit\" || true; done\n\
    chroot \"$1\" passwd -d root\n\
    rm -f \"$1/etc/hostname\" \"$1/etc/resolv.conf\"\n\
    : > \"$1/etc/machine-id\"\n";
/// The root disk's size. It is sparse.
const DISK: &str = "3G";

/// A built image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its directory in the cache.
    pub(crate) directory: PathBuf,
    /// The hash of its recipe.
    pub(crate) key: String,
    /// Keeps it in the cache.
    _held: Option<Arc<File>>,
}

impl Image {
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self { directory: "/i".into(), key: "k".to_owned(), _held: None }
    }

    /// The root disk.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root.raw")
    }

    /// The kernel.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The modules for the early user space.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// The modules' file names, in the order of insertion.
    pub(crate) fn modules_in_order(&self) -> Result<Vec<String>> {
        let list = self.directory.join("modules.order");
        let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// The image with these packages beside the usual ones, built now if it is not there.
pub(crate) fn ensure(more: &[String], step: &dyn Fn(String)) -> Result<Image> {
    let mut recipe = vec![
        RELEASE.to_owned(),
        PACKAGES.join(" "),
        LEFT_OUT.join(" "),
        CHANGES.to_owned(),
        DISK.to_owned(),
        WANTED.join(" "),
    ];
    if !more.is_empty() {
        recipe.push(more.join(" "));
    }
    let key = cache::key(recipe.iter().map(String::as_bytes));
    let directory = cache::directory().join("images").join(&key);
    cache::ensure(&directory, |part| {
        step(format!(
            "building the guests' Debian ({} packages and what they need; once, about a minute)",
            PACKAGES.len() + more.len()
        ));
        build(part, more, step)
    })?;
    let held = cache::hold(&directory, 0)?;
    Ok(Image { directory, key, _held: Some(Arc::new(held)) })
}

fn build(directory: &Path, more: &[String], step: &dyn Fn(String)) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let sources = Sources::of_this_machine()?.lines(RELEASE, &release_of_this_machine()?).join("\n");
    anyhow::ensure!(!sources.is_empty(), "apt's configuration has no Debian source to build guests from");
    let tree = directory.join("tree");
    let packages: Vec<&str> = PACKAGES.into_iter().chain(more.iter().map(String::as_str)).collect();
    let mut command = Command::new("mmdebstrap");
    // INITRD=No keeps the kernel package from building an initramfs nobody would use.
    command.env("INITRD", "No").args(["--quiet", "--variant=minbase"]).arg(format!("--include={}", packages.join(",")));
    for option in transport_options()? {
        command.arg(format!("--aptopt={option}"));
    }
    for path in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    command.arg(format!("--customize-hook={CHANGES}"));
    command.arg(RELEASE).arg(&tree).arg("-");
    run_with(&mut command, sources.as_bytes()).context("building the guests' root with mmdebstrap")?;
    step("making the guests' disk".to_owned());
    keep_kernel(&tree, directory)?;
    let disk = directory.join("root.raw");
    // No journal replay, lazy tables or reserve to wait for in a guest that lives for minutes.
    run(
        "mke2fs",
        ["-q", "-t", "ext4", "-L", "root", "-m", "1", "-d", &tree.to_string_lossy(), &disk.to_string_lossy(), DISK],
    )?;
    fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))
}

/// How this machine's apt reaches its mirrors: proxies, and whether it takes old lists.
fn transport_options() -> Result<Vec<String>> {
    let dump = run("apt-config", ["dump"])?;
    Ok(transport_in(&String::from_utf8_lossy(&dump)))
}

fn transport_in(dump: &str) -> Vec<String> {
    let wanted = ["Acquire::Check-", "Acquire::http::", "Acquire::https::", "Acquire::Retries"];
    dump.lines()
        .filter(|line| wanted.iter().any(|start| line.starts_with(start)) && !line.ends_with("\"\";"))
        .map(str::to_owned)
        .collect()
}

/// Takes the kernel and the modules out of the tree before they vanish in the disk.
fn keep_kernel(tree: &Path, directory: &Path) -> Result<()> {
    let kernel = fs::read_dir(tree.join("boot"))
        .context("looking for the kernel")?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
        .context("the guests' Debian has no /boot/vmlinuz-*")?;
    fs::copy(kernel.path(), directory.join("vmlinuz")).context("copying the kernel")?;
    let release = kernel.file_name().to_string_lossy().trim_start_matches("vmlinuz-").to_owned();
    let from = tree.join("lib/modules").join(release);
    let dep = fs::read_to_string(from.join("modules.dep")).context("reading modules.dep")?;
    let to = directory.join("modules");
    fs::create_dir_all(&to)?;
    let mut names = String::new();
    for file in in_order(&dep, &WANTED) {
        let name = file.rsplit('/').next().unwrap_or(&file);
        fs::copy(from.join(&file), to.join(name)).with_context(|| format!("copying the module {file}"))?;
        names.push_str(name);
        names.push('\n');
    }
    fs::write(directory.join("modules.order"), names).context("writing the modules' order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_mirrors_is_handed_on() {
        let dump = "Acquire \"\";\nAcquire::Check-Date \"false\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p.example:1\";\nDPkg::Post-Invoke \"\";\nAcquire::Languages \"none\";\n";
        assert_eq!(
            transport_in(dump),
            ["Acquire::Check-Date \"false\";", "Acquire::http::Proxy \"http://p.example:1\";"]
        );
    }
}
