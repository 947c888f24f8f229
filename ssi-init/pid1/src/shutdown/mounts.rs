// SPDX-License-Identifier: GPL-2.0-or-later
//! What is mounted, and in which order it is to be unmounted. Pure: from the text of `/proc/self/mountinfo`
//! (proc_pid_mountinfo(5)).

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    id: u32,
    parent: u32,
    pub(crate) place: PathBuf,
    pub(crate) kind: String,
    /// It is mounted so that nothing can be written.
    pub(crate) read_only: bool,
}

impl Mounted {
    /// Is it served by another machine, which may be gone?
    pub(crate) fn is_network(&self) -> bool {
        const KINDS: [&str; 14] = [
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "glusterfs",
            "lustre",
            "ncpfs",
            "nfs",
            "nfs4",
            "smb3",
            "smbfs",
            "sshfs",
            "davfs",
        ];
        let kind = self.kind.strip_prefix("fuse.").unwrap_or(&self.kind);
        KINDS.contains(&kind)
    }

    /// Is it not to be unmounted: the root, and what the kernel shows of itself, up to the end?
    fn stays(&self) -> bool {
        const BELOW: [&str; 4] = ["/proc", "/sys", "/dev", "/run/initramfs"];
        self.place == Path::new("/")
            || self.place == Path::new("/run")
            || BELOW.iter().any(|place| self.place.starts_with(place))
    }
}

/// What is to be unmounted, what lies on others first; of two that do not lie on one another, the later mounted.
pub(crate) fn in_order(mountinfo: &[u8]) -> Vec<Mounted> {
    let mounts: Vec<Mounted> = mountinfo.split(|b| *b == b'\n').filter_map(read).collect();
    let parents: HashMap<u32, u32> = mounts.iter().map(|mount| (mount.id, mount.parent)).collect();
    let depth = |mount: &Mounted| {
        let mut depth = 0usize;
        let mut at = mount.id;
        // The root's parent is not in the list, or is itself; the count ends a list that is wrong.
        while let Some(parent) = parents.get(&at).filter(|parent| **parent != at && depth <= parents.len()) {
            depth += 1;
            at = *parent;
        }
        depth
    };
    let mut order: Vec<(usize, usize, Mounted)> = mounts
        .into_iter()
        .enumerate()
        .filter(|(_, mount)| !mount.stays())
        .map(|(number, mount)| (depth(&mount), number, mount))
        .collect();
    order.sort_by_key(|(depth, number, _)| std::cmp::Reverse((*depth, *number)));
    order.into_iter().map(|(_, _, mount)| mount).collect()
}

/// `36 35 98:0 /root /place rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`
fn read(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let place = OsString::from_vec(unescape(fields.nth(2)?)).into();
    let options = fields.next()?;
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let read_only = options.split(|b| *b == b',').any(|option| option == b"ro");
    Some(Mounted { id, parent, place, kind, read_only })
}

/// Blank, tab, newline and backslash are written as three octal digits.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            digits.iter().try_fold(0u32, |value, d| (b'0'..=b'7').contains(d).then(|| value * 8 + u32::from(d - b'0')))
        });
        match octal.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MACHINE: &[u8] = b"\
20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
21 20 0:20 / /proc rw - proc proc rw
22 20 0:5 / /dev rw - devtmpfs udev rw
23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw
24 20 0:22 / /run rw - tmpfs tmpfs rw
30 20 8:2 / /home rw shared:9 - xfs /dev/sda2 rw
31 30 8:3 / /home/a\\040b rw - ext4 /dev/sda3 rw
32 24 0:30 / /run/user/1000 rw - tmpfs tmpfs rw
33 31 0:31 / /home/a\\040b/net ro - nfs4 server:/x rw
34 20 8:4 / /srv rw - ext4 /dev/sda4 rw
35 24 0:40 / /run/initramfs rw - tmpfs rootfs rw
36 30 8:5 / /home rw - ext4 /dev/sda5 rw
";

    #[test]
    fn what_lies_on_others_goes_first() {
        let order = in_order(MACHINE);
        let places: Vec<_> = order.iter().map(|mount| mount.place.to_str().unwrap()).collect();
        assert_eq!(places, ["/home/a b/net", "/home", "/run/user/1000", "/home/a b", "/srv", "/home"]);
        assert!(order[0].is_network() && order[0].read_only && !order[1].is_network());
    }

    #[test]
    fn network_file_systems_are_known_through_fuse_too() {
        let of = |kind: &str| {
            let line = format!("1 0 0:1 / /x rw - {kind} source rw");
            in_order(line.as_bytes())[0].is_network()
        };
        assert!(of("nfs") && of("fuse.sshfs") && of("fuse.glusterfs") && !of("fuse.ntfs") && !of("gfs2"));
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescape(br"a\040b\134c\12"), br"a b\c\12");
        assert_eq!(unescape(br"\777\"), br"\777\");
    }

    proptest! {
        #[test]
        fn children_come_before_parents(parents in prop::collection::vec(0u32..30, 1..30)) {
            // Mount n lies on one of the mounts before it, on the root (0), or on one after it (a moved mount).
            let mut text = String::new();
            for (n, parent) in parents.iter().enumerate() {
                let parent = if *parent as usize > n + 1 && *parent as usize > parents.len() { 0 } else { *parent };
                text += &format!("{} {parent} 0:1 / /m{} rw - ext4 x rw\n", n + 1, n + 1);
            }
            let order = in_order(text.as_bytes());
            prop_assert_eq!(order.len(), parents.len());
            for (at, mount) in order.iter().enumerate() {
                let before = order[..at].iter().any(|earlier| earlier.id == mount.parent);
                // Only a circle, which the kernel does not have, can break the order.
                let mut up = mount.parent;
                let mut steps = 0;
                while let Some(next) = order.iter().find(|m| m.id == up) { up = next.parent; steps += 1; if steps > 60 { break } }
                prop_assert!(!before || steps > 60, "{:?}", order);
            }
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, id: u8, parent: u8) {
            let mut text = format!("{id} {parent} 0:1 / ").into_bytes();
            text.extend(bytes);
            in_order(&text);
        }
    }
}
