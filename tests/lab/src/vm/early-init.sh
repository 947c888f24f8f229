#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest's first steps: drivers, the root disk, the node's name and addresses, the agent, then init.
# The root itself stays as its distribution made it.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules.order

node= net= nodes= client= install= init=/sbin/init
for word in $(cat /proc/cmdline); do
    case "$word" in
        ssi.node=*) node=${word#*=} ;;
        ssi.lab.net=*) net=$(echo "${word#*=}" | tr , ' ') ;;
        ssi.lab.nodes=*) nodes=${word#*=} ;;
        ssi.lab.client=*) client=${word#*=} ;;
        ssi.lab.install=*) install=${word#*=} ;;
        ssi.lab.init=*) init=$(echo "${word#*=}" | tr , ' ') ;;
    esac
done

until [ -b /dev/vda ]; do sleep 0.05; done
mount -t ext4 /dev/vda /root || exec sh

hostname "node$node"
ip link set lo up
card=0
for prefix in $net; do
    ip address add "$prefix.$node/24" broadcast + dev "eth$card"
    ip link set "eth$card" up
    card=$((card + 1))
done

# Once: what the node makes of these files later is its own.
if [ ! -e /root/var/lib/ssi-lab-identity ]; then
    echo "node$node" > /root/etc/hostname
    {
        echo "127.0.0.1 localhost"
        echo "::1 localhost ip6-localhost ip6-loopback"
        suffix=
        for prefix in $net; do
            number=1
            while [ "$number" -le "$nodes" ]; do
                echo "$prefix.$number node$number$suffix"
                number=$((number + 1))
            done
            echo "$prefix.$client client$suffix"
            suffix=-b
        done
    } > /root/etc/hosts
    : > /root/var/lib/ssi-lab-identity
fi

mount --move /dev /root/dev
# The shell wants /dev/null for what it puts into the background.
rm -r /dev && ln -s /root/dev /dev
mount --move /proc /root/proc
mount --move /sys /root/sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /root/run
mkdir -p /root/run/ssi-lab
cp /agent /root/run/ssi-lab/agent
clean="env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=linux"
if [ -n "$install" ]; then
    until [ -b "/root/dev/$install" ]; do sleep 0.05; done
    # By its path: by its name, busybox would take its own.
    $clean chroot /root /usr/bin/tar -x -f "/dev/$install" -C / --keep-directory-symlink --no-same-owner -p --unlink-first
fi
# A node that is killed keeps what it was given.
sync
# Started here, the agent is there whichever init comes, and long before its services.
$clean SSI_NODE="$node" setsid chroot /root /run/ssi-lab/agent port ssi.agent \
    < /root/dev/null > /root/run/ssi-lab/agent.log 2>&1 &
# switch_root takes away what the agent is started with: not before it runs. One that can't be started holds nobody up.
tries=0
while [ "$tries" -lt 600 ]; do
    case "$(readlink "/root/proc/$!/exe")" in */run/ssi-lab/agent) break ;; esac
    tries=$((tries + 1))
    sleep 0.05
done
exec $clean switch_root -c /dev/console /root $init
