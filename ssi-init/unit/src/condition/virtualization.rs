// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether the machine is virtual, and by what; the names are those of systemd-detect-virt(1).

use serde::{Deserialize, Serialize};

use super::Machine;

/// What the system runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Virtualization {
    /// Bare metal.
    None,
    /// A virtual machine of this kind: `kvm`, `qemu`, `vm-other`, …
    Vm(&'static str),
    /// A container of this kind: `docker`, `systemd-nspawn`, `container-other`, …
    Container(&'static str),
}

/// Looks for the innermost virtualization: a container inside a virtual machine is a container.
#[must_use]
pub fn virtualization(machine: &dyn Machine) -> Virtualization {
    if let Some(container) = container(machine) {
        return Virtualization::Container(container);
    }
    vm(machine).map_or(Virtualization::None, Virtualization::Vm)
}

fn line(machine: &dyn Machine, path: &str) -> Option<String> {
    let text = machine.read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(|line| line.trim_end_matches('\0').to_owned())
}

/// The kind of container, by the word of its manager where that left one.
pub(super) fn container(machine: &dyn Machine) -> Option<&'static str> {
    let exists = |path| machine.look(path, true).is_ok();
    if exists("/proc/vz") && !exists("/proc/bc") {
        return Some("openvz");
    }
    if line(machine, "/proc/sys/kernel/osrelease")
        .is_some_and(|release| release.contains("Microsoft") || release.contains("WSL"))
    {
        return Some("wsl");
    }
    if traced_by_proot(machine) {
        return Some("proot");
    }
    let told = |path| line(machine, path).filter(|word| !word.is_empty());
    let own = || {
        // PID 1 was told directly, and an empty word says that this is no container. Others read what it wrote down.
        if machine.is_first_process() {
            return machine.variable("container");
        }
        told("/run/systemd/container")
            .or_else(|| first_process_variable(machine, "container").filter(|word| !word.is_empty()))
    };
    match told("/run/host/container-manager").or_else(own).as_deref() {
        None => by_files(machine).or_else(|| in_control_group_namespace(machine).then_some("container-other")),
        Some("") => None,
        Some("oci") => by_files(machine).or(Some("container-other")),
        Some(word) => {
            let known = ["lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot", "pouch"];
            known.into_iter().find(|name| *name == word).or(Some("container-other"))
        }
    }
}

fn traced_by_proot(machine: &dyn Machine) -> bool {
    let Ok(status) = machine.read("/proc/self/status") else { return false };
    let status = String::from_utf8_lossy(&status);
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim).unwrap_or("0");
    tracer != "0" && line(machine, &format!("/proc/{tracer}/comm")).is_some_and(|name| name.starts_with("proot"))
}

fn first_process_variable(machine: &dyn Machine, name: &str) -> Option<String> {
    let block = machine.read("/proc/1/environ").ok()?;
    let block = String::from_utf8_lossy(&block).into_owned();
    block
        .split('\0')
        .find_map(|pair| pair.split_once('=').filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()))
}

fn by_files(machine: &dyn Machine) -> Option<&'static str> {
    let exists = |path| machine.look(path, true).is_ok();
    if exists("/run/.containerenv") { Some("podman") } else { exists("/.dockerenv").then_some("docker") }
}

/// The root of the tree has files that a namespace's root has not, and the other way round; see cgroup-v2 in the
/// kernel's documentation.
fn in_control_group_namespace(machine: &dyn Machine) -> bool {
    let exists = |path| machine.look(path, true).is_ok();
    if !exists("/proc/self/ns/cgroup") {
        return false;
    }
    if exists("/sys/fs/cgroup/cgroup.controllers") {
        return exists("/sys/fs/cgroup/cgroup.events")
            && (exists("/sys/fs/cgroup/cgroup.type") || !exists("/sys/kernel/cgroup/features"));
    }
    exists("/sys/fs/cgroup/systemd") && !exists("/sys/fs/cgroup/systemd/release_agent")
}

fn vm(machine: &dyn Machine) -> Option<&'static str> {
    let dmi = by_dmi(machine);
    // These hide behind another hypervisor's signature, or use one.
    if let Some(told @ ("oracle" | "xen" | "amazon" | "parallels" | "google")) = dmi {
        return Some(told);
    }
    let cpuinfo = machine.read("/proc/cpuinfo").unwrap_or_default();
    let cpuinfo = String::from_utf8_lossy(&cpuinfo);
    if cpuinfo.lines().find(|line| line.starts_with("vendor_id")).is_some_and(|line| line.contains("User Mode Linux")) {
        return Some("uml");
    }
    let xen = machine.look("/proc/xen", true).is_ok();
    let dom0 = xen && is_xen_dom0(machine);
    if xen && !dom0 {
        return Some("xen");
    }
    let signature = machine.hypervisor_signature();
    let by_processor = signature.as_deref().map(by_signature);
    match by_processor {
        Some(known) if known != "vm-other" => return Some(known),
        _ if dom0 => return by_processor,
        _ => {}
    }
    let mut other = by_processor.is_some();
    for found in [dmi, by_hypervisor_file(machine), by_device_tree(machine), by_sysinfo(machine)].into_iter().flatten()
    {
        match found {
            "vm-other" => other = true,
            known => return Some(known),
        }
    }
    other.then_some("vm-other")
}

fn by_signature(signature: &str) -> &'static str {
    match signature.trim_end_matches('\0') {
        "XenVMMXenVMM" => "xen",
        "KVMKVMKVM" | "Linux KVM Hv" => "kvm",
        "TCGTCGTCGTCG" => "qemu",
        "VMwareVMware" => "vmware",
        "Microsoft Hv" => "microsoft",
        "bhyve bhyve " => "bhyve",
        "QNXQVMBSQG" => "qnx",
        "ACRNACRNACRN" => "acrn",
        "SRESRESRESRE" => "sre",
        "Apple VZ" => "apple",
        _ => "vm-other",
    }
}

fn by_dmi(machine: &dyn Machine) -> Option<&'static str> {
    const VENDORS: [(&str, &str); 17] = [
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("Amazon EC2", "amazon"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VMW", "vmware"),
        ("innotek GmbH", "oracle"),
        ("VirtualBox", "oracle"),
        ("Oracle Corporation", "oracle"),
        ("Xen", "xen"),
        ("Bochs", "bochs"),
        ("Parallels", "parallels"),
        ("BHYVE", "bhyve"),
        ("Hyper-V", "microsoft"),
        ("Apple Virtualization", "apple"),
        ("Google Compute Engine", "google"),
    ];
    // The product comes first: KVM on QEMU says both.
    let fields = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];
    let vendor = fields.into_iter().find_map(|field| {
        let value = line(machine, &format!("/sys/class/dmi/id/{field}"))?;
        VENDORS.into_iter().find(|(vendor, _)| value.starts_with(vendor)).map(|(_, name)| name)
    });
    // SMBIOS, BIOS characteristics extension byte 2, bit 4: a virtual machine. Only root can read the raw table.
    let raw = machine.read("/sys/firmware/dmi/entries/0-0/raw").ok();
    let bit = raw
        .filter(|raw| raw.get(1).is_some_and(|length| *length >= 20))
        .and_then(|raw| raw.get(19).map(|byte| byte & 0x10 != 0));
    match (vendor, bit) {
        // The vendor is the same for bare metal that is rented out.
        (Some("amazon"), Some(false)) => None,
        (Some("amazon"), None) => {
            let product = line(machine, "/sys/class/dmi/id/product_name").unwrap_or_default();
            let metal = product.split_once(".metal").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'));
            (!metal).then_some("amazon")
        }
        (None, Some(true)) => Some("vm-other"),
        (vendor, _) => vendor,
    }
}

fn is_xen_dom0(machine: &dyn Machine) -> bool {
    const DOM0: u64 = 1 << 11;
    match line(machine, "/sys/hypervisor/properties/features")
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
    {
        Some(features) => features & DOM0 != 0,
        None => {
            line(machine, "/proc/xen/capabilities").is_some_and(|list| list.split(',').any(|word| word == "control_d"))
        }
    }
}

fn by_hypervisor_file(machine: &dyn Machine) -> Option<&'static str> {
    line(machine, "/sys/hypervisor/type").map(|kind| if kind == "xen" { "xen" } else { "vm-other" })
}

fn by_device_tree(machine: &dyn Machine) -> Option<&'static str> {
    if let Some(kind) = line(machine, "/proc/device-tree/hypervisor/compatible") {
        return Some(match kind.as_str() {
            "linux,kvm" => "kvm",
            xen if xen.contains("xen") => "xen",
            vmware if vmware.contains("vmware") => "vmware",
            _ => "vm-other",
        });
    }
    let exists = |path| machine.look(path, true).is_ok();
    if exists("/proc/device-tree/ibm,partition-name")
        && exists("/proc/device-tree/hmc-managed?")
        && !exists("/proc/device-tree/chosen/qemu,graphic-width")
    {
        return Some("powervm");
    }
    let qemu = machine.list("/proc/device-tree").is_ok_and(|names| names.iter().any(|name| name.contains("fw-cfg")))
        || line(machine, "/proc/device-tree/compatible").is_some_and(|kind| kind == "qemu,pseries");
    qemu.then_some("qemu")
}

/// s390: what z/VM or KVM writes about itself.
fn by_sysinfo(machine: &dyn Machine) -> Option<&'static str> {
    let text = machine.read("/proc/sysinfo").ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let program = text.lines().find_map(|line| line.strip_prefix("VM00 Control Program:"))?;
    Some(if program.trim().starts_with("z/VM") { "zvm" } else { "kvm" })
}
