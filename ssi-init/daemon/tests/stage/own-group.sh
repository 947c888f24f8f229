# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced first by the scripts that boot an init for a test. Its control groups get a tree of their own: two inits that
# shared one would freeze and kill each other's services, which have the same names. $1 is the scene's directory.
if [ -z "$OWN_GROUP" ]; then
	tree=$1/root
	mount -t cgroup2 cgroup2 "$tree"
	# What earlier scenes left has nobody in it. One that has not gone into its own yet may lose it by this, and makes it
	# again.
	for group in "$tree"/ssi-scene.*; do
		if grep -qx 'populated 0' "$group/cgroup.events" 2>/dev/null; then
			find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
		fi
	done
	for try in 1 2 3 4 5 6 7 8; do
		group=$tree/ssi-scene.${1##*/}
		mkdir -p "$group" && echo 0 >"$group/cgroup.procs" && break
	done 2>/dev/null
	umount "$tree"
	OWN_GROUP=yes exec unshare --cgroup bash "$0" "$@"
fi
unset OWN_GROUP
