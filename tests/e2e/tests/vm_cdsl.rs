// SPDX-License-Identifier: GPL-2.0-or-later
//! Context-dependent symbolic links on virtual machines that share a root over NFS: a server's own file system on node
//! 1, and Debian's NFS client on the others. An NFS has no exchange by rename, and locks go over the network.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::{eventually, programs};
use ssi_lab::{Exit, Kind, Lab};

const CLUSTER_TOML: &str = "name = \"nfs\"\n[membership]\nengine = \"corosync\"\n\
    [[node]]\nid = 1\nname = \"node1\"\naddress = \"10.77.0.1\"\n\
    [[node]]\nid = 2\nname = \"node2\"\naddress = \"10.77.0.2\"\n\
    [[node]]\nid = 3\nname = \"node3\"\naddress = \"10.77.0.3\"\n";

/// Makes node 1's `/shared` a tree that it exports. Grace and lease are short: nobody had locks before.
const SERVE: &str = "set -e; mkdir -p /shared/bin /shared/etc/ssi /shared/cluster /shared/srv; \
    cp \"$(command -v busybox)\" /shared/bin/busybox; echo shared >/shared/etc/hostname; \
    echo '/shared 10.77.0.0/24(rw,no_root_squash,fsid=0,no_subtree_check)' >/etc/exports; \
    printf '[nfsd]\\nvers3=n\\ngrace-time=10\\nlease-time=10\\n' >/etc/nfs.conf; \
    systemctl start nfs-server";

#[test]
fn nodes_with_their_root_on_nfs_have_their_own_files() -> Result<()> {
    let lab = Lab::builder("vmcdsl").kind(Kind::Vm).nodes(3).install(programs(Kind::Vm)?).start()?;
    lab.node(1)?.shell(SERVE)?;
    lab.node(1)?.put("/shared/etc/ssi/cluster.toml", CLUSTER_TOML, 0o644)?;
    for n in 2..=3 {
        eventually("node 1's export can be mounted", || {
            let mount = "mkdir -p /shared && (mountpoint -q /shared || mount -t nfs4 10.77.0.1:/ /shared)";
            Ok(lab.node(n)?.exec(&["sh", "-c", mount])?.success())
        })?;
    }
    let cdsl = |n: u32, words: &str| lab.node(n)?.exec(&["sh", "-c", &format!("cdsl --root /shared {words}")]);
    let done = |n: u32, words: &str| -> Result<String> {
        let out = cdsl(n, words)?;
        ensure!(out.success(), "node {n}: cdsl {words}: {:?} {}", out.status, out.error_text());
        Ok(out.text())
    };
    let inside = |n: u32, line: &str| -> Result<String> {
        Ok(lab.node(n)?.check(&["chroot", "/shared", "/bin/busybox", "sh", "-c", line])?.text())
    };

    // Made by a client of the NFS, where two renames have to do what one exchange does elsewhere.
    done(2, "create /etc/hostname")?;
    for n in 1..=3 {
        done(n, "mount")?;
        ensure!(inside(n, "busybox cat /etc/hostname")? == "shared", "node {n} lost the content there was");
        inside(n, &format!("echo node{n} >/etc/hostname"))?;
    }
    for n in 1..=3 {
        let seen = inside(n, "busybox cat /etc/hostname")?;
        ensure!(seen == format!("node{n}"), "node {n} reads {seen}");
    }

    // All at once: the lock holds between the server and its clients, and between clients.
    inside(1, "i=0; while [ $i -lt 12 ]; do echo $i >/srv/f$i; i=$((i+1)); done")?;
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (1..=3u32)
            .map(|n| {
                let done = &done;
                scope.spawn(move || -> Result<()> {
                    let mine: Vec<_> = (0..12).filter(|i| i % 3 == n - 1).map(|i| format!("/srv/f{i}")).collect();
                    mine.iter().try_for_each(|path| done(n, &format!("create {path}")).map(drop))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().ok().context("a worker panicked")?)
    })?;
    for n in 1..=3 {
        let sum = inside(n, "busybox cat /srv/f* | busybox sort -n | busybox uniq | busybox wc -l")?;
        ensure!(sum.trim() == "12", "node {n} has {sum} of 12 files");
    }
    let found = cdsl(3, "check")?;
    ensure!(found.success(), "{} {}", found.text(), found.error_text());

    // A directory cannot be replaced there without a moment in which it is missing: it takes a word to do so.
    inside(1, "busybox mkdir /srv/dir && echo in >/srv/dir/file")?;
    let refused = cdsl(2, "create /srv/dir")?;
    ensure!(refused.status == Exit::Code(4), "{:?} {}", refused.status, refused.error_text());
    ensure!(inside(3, "busybox cat /srv/dir/file")? == "in");
    done(2, "create --force /srv/dir")?;
    for n in 1..=3 {
        ensure!(inside(n, "busybox cat /srv/dir/file")? == "in", "node {n} lost the directory's content");
    }
    Ok(())
}
