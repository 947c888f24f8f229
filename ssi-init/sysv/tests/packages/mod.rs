// SPDX-License-Identifier: GPL-2.0-or-later
//! Real init scripts: those of a fixed list of Debian's packages, fetched once with apt, if that is asked for, and kept
//! under the target folder.

use crate::scene::skipped;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages with an init script, most of them with a native unit too.
const PACKAGES: [&str; 76] = [
    "alsa-utils",
    "anacron",
    "apache2",
    "apparmor",
    "at",
    "atftpd",
    "bind9",
    "bluez",
    "chrony",
    "collectd-core",
    "console-setup-linux",
    "corosync",
    "cron",
    "cryptsetup",
    "cups-daemon",
    "dbus",
    "dnsmasq",
    "dovecot-core",
    "exim4-base",
    "fail2ban",
    "gpm",
    "haproxy",
    "hostapd",
    "ifupdown",
    "initscripts",
    "irqbalance",
    "isc-dhcp-relay",
    "isc-dhcp-server",
    "keepalived",
    "kmod",
    "lighttpd",
    "lm-sensors",
    "mariadb-server",
    "mdadm",
    "memcached",
    "monit",
    "munin-node",
    "nbd-server",
    "nfs-common",
    "nfs-kernel-server",
    "nginx-common",
    "nscd",
    "ntpsec",
    "open-iscsi",
    "openssh-server",
    "openvpn",
    "pacemaker",
    "postfix",
    "postgresql-common",
    "procps",
    "proftpd-core",
    "quota",
    "rabbitmq-server",
    "redis-server",
    "rpcbind",
    "rsync",
    "samba",
    "slapd",
    "smartmontools",
    "snmpd",
    "spamd",
    "squid",
    "stunnel4",
    "sudo",
    "sysstat",
    "tftpd-hpa",
    "tor",
    "udev",
    "ufw",
    "unbound",
    "vsftpd",
    "watchdog",
    "winbind",
    "x11-common",
    "xinetd",
    "zabbix-agent",
];

/// As many are asked for at once.
const TOGETHER: usize = 64;

/// Which packages are asked for: the list, or with `SSI_FETCH_DEBIAN_SCRIPTS=all` every one that has an init script, by
/// apt-file(1).
fn wanted(asked: Option<&OsStr>) -> Result<Vec<String>, String> {
    if asked.is_none_or(|asked| asked != "all") {
        return Ok(PACKAGES.map(str::to_owned).to_vec());
    }
    let output = Command::new("apt-file")
        .args(["--regexp", "search", r"^/etc/init\.d/"])
        .output()
        .map_err(|error| format!("apt-file, which knows what packages hold: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<String> = text.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
    match names.is_empty() {
        true => Err(format!("apt-file finds none: {}", String::from_utf8_lossy(&output.stderr).trim())),
        false => Ok(names.into_iter().collect()),
    }
}

/// A folder with one folder a package, in which its scripts and units are. `None`, and a line, where nobody has fetched
/// them: the tests themselves ask no mirror unless `SSI_FETCH_DEBIAN_SCRIPTS` is set. The packages that could be fetched
/// count when at least half of them are there.
pub(crate) fn scripts() -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-init-scripts");
    let asked = std::env::var_os("SSI_FETCH_DEBIAN_SCRIPTS");
    let packages = wanted(asked.as_deref()).expect("the names of the packages");
    let is_here = |package: &&String| cache.join(package).exists();
    if asked.is_some() {
        fs::create_dir_all(&cache).expect("the cache folder");
        let missing: Vec<&String> = packages.iter().filter(|package| !is_here(package)).collect();
        let failed: Vec<String> = missing.chunks(TOGETHER).flat_map(|some| fetch(&cache, some)).collect();
        if !failed.is_empty() {
            skipped(&format!("the scripts of {} packages:\n{}", failed.len(), failed.join("\n")));
        }
    }
    let here = packages.iter().filter(is_here).count();
    println!("the scripts of {here} of {} packages", packages.len());
    if here < packages.len() / 2 {
        skipped(&format!(
            "the scripts of Debian's packages: {here} of {} are in {}; with SSI_FETCH_DEBIAN_SCRIPTS=1 apt-get fetches them",
            packages.len(),
            cache.display()
        ));
        return None;
    }
    Some(cache)
}

/// Fetches them; those that could not be had, each with the reason.
fn fetch(cache: &Path, packages: &[&String]) -> Vec<String> {
    let work = tempfile::tempdir_in(cache.parent().expect("the target's folder")).expect("a temporary folder");
    let mut failed = Vec::new();
    if let Err(why) = download(work.path(), packages) {
        // One that is not to be had keeps apt-get from all.
        if let [package] = packages {
            return vec![format!("{package}: {why}")];
        }
        return packages.iter().flat_map(|package| fetch(cache, &[package])).collect();
    }
    let archives: Vec<PathBuf> =
        fs::read_dir(work.path()).expect("the temporary folder").map(|entry| entry.expect("an entry").path()).collect();
    for package in packages {
        let begin = format!("{package}_");
        let archive = archives
            .iter()
            .find(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(&begin)));
        let unpacked = archive
            .ok_or("apt-get left no archive".to_owned())
            .and_then(|archive| unpack(archive, &work.path().join(package.as_str()), &cache.join(package.as_str())));
        failed.extend(unpacked.err().map(|why| format!("{package}: {why}")));
    }
    failed
}

fn download(into: &Path, packages: &[&String]) -> Result<(), String> {
    let output = Command::new("apt-get")
        .args(["--quiet", "--quiet", "-o", "APT::Sandbox::User=root", "download"])
        .args(packages)
        .current_dir(into)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("apt-get: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(())
}

/// Takes the scripts and units out of an archive.
fn unpack(archive: &Path, folder: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir(folder).expect("a folder for the package");
    let mut unpacked = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("dpkg-deb: {error}"))?;
    let output = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--wildcards", "--directory"])
        .arg(folder)
        .args(["./etc/init.d/*", "./lib/systemd/system/*", "./usr/lib/systemd/system/*"])
        .stdin(unpacked.stdout.take().expect("a pipe"))
        .output()
        .map_err(|error| format!("tar: {error}"))?;
    let status = unpacked.wait().map_err(|error| format!("dpkg-deb: {error}"))?;
    // tar complains of patterns without a match; what counts is that scripts came out.
    if !status.success() {
        return Err(format!("dpkg-deb: {status}"));
    }
    let scripts = fs::read_dir(folder.join("etc/init.d")).map_or(0, Iterator::count);
    if scripts == 0 {
        return Err(format!("holds no init script {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    fs::rename(folder, to).map_err(|error| error.to_string())
}
