// SPDX-License-Identifier: GPL-2.0-or-later
//! Which kernel modules the early user space inserts, and in which order. Pure.

use std::collections::BTreeMap;

/// What a guest needs to reach its disk, its network and its agent's channel.
pub(crate) const WANTED: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console"];

/// The files to insert, first things first, from the text of `modules.dep` (modules.dep(5)).
///
/// A wanted module that is not in it is built into the kernel.
pub(crate) fn in_order(modules_dep: &str, wanted: &[&str]) -> Vec<String> {
    let needs: BTreeMap<&str, Vec<&str>> = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (file, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for name in wanted {
        if let Some(file) = needs.keys().find(|file| name_of(file) == *name) {
            add(file, &needs, &mut order);
        }
    }
    order
}

fn add(file: &str, needs: &BTreeMap<&str, Vec<&str>>, order: &mut Vec<String>) {
    if order.iter().any(|done| done == file) {
        return;
    }
    // Listed with the nearest first: what is deepest is inserted first.
    for need in needs.get(file).into_iter().flatten().rev() {
        add(need, needs, order);
    }
    if !order.iter().any(|done| done == file) {
        order.push(file.to_owned());
    }
}

/// A module's name: its file's, up to the first dot, with one spelling for '-' and '_'.
fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let dep = "kernel/d/virtio_pci.ko: kernel/d/legacy.ko kernel/d/virtio.ko kernel/d/virtio_ring.ko\n\
                   kernel/d/virtio-blk.ko: kernel/d/virtio.ko kernel/d/virtio_ring.ko\n\
                   kernel/d/virtio.ko: kernel/d/virtio_ring.ko\nkernel/d/virtio_ring.ko:\nkernel/d/legacy.ko:\n";
        assert_eq!(
            in_order(dep, &["virtio_pci", "virtio_blk", "builtin"]),
            [
                "kernel/d/virtio_ring.ko",
                "kernel/d/virtio.ko",
                "kernel/d/legacy.ko",
                "kernel/d/virtio_pci.ko",
                "kernel/d/virtio-blk.ko"
            ]
        );
    }
}
