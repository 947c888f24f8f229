// SPDX-License-Identifier: GPL-2.0-or-later
//! Every edge of every unit, with who asked for it, side by side with `systemd --test` of systemd 252: the units of
//! Debian's packages, and units of our own that need each rule.

mod referee;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ssi_unit::config::ManagerDefaults;
use ssi_unit::dependency::{Dependency, Origins};
use ssi_unit::files::RootFiles;
use ssi_unit::implicit::{Subject, Surroundings, mounts_above, orders_default_target, relations};
use ssi_unit::load::{LoadState, Loaded, Loader, SearchPath};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::specifier::Host;

/// Units that show a rule each. Names of files, and their texts.
const SCENES: &[(&str, &str)] = &[
    ("s1-plain.service", "[Service]\nExecStart=/bin/true\n"),
    ("s1-early.service", "[Unit]\nDefaultDependencies=no\nAfter=s1-plain.service\n[Service]\nExecStart=/bin/true\n"),
    (
        "s1-dirs.service",
        "[Service]\nExecStart=/bin/true\nStateDirectory=a b/c\nRuntimeDirectory=r\nWorkingDirectory=/srv/x\nPrivateTmp=yes\n",
    ),
    (
        "s1-home.service",
        "[Service]\nExecStart=/bin/true\nWorkingDirectory=-/srv/y\nLogsDirectory=l\nConfigurationDirectory=e\n",
    ),
    ("s1-quiet.service", "[Service]\nExecStart=/bin/true\nStandardOutput=null\nStandardError=null\n"),
    ("s1-kmsg.service", "[Service]\nExecStart=/bin/true\nStandardOutput=kmsg\n"),
    ("s1-tty.service", "[Service]\nExecStart=/bin/true\nStandardInput=tty\n"),
    ("s1-space.service", "[Service]\nExecStart=/bin/true\nLogNamespace=other\n"),
    ("s1-image.service", "[Service]\nExecStart=/bin/true\nRootImage=/srv/image\nRootDirectory=/srv/root\n"),
    ("s1-dbus.service", "[Service]\nExecStart=/bin/true\nType=dbus\nBusName=org.x.Y\n"),
    ("s1-name.service", "[Service]\nExecStart=/bin/true\nType=simple\nBusName=org.x.Z\n"),
    ("s1-slice.service", "[Service]\nExecStart=/bin/true\nSlice=s1-a-b.slice\n"),
    ("s1-oom.service", "[Service]\nExecStart=/bin/true\nManagedOOMSwap=kill\n"),
    ("s1-in-st@.service", "[Service]\nExecStart=/bin/true\n"),
    (
        "s1-many.service",
        "[Unit]\nRequires=s1-a.target\nRequisite=s1-b.target\nWants=s1-a.target\nBindsTo=s1-b.target\nPartOf=s1-a.target\nUpholds=s1-plain.service\nConflicts=s1-quiet.service\nBefore=s1-a.target\nAfter=s1-b.target\nOnSuccess=s1-tty.service\nOnFailure=s1-kmsg.service\nPropagatesReloadTo=s1-tty.service\nReloadPropagatedFrom=s1-kmsg.service\nPropagatesStopTo=s1-tty.service\nStopPropagatedFrom=s1-kmsg.service\nJoinsNamespaceOf=s1-plain.service\nRequiresMountsFor=/srv/m /var//x/\n[Service]\nExecStart=/bin/true\n",
    ),
    ("s1-socks.service", "[Service]\nExecStart=/bin/true\nSockets=s1-stream.socket s1-dev.socket\n"),
    ("s1-stream.socket", "[Socket]\nListenStream=/run/s1/a\nListenStream=80\n"),
    ("s1-stream.service", "[Service]\nExecStart=/bin/true\n"),
    ("s1-accept.socket", "[Socket]\nListenStream=81\nAccept=yes\n"),
    ("s1-accept@.service", "[Service]\nExecStart=/bin/true\n"),
    (
        "s1-dev.socket",
        "[Socket]\nListenFIFO=/run/s1/f\nListenDatagram=@abstract\nBindToDevice=eth0\nService=s1-socks.service\nExecStartPre=/bin/true\n",
    ),
    (
        "s1-none.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenSpecial=/dev/zero\nService=s1-plain.service\nBindToDevice=lo\n",
    ),
    ("s1-cal.timer", "[Timer]\nOnCalendar=daily\nPersistent=yes\nUnit=s1-plain.service\n"),
    ("s1-plain.timer", "[Timer]\nOnBootSec=5\n"),
    ("s1-plain.path", "[Path]\nPathExists=/srv/p/q\nPathChanged=/srv/r\n"),
    ("s1-other.path", "[Path]\nDirectoryNotEmpty=/srv/p\nUnit=s1-a.target\n"),
    ("s1-a.target", "[Unit]\nWants=s1-plain.service s1-early.service s1-b.target\n"),
    ("s1-b.target", "[Unit]\nRequires=s1-late.service\nBefore=s1-late.service\n"),
    ("s1-c.target", "[Unit]\nDefaultDependencies=no\nWants=s1-plain.service\n"),
    ("s1-late.service", "[Service]\nExecStart=/bin/true\n"),
    ("s1-a-b.slice", "[Slice]\nMemoryMax=1G\n"),
    ("srv.mount", "[Mount]\nWhat=/dev/sdx1\nWhere=/srv\nType=ext4\nOptions=usrquota\n"),
    ("srv-nfs.mount", "[Mount]\nWhat=server:/x\nWhere=/srv/nfs\nType=nfs4\n"),
    ("srv-net.mount", "[Mount]\nWhat=/dev/nbd0\nWhere=/srv/net\nType=ext4\nOptions=_netdev,nofail\n"),
    ("srv-bind.mount", "[Mount]\nWhat=/var/x\nWhere=/srv/bind\nOptions=bind\n"),
    ("srv-loop.mount", "[Mount]\nWhat=/var/image\nWhere=/srv/loop\nOptions=loop,ro\n"),
    ("srv-tmp.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/tmp\nType=tmpfs\n"),
    ("srv-bound.mount", "[Mount]\nWhat=/dev/sdx2\nWhere=/srv/bound\nOptions=x-systemd.device-bound,nofail,fail\n"),
    ("srv-plain.mount", "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=/dev/sdx3\nWhere=/srv/plain\n"),
    ("dev-x.mount", "[Mount]\nWhat=x\nWhere=/dev/x\nType=tmpfs\n"),
    ("srv-auto.mount", "[Mount]\nWhat=/dev/sdx4\nWhere=/srv/auto\n"),
    ("srv-auto.automount", "[Automount]\nWhere=/srv/auto\n"),
    ("dev-sdx5.swap", "[Swap]\nWhat=/dev/sdx5\n"),
    ("srv-swapfile.swap", "[Swap]\nWhat=/srv/swapfile\n"),
];

fn scenes() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edges");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in SCENES {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn load(folder: &Path) -> BTreeMap<UnitName, Loaded> {
    let search = SearchPath::of([folder]);
    let host = Host::read("/".as_ref());
    let mut loader = Loader::new(RootFiles::system(), search, host, ManagerDefaults::default());
    let names: Vec<UnitName> = loader.tree().unit_names().cloned().collect();
    let named =
        names.iter().map(|name| if name.is_template() { name.instantiate("tty1").unwrap() } else { name.clone() });
    let loaded = named.map(|name| loader.load(&name)).collect::<Vec<_>>();
    loaded.into_iter().filter(|unit| unit.state == LoadState::Loaded).map(|unit| (unit.id.clone(), unit)).collect()
}

/// An edge as text: `After sysinit.target (default)`.
type Lines = BTreeSet<String>;

/// The words of systemd's dump for who asked for an edge.
fn words(origins: Origins) -> String {
    let words = [
        (Origins::FILE, "file"),
        (Origins::IMPLICIT, "implicit"),
        (Origins::DEFAULT, "default"),
        (Origins::PATH, "path"),
        (Origins::MOUNT_FILE, "mount-file"),
        (Origins::SLICE_PROPERTY, "slice-property"),
    ];
    let words: Vec<&str> =
        words.into_iter().filter(|(origin, _)| origins.contains(*origin)).map(|(_, word)| word).collect();
    words.join(" ")
}

/// All edges as the manager would have them: those of each unit, mounts, and the default order of targets.
fn ours(units: &BTreeMap<UnitName, Loaded>, surroundings: &Surroundings) -> BTreeMap<UnitName, Lines> {
    let mut edges: BTreeMap<(UnitName, Dependency, UnitName), Origins> = BTreeMap::new();
    let mut mounts_for: BTreeMap<UnitName, Lines> = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    // An alias is the unit it stands for.
    let real = |name: &UnitName| {
        let found = units.values().find(|unit| unit.names.contains(name));
        found.map_or_else(|| name.clone(), |unit| unit.id.clone())
    };
    let mut all = Vec::new();
    for (name, unit) in units {
        let found = relations(Subject::from_file(name, &unit.config), surroundings);
        let written = unit.folder_dependencies.iter().map(|(kind, to)| (*kind, to.clone(), Origins::FILE));
        let edges = found.edges.iter().map(|edge| (edge.kind, edge.to.clone(), edge.origins)).chain(written);
        all.extend(edges.map(|(kind, to, origins)| (name.clone(), kind, real(&to), origins)));
        defaults.insert(name.clone(), found.default_dependencies);
        for mounts in found.mounts_for {
            let line = format!("{} ({})", mounts.path, words(mounts.origins));
            mounts_for.entry(name.clone()).or_default().insert(line);
            for mount in mounts_above(&mounts.path) {
                let Some(loaded) = units.get(&mount).filter(|_| mount != *name) else { continue };
                all.push((name.clone(), Dependency::After, loaded.id.clone(), mounts.origins));
                all.push((name.clone(), mounts.kind, loaded.id.clone(), mounts.origins));
            }
        }
    }
    for (from, kind, to, origins) in all {
        if from != to && kind.check(from.unit_type(), to.unit_type()).is_ok() {
            *edges.entry((from, kind, to)).or_default() |= origins;
        }
    }
    let pulled = [
        Dependency::Requires,
        Dependency::Requisite,
        Dependency::Wants,
        Dependency::BindsTo,
        Dependency::PartOf,
        Dependency::Upholds,
    ];
    let targets: Vec<(UnitName, UnitName)> = edges
        .keys()
        .filter_map(|(from, kind, to)| {
            // What a target is part of or pulls in, and what says itself that it is.
            let target = from.unit_type() == UnitType::Target && pulled.contains(kind) && units.contains_key(to);
            let stopped_by =
                to.unit_type() == UnitType::Target && units.contains_key(to) && *kind == Dependency::RequiredBy;
            (target || stopped_by).then(|| (from.clone(), to.clone()))
        })
        .collect();
    for (target, unit) in targets {
        let before = edges.contains_key(&(target.clone(), Dependency::Before, unit.clone()))
            || edges.contains_key(&(unit.clone(), Dependency::After, target.clone()));
        if orders_default_target(defaults[&target], defaults[&unit], before) {
            *edges.entry((target, Dependency::After, unit)).or_default() |= Origins::DEFAULT;
        }
    }
    let mut lines: BTreeMap<UnitName, Lines> = BTreeMap::new();
    for ((from, kind, to), origins) in edges {
        lines.entry(from).or_default().insert(format!("{kind} {to} ({})", words(origins)));
    }
    for (name, paths) in mounts_for {
        lines.entry(name).or_default().extend(paths.into_iter().map(|path| format!("RequiresMountsFor {path}")));
    }
    lines
}

/// What the referee says a unit itself asks for.
fn theirs(verdict: &referee::Verdict, unit: &UnitName) -> Lines {
    let mut lines = Lines::new();
    for (key, value) in verdict.units.get(unit.as_str()).into_iter().flatten() {
        let kind = Dependency::from_name(key)
            .filter(|kind| !matches!(kind, Dependency::References | Dependency::ReferencedBy));
        if kind.is_none() && key != "RequiresMountsFor" {
            continue;
        }
        let Some((to, origins)) = value.split_once(" (") else { continue };
        let mut own: Vec<&str> =
            origins.trim_end_matches(')').split(' ').filter_map(|word| word.strip_prefix("origin-")).collect();
        let order =
            ["file", "implicit", "default", "udev", "path", "mount-file", "mountinfo", "swaps", "slice-property"];
        own.sort_by_key(|word| order.iter().position(|known| known == word));
        if !own.is_empty() {
            lines.insert(format!("{key} {to} ({})", own.join(" ")));
        }
    }
    lines
}

/// The referee's work folder is one for the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn compare(folder: &Path, at_least: usize) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !referee::has_systemd_252() {
        return;
    }
    let units = load(folder);
    let asked: BTreeSet<String> = units.keys().map(ToString::to_string).collect();
    let verdict = referee::ask(&[folder], &asked);
    // The referee runs where this test runs, as nobody: which devices and controllers it finds shows in what it does.
    let has = |part: &str| verdict.units.values().flatten().any(|(_, value)| value.contains(part));
    let surroundings = Surroundings {
        devices: has(".device ("),
        container: !has("swap.target (origin-default)"),
        memory_controller: has("systemd-oomd.service (origin-file)"),
        ..Surroundings::default()
    };
    let ours = ours(&units, &surroundings);
    let mut differences = Vec::new();
    let mut compared = 0;
    for name in units.keys().filter(|name| verdict.units.contains_key(name.as_str())) {
        let (own, other) = (ours.get(name).cloned().unwrap_or_default(), theirs(&verdict, name));
        // The root is mounted here, and so every path has that mount above it.
        let other: Lines = other.into_iter().filter(|line| !line.contains(" -.mount (")).collect();
        compared += other.len();
        let (only_we, only_they): (Vec<_>, Vec<_>) =
            (own.difference(&other).collect(), other.difference(&own).collect());
        if !only_we.is_empty() || !only_they.is_empty() {
            differences.push(format!("{name}: only we {only_we:?}, only systemd {only_they:?}"));
        }
    }
    eprintln!("{} units, {compared} edges compared; {surroundings:?}", units.len());
    assert!(compared >= at_least, "only {compared} edges compared");
    assert!(differences.is_empty(), "{} units differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn edges_of_units_that_show_each_rule() {
    compare(&scenes(), 200);
}

#[test]
fn edges_of_the_packages_units() {
    compare(&referee::package_units(), 1000);
}
