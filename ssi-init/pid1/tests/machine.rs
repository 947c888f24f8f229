// SPDX-License-Identifier: GPL-2.0-or-later
//! On a machine of its own: Debian's kernel in QEMU, `ssi-init` as its first process, up to a power-off that leaves
//! clean file systems though processes hold them.
//!
//! Emulated, as the lab does: nested virtualisation is not to be relied on. Needs root, qemu-system-x86_64, busybox, cpio, e2fsprogs, and a kernel and its modules as the lab keeps them
//! (`/var/cache/ssi-lab/images`); says so and does nothing where one is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const EARLY: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules.order
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do sleep 0.05; done
mount -t ext4 /dev/vda /root
umount /sys /proc
umount -l /dev
exec switch_root /root /sbin/ssi-init
"#;

/// What the manager is told to do; the machine's power goes off at its end.
const ORDERS: &str = "keep a one
run mkdir /data && mount -t ext4 /dev/vdb /data && mkdir -p /data/inner && mount -t tmpfs inner /data/inner
run dd if=/dev/zero of=/data/swap bs=1M count=8 2>/dev/null && mkswap /data/swap && swapon /data/swap
run cp /etc/stubborn /data/inner/stubborn; cd /data/inner; setsid ./stubborn < /dev/null > /dev/null 2>&1 &
run until [ -e /data/started ]; do sleep 0.1; done; cat /proc/1/cgroup /proc/sys/kernel/printk_devkmsg > /data/seen
run mount > /data/mounts; cat /proc/swaps > /data/swaps; cat /proc/1/smaps_rollup > /data/memory
reexec
spawn 7
ping 3
nap 500
run echo written > /data/written
shutdown poweroff 0
";

const STUBBORN: &str = "#!/bin/sh
trap '' TERM
exec 9>> /data/held
touch /data/started
while :; do echo still >&9; sleep 0.1; done
";

const HOOK: &str = "#!/bin/sh
echo \"<4>hook: $1\" > /dev/kmsg
";

fn newest_image() -> Option<PathBuf> {
    let images = fs::read_dir("/var/cache/ssi-lab/images").ok()?.flatten().map(|entry| entry.path());
    let whole = images.filter(|image| image.join("vmlinuz").is_file() && image.join("modules.order").is_file());
    whole.max_by_key(|image| fs::metadata(image).and_then(|meta| meta.modified()).ok())
}

fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn put(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The program and the libraries that it is linked with.
fn put_program(root: &Path, program: &Path, at: &str) {
    fs::create_dir_all(root.join(at).parent().unwrap()).unwrap();
    fs::copy(program, root.join(at)).unwrap();
    for line in run(Command::new("ldd").arg(program)).lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

fn lay_out_root(root: &Path) {
    for place in ["proc", "sys", "dev", "run", "tmp", "etc", "lab", "bin", "sbin"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "mount", "umount", "mkdir", "dd", "mkswap", "swapon", "setsid", "sleep", "cp", "cat", "touch"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_ssi-init"));
    put_program(root, program, "sbin/ssi-init");
    put_program(root, &program.with_file_name("examples").join("small_manager"), "usr/lib/ssi/ssi-init-manager");
    put(&root.join("lab/do"), ORDERS);
    put(&root.join("etc/stubborn"), STUBBORN);
    put(&root.join("etc/machine-id"), "uninitialized\n");
    put(&root.join("etc/hostname"), "machine\n");
    put(&root.join("usr/lib/systemd/system-shutdown/hook"), HOOK);
}

#[test]
fn a_machine_boots_and_powers_off_with_clean_file_systems() {
    let tools = ["qemu-system-x86_64", "cpio", "mkfs.ext4", "debugfs", "ldd"];
    let missing: Vec<_> = tools
        .into_iter()
        .filter(|tool| {
            !Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap().status.success()
        })
        .collect();
    let image = newest_image();
    if !missing.is_empty() || image.is_none() || !Path::new("/bin/busybox").exists() {
        eprintln!("skipped: missing {missing:?}, kernel {image:?}: the lab makes one (ssi-lab, VM nodes)");
        return;
    }
    let image = image.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);

    let early = at("early");
    fs::create_dir_all(early.join("bin")).unwrap();
    fs::create_dir(early.join("modules")).unwrap();
    fs::copy("/bin/busybox", early.join("bin/busybox")).unwrap();
    fs::copy(image.join("modules.order"), early.join("modules.order")).unwrap();
    for module in fs::read_dir(image.join("modules")).unwrap().flatten() {
        fs::copy(module.path(), early.join("modules").join(module.file_name())).unwrap();
    }
    put(&early.join("init"), EARLY);
    let pack = format!("cd {} && find . | cpio --quiet -o -H newc > {}", early.display(), at("early.img").display());
    run(Command::new("sh").args(["-c", &pack]));

    let root = at("root");
    lay_out_root(&root);
    run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(&root).arg(at("vda")).arg("128M"));
    run(Command::new("mkfs.ext4").arg("-q").arg(at("vdb")).arg("64M"));

    let console = at("console");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-nodefaults", "-monitor", "none"])
        .arg("-kernel")
        .arg(image.join("vmlinuz"))
        .arg("-initrd")
        .arg(at("early.img"))
        .args(["-append", "console=ttyS0 panic=-1 ssi.init.term=2s loglevel=6"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-drive", &format!("if=virtio,format=raw,file={}", at("vda").display())])
        .args(["-drive", &format!("if=virtio,format=raw,file={}", at("vdb").display())])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = qemu.try_wait().unwrap() {
            break ended;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            let _ = qemu.kill();
            let _ = qemu.wait();
            panic!("the machine does not come to its end\n{}", fs::read_to_string(&console).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let said = String::from_utf8_lossy(&fs::read(&console).unwrap()).into_owned();
    if std::env::var_os("SSI_SHOW").is_some() {
        println!("{said}");
    }
    assert!(ended.success(), "{ended}\n{said}");

    let steps = [
        "process 1 was executed anew; 1 descriptors kept",
        "shutting down: poweroff",
        "have got SIGTERM",
        "get SIGKILL: stubborn",
        "hook: poweroff",
        "Power down",
    ];
    let places: Vec<_> = steps.iter().map(|s| said.find(s).unwrap_or_else(|| panic!("{s}\n{said}"))).collect();
    assert!(places.is_sorted(), "{places:?}\n{said}");
    for bad in ["still in use", "not done in", "Kernel panic", "fault of its own", "cannot be killed"] {
        assert!(!said.contains(bad), "{bad}\n{said}");
    }

    for disk in ["vda", "vdb"] {
        // -n: only look. An unclean journal would be status 4.
        run(Command::new("e2fsck").arg("-fn").arg(at(disk)));
        let header = run(Command::new("dumpe2fs").arg("-h").arg(at(disk)));
        assert!(!header.contains("needs_recovery"), "{disk} was not unmounted: {header}");
    }
    let file = |disk: &str, path: &str| run(Command::new("debugfs").args(["-R", &format!("cat {path}")]).arg(at(disk)));
    assert_eq!(file("vdb", "/written"), "written\n");
    assert!(file("vdb", "/held").starts_with("still\n"));
    assert!(file("vdb", "/swaps").contains("/data/swap"), "it was in use: {}", file("vdb", "/swaps"));
    assert_eq!(file("vdb", "/seen"), "0::/init.scope\non\n");
    let mounts = file("vdb", "/mounts");
    for mount in [
        "proc on /proc type proc (rw,nosuid,nodev,noexec",
        "sysfs on /sys type sysfs (rw,nosuid,nodev,noexec",
        "devtmpfs on /dev type devtmpfs (rw,nosuid",
        "tmpfs on /dev/shm type tmpfs (rw,nosuid,nodev",
        "devpts on /dev/pts type devpts (rw,nosuid,noexec",
        "tmpfs on /run type tmpfs (rw,nosuid,nodev",
        "cgroup2 on /sys/fs/cgroup type cgroup2 (rw,nosuid,nodev,noexec",
    ] {
        assert!(mounts.contains(mount), "{mount}\n{mounts}");
    }
    let log = file("vda", "/lab/log");
    assert!(log.contains("flags: 4, starts: 0"), "a machine, and its first boot: {log}");
    assert!(log.contains(" 1 7\n"), "the exit: {log}");
    let memory = file("vdb", "/memory");
    let of = |name: &str| memory.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!("on a machine: {} | {} | {}", of("Anonymous"), of("Pss:"), of("Rss:"));
}
