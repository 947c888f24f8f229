#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots an init as PID 1 of namespaces, on an overlay of this machine's root: with the units in $1/units, the directory
# $1/out at /out, and the terminal $2 as its console. $3 is "systemd" or "ssi-init"; $4 is where the programs under test
# are. Run under `unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup --propagation private`;
# everything goes with the process.
. "${0%/*}/own-group.sh"
set -e
place=$1 console=$2 init=$3 programs=$4
mount -t tmpfs none "$place/root"
mkdir "$place/root/upper" "$place/root/work" "$place/root/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/root/upper,workdir=$place/root/work" "$place/root/new"
new=$place/root/new
rm -rf "$new"/etc/systemd/system/* "$new/usr/lib/systemd/system-generators" "$new/etc/systemd/system-generators" \
	"$new/etc/ssi" "$new/usr/lib/systemd/system-environment-generators"
mkdir -p "$new/etc/systemd/system" "$new/out" "$new/old" "$new/usr/lib/ssi"
cp -a "$place"/units/. "$new/etc/systemd/system/"
cp "$programs/ssi-init" "$new/usr/sbin/ssi-init"
cp "$programs/ssi-init-manager" "$programs/ssi-exec" "$new/usr/lib/ssi/"
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs tmpfs "$new/run"
mount -t tmpfs tmpfs "$new/tmp"
# Devices of its own, so that the console can be ours.
mount -t tmpfs tmpfs "$new/dev"
for node in null zero full random urandom tty; do
	touch "$new/dev/$node"
	mount --bind "/dev/$node" "$new/dev/$node"
done
mkdir "$new/dev/shm" "$new/dev/pts"
ln -s /proc/self/fd "$new/dev/fd"
touch "$new/dev/console"
mount --bind "$console" "$new/dev/console"
mount --bind "$place/out" "$new/out"
ip link set lo up
cd "$new"
pivot_root . old
umount -l /old
mount --make-rshared /
export container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $init in
systemd)
	exec env -i container=docker PATH=$PATH /lib/systemd/systemd --system --unit=stage.target --log-target=console \
		--log-color=no --log-level=info --show-status=no
	;;
ssi-init)
	exec env -i container=docker PATH=$PATH /usr/sbin/ssi-init systemd.unit=stage.target ssi.init.manager=/usr/lib/ssi/ssi-init-manager $(cat /out/words 2>/dev/null)
	;;
esac
