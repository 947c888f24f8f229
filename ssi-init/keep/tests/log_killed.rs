// SPDX-License-Identifier: GPL-2.0-or-later
//! A writer that is killed with SIGKILL at any moment leaves a log that is at the last batch that it told of, or at the
//! one after.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use ssi_keep::log::Log;

const WRITER: &str = "SSI_KEEP_TEST_WRITER";

/// What batch `n` leaves of key `k`: it is set anew by each `k`-th batch, to something of up to some pages, and removed
/// by each seventh of these.
fn value(n: u64, k: u64) -> Option<Vec<u8>> {
    let last = n - n % k;
    let size = (last * 7919 + k * 104_729) % 20_000;
    (last > 0 && !(last / k).is_multiple_of(7)).then(|| last.to_le_bytes().repeat(size as usize / 8 + 1))
}

/// Run in a process of its own: the file is its standard input, and it tells of batches on standard error.
#[test]
fn writer() {
    if std::env::var_os(WRITER).is_none() {
        return;
    }
    let file = File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let (mut log, _) = Log::open(file).unwrap();
    let first = log.get("n").unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    for n in first + 1.. {
        for k in (1..10).filter(|k| n.is_multiple_of(*k)) {
            match value(n, k) {
                Some(value) => log.put(&format!("key/{k}"), &value).unwrap(),
                None => log.remove(&format!("key/{k}")).unwrap(),
            }
        }
        log.put("n", &n.to_le_bytes()).unwrap();
        let _ = log.commit().unwrap();
        std::io::stderr().write_all(&n.to_le_bytes()).unwrap();
    }
}

#[test]
fn two_hundred_kills_tear_no_batch() {
    let new = || -> File {
        let file: File = rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into();
        Log::create_in(file.try_clone().unwrap()).unwrap();
        file
    };
    let mut file = new();
    let mut random = 0x1234_5678_9abc_def1_u64;
    let (mut last, mut torn, mut unsaid) = (0, 0, 0);
    for kills in 0..200 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(WRITER, "1")
            .stdin(Stdio::from(file.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = writer.stderr.take().unwrap();
        let mut number = [0; 8];
        told.read_exact(&mut number).unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 5000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let mut rest = vec![];
        told.read_to_end(&mut rest).unwrap();
        // A number is within a page of the pipe: it is told whole or not at all.
        let last_told = rest.rchunks_exact(8).next().map_or(number, |chunk| chunk.try_into().unwrap());
        let last_told = u64::from_le_bytes(last_told);

        let (log, loaded) = Log::open(file.try_clone().unwrap()).unwrap();
        let n = u64::from_le_bytes(log.get("n").unwrap().unwrap().try_into().unwrap());
        assert!(n == last_told || n == last_told + 1, "kill {kills}: {last_told} was told, {n} was found");
        assert!(n > last, "it goes on where it was");
        last = n;
        torn += u32::from(loaded.dropped.is_some());
        unsaid += u32::from(n == last_told + 1);
        let found: BTreeMap<String, Vec<u8>> =
            log.keys("key/").map(|key| (key.to_owned(), log.get(key).unwrap().unwrap())).collect();
        let wanted: BTreeMap<String, Vec<u8>> =
            (1..10).filter_map(|k| Some((format!("key/{k}"), value(n, k)?))).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "kill {kills}, batch {n}");
        assert!(found == wanted, "kill {kills}, batch {n}");
        if kills % 20 == 19 {
            // So that it does not grow without end.
            (file, last) = (new(), 0);
        }
    }
    println!("200 kills: {torn} torn ends, {unsaid} batches that were done and not told");
}
