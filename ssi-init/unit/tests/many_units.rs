// SPDX-License-Identifier: GPL-2.0-or-later
//! Ten thousand units load in a time that grows with their number, not with its square.

use std::time::{Duration, Instant};

use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{LoadState, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

/// Makes and loads so many services, each with a drop-in, a wanted unit and an alias; tells how long loading took.
fn load(count: usize) -> Duration {
    let mut files = MemoryFiles::new();
    files.file("/usr/lib/systemd/system/service.d/10-all.conf", "[Unit]\nStartLimitBurst=7\n");
    for index in 0..count {
        let name = format!("job-{index}.service");
        files
            .file(
                format!("/usr/lib/systemd/system/{name}"),
                "[Unit]\nDescription=Job %n\nAfter=network.target\n[Service]\nExecStart=/bin/true %p\nPrivateTmp=yes\n",
            )
            .file(format!("/etc/systemd/system/{name}.d/x.conf"), "[Service]\nNice=5\n")
            .link(format!("/etc/systemd/system/{name}.wants/dbus.service"), "/usr/lib/systemd/system/dbus.service")
            .link(format!("/etc/systemd/system/alias-{index}.service"), format!("/usr/lib/systemd/system/{name}"));
    }
    let begun = Instant::now();
    let mut loader = Loader::new(files, SearchPath::system(), Host::default(), ManagerDefaults::default());
    for index in 0..count {
        let loaded = loader.load(&UnitName::new(&format!("alias-{index}.service")).unwrap());
        assert_eq!((loaded.state, loaded.names.len(), loaded.dropins.len()), (LoadState::Loaded, 2, 2));
        assert_eq!(loaded.folder_dependencies.len(), 1);
        assert_eq!(loaded.config.unit.start_limit_burst, 7);
    }
    begun.elapsed()
}

#[test]
fn loading_is_linear() {
    let few = load(1_000);
    let many = load(10_000);
    eprintln!("1,000 units in {few:?}, 10,000 in {many:?}");
    // Ten times as many; the rest is left to a busy machine.
    assert!(many < few * 25, "1,000 units took {few:?}, 10,000 took {many:?}");
}
