#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots this machine's own systemd as PID 1 of namespaces, on an overlay of this machine's root, with the units in
# $1/units, the directory $1/out at /out, and the terminal $2 as its console. Run under `unshare --mount --pid --fork
# --kill-child --uts --ipc --net --cgroup --propagation private`; everything goes with the process.
. "${0%/*}/../../../daemon/tests/stage/own-group.sh"
set -e
mount -t tmpfs none "$1/root"
mkdir "$1/root/upper" "$1/root/work" "$1/root/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/root/upper,workdir=$1/root/work" "$1/root/new"
new=$1/root/new
rm -rf "$new"/etc/systemd/system/* "$new/usr/lib/systemd/system-generators" "$new/etc/systemd/system-generators"
mkdir -p "$new/etc/systemd/system" "$new/out" "$new/old"
cp -a "$1"/units/. "$new/etc/systemd/system/"
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs tmpfs "$new/run"
mount -t tmpfs tmpfs "$new/tmp"
mkdir "$new/run/scene"
# Devices of its own, so that the console can be ours.
mount -t tmpfs tmpfs "$new/dev"
for node in null zero full random urandom tty; do
	touch "$new/dev/$node"
	mount --bind "/dev/$node" "$new/dev/$node"
done
touch "$new/dev/console"
mount --bind "$2" "$new/dev/console"
mount --bind "$1/out" "$new/out"
cd "$new"
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=stage.target --log-target=console --log-color=no --log-level=debug --show-status=no
