#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots this machine's own systemd as PID 1 of namespaces, on an overlay of this machine's root, with the units in
# $1/units and the directory $1/out at /out. Run under `unshare --mount --pid --fork --kill-child --uts --ipc --net
# --cgroup --propagation private`; everything goes with the process.
. "${0%/*}/../../../daemon/tests/stage/own-group.sh"
set -e
mount -t tmpfs none "$1/root"
mkdir "$1/root/upper" "$1/root/work" "$1/root/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/root/upper,workdir=$1/root/work" "$1/root/new"
new=$1/root/new
rm -rf "$new"/etc/systemd/system/*
mkdir -p "$new/etc/systemd/system" "$new/out" "$new/old"
cp "$1"/units/* "$new/etc/systemd/system/"
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs tmpfs "$new/run"
mkdir -m 755 "$new/run/user"
mount -t tmpfs tmpfs "$new/tmp"
mount --rbind /dev "$new/dev"
mount --bind "$1/out" "$new/out"
cd "$new"
pivot_root . old
umount -l /old
# As a container manager does: credentials reach their service through shared mounts.
mount --make-rshared /
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=scenes.target --log-target=null --show-status=no
