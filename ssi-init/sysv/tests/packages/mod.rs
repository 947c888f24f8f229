// SPDX-License-Identifier: GPL-2.0-or-later
//! Real init scripts: those of a fixed list of Debian's packages, fetched once with apt, if that is asked for, and kept
//! under the target folder.

use crate::scene::skipped;
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

/// A folder with one folder a package, in which its scripts and units are. `None`, and a line, where nobody has fetched
/// them: the tests themselves ask no mirror unless `SSI_FETCH_DEBIAN_SCRIPTS` is set. The packages that could be fetched
/// count when at least half of them are there.
pub(crate) fn scripts() -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-init-scripts");
    let mut failed = Vec::new();
    if std::env::var_os("SSI_FETCH_DEBIAN_SCRIPTS").is_some() {
        fs::create_dir_all(&cache).expect("the cache folder");
        for package in PACKAGES.into_iter().filter(|package| !cache.join(package).exists()) {
            if let Err(why) = fetch(&cache, package) {
                failed.push(format!("{package}: {why}"));
                // The first ones fail together where there is no network or no apt: no use in going on.
                if failed.len() >= 8 && fs::read_dir(&cache).expect("the cache").count() == 0 {
                    break;
                }
            }
        }
    }
    let here = PACKAGES.into_iter().filter(|package| cache.join(package).exists()).count();
    if !failed.is_empty() {
        skipped(&format!(
            "some scripts of Debian's packages, {here} of {} are here:\n{}",
            PACKAGES.len(),
            failed.join("\n")
        ));
    }
    if here < PACKAGES.len() / 2 {
        skipped(&format!(
            "the scripts of Debian's packages: {here} of {} are in {}; with SSI_FETCH_DEBIAN_SCRIPTS=1 apt-get fetches them",
            PACKAGES.len(),
            cache.display()
        ));
        return None;
    }
    Some(cache)
}

fn fetch(cache: &Path, package: &str) -> Result<(), String> {
    let work = tempfile::tempdir_in(cache.parent().expect("the target's folder")).expect("a temporary folder");
    let output = Command::new("apt-get")
        .args(["--quiet", "--quiet", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("apt-get: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let archive = fs::read_dir(work.path())
        .expect("the temporary folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|suffix| suffix == "deb"))
        .ok_or("apt-get left no archive")?;
    let folder = work.path().join(package);
    fs::create_dir(&folder).expect("a folder for the package");
    let mut unpacked = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("dpkg-deb: {error}"))?;
    let output = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--wildcards", "--directory"])
        .arg(&folder)
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
    fs::rename(&folder, cache.join(package)).map_err(|error| error.to_string())
}
