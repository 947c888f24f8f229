// SPDX-License-Identifier: GPL-2.0-or-later
//! The edges of mounts, automounts and swaps: systemd.mount(5), systemd.automount(5), systemd.swap(5).

use serde::{Deserialize, Serialize};

use super::{Finder, is_device_path};
use crate::config::{AutomountConfig, MountConfig, SwapConfig};
use crate::dependency::{Dependency, Origins};
use crate::name::UnitType;

/// What is mounted: from a unit's file, or from the kernel's table once it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountParameters {
    /// Device, file, path or word.
    pub what: Option<String>,
    /// Options between commas.
    pub options: Option<String>,
    /// File system type.
    pub fs_type: Option<String>,
}

/// File systems that need the network, whatever their options say.
const NETWORK: [&str; 18] = [
    "afs",
    "ceph",
    "cifs",
    "gfs",
    "gfs2",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "davfs",
    "glusterfs",
    "lustre",
    "sshfs",
];

/// File systems that quotacheck(8) and quotaon(8) have work on.
const QUOTA: [&str; 6] = ["ext2", "ext3", "ext4", "reiserfs", "jfs", "f2fs"];

impl MountParameters {
    /// The options' names, in order. A comma behind a backslash does not separate.
    fn option_names(&self) -> Vec<&str> {
        let options = self.options.as_deref().unwrap_or_default();
        let mut names = Vec::new();
        let (mut begin, mut escaped) = (0, false);
        for (at, character) in options.char_indices().chain([(options.len(), ',')]) {
            match character {
                _ if escaped && at < options.len() => escaped = false,
                '\\' => escaped = true,
                ',' => {
                    let option = options.get(begin..at).unwrap_or_default();
                    names.push(option.split_once('=').map_or(option, |(name, _)| name));
                    begin = at + 1;
                }
                _ => {}
            }
        }
        names
    }

    fn has_option(&self, wanted: &[&str]) -> bool {
        self.option_names().iter().any(|name| wanted.contains(name))
    }

    fn is_network(&self) -> bool {
        let fs_type = self.fs_type.as_deref().unwrap_or_default();
        self.has_option(&["_netdev"]) || NETWORK.contains(&fs_type.strip_prefix("fuse.").unwrap_or(fs_type))
    }

    fn is_bind(&self) -> bool {
        self.has_option(&["bind", "rbind"]) || matches!(self.fs_type.as_deref(), Some("bind" | "rbind"))
    }

    fn needs_quota(&self) -> bool {
        self.fs_type.as_deref().is_none_or(|fs_type| QUOTA.contains(&fs_type))
            && !self.is_bind()
            && self.has_option(&["usrquota", "grpquota", "quota", "usrjquota", "grpjquota"])
    }

    /// `nofail` and `fail`: the last one counts.
    pub(super) fn may_fail(&self) -> bool {
        self.option_names().iter().rfind(|name| matches!(**name, "nofail" | "fail")) == Some(&"nofail")
    }
}

/// Whether a mount point is part of the running system rather than something it mounts: nobody orders or unmounts it.
#[must_use]
pub fn is_extrinsic(mount_point: &str, options: Option<&str>, initrd: bool) -> bool {
    let below =
        |root: &str| mount_point.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let parameters = MountParameters { options: options.map(str::to_owned), ..MountParameters::default() };
    matches!(mount_point, "/" | "/usr" | "/etc")
        || ["/run/initramfs", "/proc", "/sys", "/dev"].into_iter().any(below)
        || (!initrd && parameters.has_option(&["x-initrd.mount"]))
}

fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent })
}

impl Finder<'_> {
    /// What the file says, when there is one.
    fn mount_in_file(&self, config: &MountConfig) -> Option<MountParameters> {
        self.subject.has_file.then(|| MountParameters {
            what: config.what.clone(),
            options: config.options.clone(),
            fs_type: config.fs_type.clone(),
        })
    }

    fn mount_point(&self, told: Option<&String>) -> Option<String> {
        told.map(|path| tidy(path)).or_else(|| self.subject.name.to_path().ok())
    }

    pub(super) fn is_extrinsic_mount(&self) -> bool {
        let crate::config::KindConfig::Mount(config) = &self.subject.config.kind else { return false };
        let in_file = self.mount_in_file(config);
        let Some(parameters) = self.subject.in_kernel.or(in_file.as_ref()) else { return false };
        let mount_point = self.mount_point(config.mount_point.as_ref()).unwrap_or_default();
        is_extrinsic(&mount_point, parameters.options.as_deref(), self.surroundings.initrd)
    }

    pub(super) fn mount(&mut self, config: &MountConfig) {
        self.exec(&config.exec);
        self.default_slice();
        let Some(mount_point) = self.mount_point(config.mount_point.as_ref()) else { return };
        let in_file = self.mount_in_file(config);
        let in_use = self.subject.in_kernel.cloned().or_else(|| in_file.clone());
        let origins = if self.subject.in_kernel.is_some() { Origins::MOUNT_TABLE } else { Origins::MOUNT_FILE };
        if let Some(parameters) = &in_use {
            self.mount_device(&mount_point, parameters, origins);
        }
        if mount_point != "/" {
            self.mounts_for(parent(&mount_point), Origins::IMPLICIT);
        }
        if let Some(file) = &in_file {
            // A path that is mounted elsewhere, or a file behind a loop device, has to be there first.
            let local = file.is_bind() || file.has_option(&["loop"]) || !file.is_network();
            if let Some(what) = file.what.as_deref().filter(|what| what.starts_with('/') && local) {
                self.mounts_for(what, Origins::FILE);
            }
            if file.needs_quota() {
                for service in ["systemd-quotacheck.service", "quotaon.service"] {
                    self.add_special(&[Dependency::Before, Dependency::Wants], service, Origins::FILE);
                }
            }
        }
        if let Some(parameters) = &in_use
            && self.relations.default_dependencies
            && !self.is_extrinsic_mount()
        {
            let may_fail = in_file.as_ref().is_some_and(MountParameters::may_fail);
            self.mount_defaults(&mount_point, parameters, may_fail, origins);
        }
    }

    fn mount_device(&mut self, mount_point: &str, parameters: &MountParameters, origins: Origins) {
        let Some(what) = parameters.what.as_deref().filter(|what| is_device_path(what)) else { return };
        // The kernel's own words for the root file system are no devices.
        if parameters.is_bind() || matches!(tidy(what).as_str(), "/dev/root" | "/dev/nfs") || mount_point == "/" {
            return;
        }
        let bound = parameters.has_option(&["x-systemd.device-bound"]);
        self.device(what, if bound { Dependency::BindsTo } else { Dependency::Requires }, origins);
        if !bound && self.subject.has_file {
            self.device(what, Dependency::StopPropagatedFrom, origins);
        }
        self.block_device(what, origins);
    }

    fn mount_defaults(&mut self, mount_point: &str, parameters: &MountParameters, may_fail: bool, origins: Origins) {
        let network = parameters.is_network();
        let below = |root: &str| mount_point.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let initrd = self.surroundings.initrd;
        let (after, before) = match (below("/sysroot"), below("/sysusr/usr")) {
            (Some(""), _) if initrd => ("local-fs-pre.target", "initrd-root-fs.target"),
            (Some(_), _) if initrd => ("local-fs-pre.target", "initrd-fs.target"),
            (_, Some(_)) if initrd => ("local-fs-pre.target", "initrd-usr-fs.target"),
            _ if network => ("remote-fs-pre.target", "remote-fs.target"),
            _ => ("local-fs-pre.target", "local-fs.target"),
        };
        if !may_fail {
            self.add_special(&[Dependency::Before], before, origins);
        }
        self.after(after, origins);
        self.add_special(&[Dependency::Before, Dependency::Conflicts], "umount.target", origins);
        if network {
            // So that at shutdown it is gone before the network is.
            self.after("network.target", origins);
            self.add_special(&[Dependency::Wants, Dependency::After], "network-online.target", origins);
        }
        if parameters.fs_type.as_deref() == Some("tmpfs") {
            // Its pages may lie in swap, which must not go first.
            self.after("swap.target", origins);
        }
    }

    pub(super) fn automount(&mut self, config: &AutomountConfig) {
        self.triggers_namesake(UnitType::Mount);
        if let Some(mount_point) = self.mount_point(config.mount_point.as_ref()) {
            self.mounts_for(parent(&mount_point), Origins::IMPLICIT);
        }
        if self.relations.default_dependencies {
            self.add_special(&[Dependency::Before], "local-fs.target", Origins::DEFAULT);
            self.after("local-fs-pre.target", Origins::DEFAULT);
        }
        self.shutdown("umount.target");
    }

    pub(super) fn swap(&mut self, config: &SwapConfig) {
        let in_kernel = self.subject.in_kernel;
        let what = config.what.clone().or_else(|| in_kernel.and_then(|swap| swap.what.clone()));
        if let Some(what) = what.or_else(|| self.subject.name.to_path().ok()) {
            self.mounts_for(&what, Origins::IMPLICIT);
        }
        let told = match in_kernel {
            Some(swap) => swap.what.clone(),
            None => config.what.clone().filter(|_| self.subject.has_file),
        };
        if let Some(what) = told {
            let origins = if in_kernel.is_some() { Origins::SWAP_TABLE } else { Origins::FILE };
            if is_device_path(&what) {
                self.device(&what, Dependency::Requires, origins);
                self.block_device(&what, origins);
            } else {
                self.after("systemd-remount-fs.service", origins);
            }
        }
        self.exec(&config.exec);
        self.default_slice();
        if self.relations.default_dependencies && !self.surroundings.container {
            self.add_special(&[Dependency::Before], "swap.target", Origins::DEFAULT);
            self.shutdown("umount.target");
        }
    }
}
