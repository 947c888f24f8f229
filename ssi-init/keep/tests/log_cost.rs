// SPDX-License-Identifier: GPL-2.0-or-later
//! What a log of 10,000 units costs, in memory of the manager and in time. Prints it; `cargo test --release` for times
//! that mean something.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use ssi_keep::log::Log;

const UNITS: usize = 10_000;
const WRITER: &str = "SSI_KEEP_TEST_WRITER";

fn key(n: usize) -> String {
    format!("unit/some-service@instance-{n}.service")
}

/// Run in a process of its own, so that what it asks for and gives back does not hide what loading asks for.
#[test]
fn writer() {
    if std::env::var_os(WRITER).is_none() {
        return;
    }
    let mut log = Log::create_in(File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap())).unwrap();
    for n in 0..UNITS {
        log.put(&key(n), &[n as u8; 1024]).unwrap();
        if n % 10 == 9 {
            let _ = log.commit().unwrap();
        }
    }
}

/// Memory that this process has asked for and not given back, in bytes; the file's pages are not among it.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn ten_thousand_units_cost_little() {
    let file: File = rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into();
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args(["--exact", "writer"]).env(WRITER, "1").stdin(Stdio::from(file.try_clone().unwrap()));
    assert!(writer.stdout(Stdio::null()).status().unwrap().success());
    let (before, begun) = (memory(), Instant::now());
    let (mut log, loaded) = Log::open(file).unwrap();
    let (cost, load) = (memory().saturating_sub(before), begun.elapsed());
    assert_eq!((loaded.keys, loaded.batches), (UNITS, 1000));
    // With a kilobyte each it would be 10 MiB and more if values were kept in memory.
    assert!((400 << 10..4 << 20).contains(&cost), "{cost} bytes");

    let begun = Instant::now();
    for n in 0..UNITS {
        log.put(&key(n), &[n as u8; 1024]).unwrap();
    }
    let same = begun.elapsed();
    assert!(!log.is_changed());

    let begun = Instant::now();
    for n in 0..UNITS {
        log.put(&key(n), &[(n as u8).wrapping_add(1); 1024]).unwrap();
        let _ = log.commit().unwrap();
    }
    let each = begun.elapsed() / UNITS as u32;
    assert!(log.wants_compaction());
    let begun = Instant::now();
    log.compact().unwrap();
    println!(
        "{UNITS} values of 1 KiB: {cost} bytes of memory; load {load:?}, the same again {same:?}, a commit of one \
         {each:?}, compaction {:?}",
        begun.elapsed()
    );
    assert_eq!(log.get(&key(7)).unwrap().unwrap(), [8; 1024]);
}
