// SPDX-License-Identifier: GPL-2.0-or-later
//! `[X-SSI]`: what the cluster reads, systemd skips, and mistakes in it are told.

use ssi_unit::config::ManagerDefaults;
use ssi_unit::config::unit::{Failback, Scope};
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{Loaded, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

fn load(cluster: &str) -> Loaded {
    let mut files = MemoryFiles::new();
    let text = format!("[Service]\nExecStart=/bin/true\n[X-SSI]\n{cluster}[X-Other]\nWhatever=1\n");
    files.file("/etc/systemd/system/db@.service", text);
    let mut loader = Loader::new(files, SearchPath::system(), Host::default(), ManagerDefaults::default());
    loader.load(&UnitName::new("db@node3.service").unwrap())
}

#[test]
fn a_unit_without_the_section_is_each_nodes_own() {
    let cluster = load("").config.cluster;
    assert_eq!((cluster.scope, cluster.instances, cluster.failback), (Scope::Node, 1, Failback::No));
}

#[test]
fn all_settings() {
    let loaded = load(
        "Scope=cluster\nNodes=%i 1 node2 role=web\nAvoid=4\nWith=web@.service %p-disk.mount\nApart=other.service\nInstances=2\nFailback=when-idle\nSpread=yes\nLoad=true\n\
         TakeoverSec=5s\nProbationSec=1min\nErrorLimit=3\nX-Site=1\n",
    );
    assert_eq!(loaded.warnings, []);
    let cluster = loaded.config.cluster;
    assert_eq!(cluster.scope, Scope::Cluster);
    assert_eq!(
        (cluster.nodes, cluster.avoid),
        (vec!["node3".into(), "1".into(), "node2".into(), "role=web".into()], vec!["4".to_owned()])
    );
    assert_eq!((cluster.instances, cluster.failback), (2, Failback::WhenIdle));
    let names = |units: &[UnitName]| units.iter().map(|unit| unit.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.with), ["web@.service", "db-disk.mount"]);
    assert_eq!(names(&cluster.apart), ["other.service"]);
    assert!(cluster.spread && cluster.least_loaded);
    assert_eq!(cluster.takeover, Some(std::time::Duration::from_secs(5)));
    assert_eq!((cluster.probation, cluster.error_limit), (Some(std::time::Duration::from_secs(60)), Some(3)));
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let loaded = load("Scope=galaxy\nInstances=0\nNodes=a/b =web role= 2\nTakeoverSec=0\nFailback=maybe\nBogus=1\n");
    assert_eq!(loaded.warnings.len(), 8, "{:#?}", loaded.warnings);
    let cluster = loaded.config.cluster;
    assert_eq!((cluster.scope, cluster.instances, cluster.nodes), (Scope::Node, 1, vec!["2".to_owned()]));
}
