// SPDX-License-Identifier: GPL-2.0-or-later

use super::*;
use proptest::prelude::*;

type Model = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(String, Vec<u8>),
    Remove(String),
    Commit,
    Reopen,
    Compact,
    Held,
    NotHeld,
}

fn key() -> impl Strategy<Value = String> {
    "(unit|job)/[a-e]"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), prop::collection::vec(0u8..3, 0..40)).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Remove),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
        1 => Just(Step::Held),
        1 => Just(Step::NotHeld),
    ]
}

fn content(log: &Log) -> Model {
    log.keys("").map(|key| (key.to_owned(), log.get(key).unwrap().unwrap())).collect()
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn file_of(bytes: &[u8]) -> File {
    let file = memory_file().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// What a manager finds that is started after this one was killed now: with each file that process 1 may hold.
fn after_a_kill(log: &Log) -> Vec<Model> {
    let mut files = vec![];
    if log.holding != Holding::Ours || log.former.is_none() {
        files.push(&log.file);
    }
    if let Some(former) = &log.former {
        files.push(&former.file);
    }
    files.into_iter().map(|file| content(&Log::open(file_of(&bytes_of(file))).unwrap().0)).collect()
}

#[test]
fn what_was_committed_is_found_and_what_was_not_is_not() {
    let mut log = Log::create().unwrap();
    log.put("unit/a", b"one").unwrap();
    log.put("queue", b"").unwrap();
    assert_eq!(log.commit().unwrap().batch(), 1);
    log.put("unit/a", b"two").unwrap();
    log.remove("queue").unwrap();
    log.put("unit/b", b"new").unwrap();
    assert_eq!(log.keys("").collect::<Vec<_>>(), ["unit/a", "unit/b"], "as changed");
    let (found, loaded) = Log::open(file_of(&bytes_of(&log.file))).unwrap();
    assert_eq!(content(&found), Model::from([("queue".into(), vec![]), ("unit/a".into(), b"one".to_vec())]));
    assert_eq!(loaded, Loaded { batches: 1, keys: 2, dropped: None });
}

#[test]
fn the_same_value_again_writes_nothing() {
    let mut log = Log::create().unwrap();
    log.put("unit/a", b"one").unwrap();
    let _ = log.commit().unwrap();
    let before = log.end;
    log.put("unit/a", b"one").unwrap();
    assert!(!log.is_changed());
    log.put("unit/a", b"two").unwrap();
    log.put("unit/a", b"one").unwrap();
    assert!(!log.is_changed(), "back to what it was");
    log.put("unit/b", b"x").unwrap();
    log.remove("unit/b").unwrap();
    log.remove("unit/c").unwrap();
    assert!(!log.is_changed() && log.pending_size == 0, "never was");
    assert_eq!(log.commit().unwrap().batch(), 1);
    assert_eq!(log.end, before);
}

#[test]
fn another_value_of_the_same_checksum_is_a_change() {
    // Two of four bytes each with one checksum would need a search; the comparison is asked directly instead.
    let mut log = Log::create().unwrap();
    log.put("a", b"one").unwrap();
    let _ = log.commit().unwrap();
    let place = log.index.get("a").unwrap();
    log.index.put("a", Place { crc: crc32(&[b"two"]), ..place });
    assert!(
        matches!(log.put("a", b"two"), Err(LogError::Changed(_))),
        "it reads what is there, and trusts nothing else"
    );
}

#[test]
fn limits_are_kept() {
    let mut log = Log::create().unwrap();
    assert!(matches!(log.put("", b""), Err(LogError::Key(_))));
    assert!(matches!(log.put("a\n", b""), Err(LogError::Key(_))));
    assert!(matches!(log.put(&"a".repeat(KEY_MAX + 1), b""), Err(LogError::Key(_))));
    let large = vec![7; VALUE_MAX + 1];
    assert!(matches!(log.put("a", &large), Err(LogError::TooLarge { .. })));
    let mut put = 0;
    let full = loop {
        match log.put(&format!("{put}"), &large[1..]) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LogError::BatchFull(_)), "{full}");
    assert_eq!(put, 3, "4 of them and their heads are more than a batch");
    let _ = log.commit().unwrap();
    assert_eq!(Log::open(log.file).unwrap().1.keys, 3);
}

#[test]
fn what_is_no_log_is_left_alone() {
    for bytes in [b"".as_slice(), b"SSI-LOG\n", &[0; 100]] {
        let file = file_of(bytes);
        assert!(matches!(Log::open(file.try_clone().unwrap()), Err(LogError::NotALog(_))));
        assert_eq!(bytes_of(&file), bytes);
    }
    let mut head = file_head();
    head[8] = 2;
    let crc = crc32(&[&head[..12]]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(Log::open(file_of(&head)), Err(LogError::Version(2))));
}

#[test]
fn a_wrong_byte_drops_what_follows_and_is_told() {
    let mut log = Log::create().unwrap();
    let mut ends = vec![];
    for n in 0..3u8 {
        log.put("n", &[n; 100]).unwrap();
        let _ = log.commit().unwrap();
        ends.push(log.end);
    }
    let mut bytes = bytes_of(&log.file);
    let at = usize::try_from(ends[0]).unwrap() + BATCH_HEAD + 50;
    bytes[at] ^= 1;
    let file = file_of(&bytes);
    let (mut found, loaded) = Log::open(file).unwrap();
    let dropped = Dropped { at: ends[0], bytes: ends[2] - ends[0], why: Torn::Checksum };
    assert_eq!(loaded, Loaded { batches: 1, keys: 1, dropped: Some(dropped) });
    assert_eq!(found.get("n").unwrap().unwrap(), [0; 100]);
    // What was dropped is gone, and what is written next is found.
    found.put("n", b"next").unwrap();
    let _ = found.commit().unwrap();
    let (again, loaded) = Log::open(found.file).unwrap();
    assert_eq!((again.get("n").unwrap().unwrap(), loaded.dropped), (b"next".to_vec(), None));
}

#[test]
fn a_write_that_fails_leaves_all_as_it_was() {
    let mut log = Log::create().unwrap();
    log.put("a", b"one").unwrap();
    let _ = log.commit().unwrap();
    let whole = bytes_of(&log.file);
    // A file that takes no more.
    let sealed = memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap();
    let sealed = File::from(sealed);
    sealed.write_all_at(&whole, 0).unwrap();
    rustix::fs::fcntl_add_seals(&sealed, rustix::fs::SealFlags::GROW).unwrap();
    let (mut full, _) = Log::open(sealed).unwrap();
    full.put("a", b"two").unwrap();
    assert!(matches!(full.commit(), Err(LogError::Write { .. })));
    assert!(full.is_changed());
    assert_eq!(bytes_of(&full.file), whole);

    // While two files are written, one that fails undoes the other.
    let (mut log, _) = Log::open(full.file).unwrap();
    log.compact().unwrap();
    let before = bytes_of(&log.file);
    log.put("a", b"two").unwrap();
    assert!(matches!(log.commit(), Err(LogError::Write { .. })));
    assert_eq!((bytes_of(&log.file), bytes_of(&log.former.as_ref().unwrap().file)), (before, whole));
    assert_eq!(log.get("a").unwrap().unwrap(), b"two", "it waits");
    assert!(log.to_hand_over().is_some());
    log.held();
    let _ = log.commit().unwrap();
    assert_eq!(Log::open(log.file).unwrap().0.get("a").unwrap().unwrap(), b"two");
}

#[test]
fn it_is_compacted_when_more_is_dead_than_alive_and_is_never_larger_than_that() {
    let mut log = Log::create().unwrap();
    assert!(log.to_hand_over().is_some() && log.to_hand_over().is_none());
    log.held();
    let mut compacted = 0;
    for n in 0..2000_u32 {
        for unit in 0..20_u32 {
            log.put(&format!("unit/{unit}"), &[n.to_le_bytes(), unit.to_le_bytes()].concat().repeat(20)).unwrap();
        }
        let _ = log.commit().unwrap();
        if log.wants_compaction() {
            let before = content(&log);
            log.compact().unwrap();
            assert!(!log.wants_compaction() && log.is_kept());
            assert!(matches!(log.compact(), Err(LogError::NotHeld)));
            assert_eq!(log.dead(), BATCH_HEAD as u64);
            assert!(log.to_hand_over().is_some());
            log.held();
            assert_eq!(content(&log), before);
            compacted += 1;
        }
        assert!(log.end < 2 * DEAD_MIN, "{}", log.end);
    }
    assert!(compacted > 10, "{compacted}");
}

#[test]
fn a_large_log_is_compacted_in_chunks() {
    let mut log = Log::create().unwrap();
    for n in 0..5_u8 {
        log.put(&format!("{n}"), &vec![n; CHUNK / 2 + 7]).unwrap();
    }
    log.put("large", &vec![9; 3 * CHUNK]).unwrap();
    let _ = log.commit().unwrap();
    let before = content(&log);
    log.compact().unwrap();
    assert_eq!(content(&log), before);
    let (found, loaded) = Log::open(log.file).unwrap();
    assert_eq!(content(&found), before);
    assert_eq!(loaded.batches, 3, "0 and 1, 2 and 3, 4 and the large one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_is_a_map_through_everything(steps in prop::collection::vec(step(), 0..60)) {
        let mut log = Log::create().unwrap();
        let (mut model, mut committed) = (Model::new(), Model::new());
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    log.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                Step::Remove(key) => {
                    log.remove(&key).unwrap();
                    model.remove(&key);
                }
                Step::Commit => {
                    let _ = log.commit().unwrap();
                    committed = model.clone();
                }
                Step::Reopen => {
                    log = Log::open(log.former.take().map_or(log.file, |former| former.file)).unwrap().0;
                    model = committed.clone();
                }
                Step::Compact => drop(log.compact()),
                Step::Held => {
                    log.to_hand_over();
                    log.held();
                }
                Step::NotHeld => {
                    log.to_hand_over();
                    log.not_held();
                }
            }
            prop_assert_eq!(&content(&log), &model);
            prop_assert_eq!(log.is_changed(), model != committed);
            for prefix in ["unit/", "job/b", "x"] {
                let keys: Vec<&str> = log.keys(prefix).collect();
                let wanted: Vec<&str> = model.keys().map(String::as_str).filter(|key| key.starts_with(prefix)).collect();
                prop_assert_eq!(keys, wanted);
            }
            for found in after_a_kill(&log) {
                prop_assert_eq!(&found, &committed);
            }
            let live: u64 = committed.iter().map(|(key, value)| record_size(key, value.len())).sum();
            prop_assert_eq!(log.live(), live);
            prop_assert_eq!(log.end, bytes_of(&log.file).len() as u64);
            prop_assert_eq!(
                log.pending_size as u64,
                log.pending.iter().map(|(k, v)| record_size(k, v.as_ref().map_or(0, |v| v.len()))).sum::<u64>()
            );
        }
    }

    #[test]
    fn cut_at_any_byte_it_is_before_or_after_the_batch(
        batches in prop::collection::vec(prop::collection::vec((key(), prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 1..6), 1..4),
        rest in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut log = Log::create().unwrap();
        let (mut before, mut start) = (Model::new(), log.end);
        for batch in batches {
            before = content(&log);
            start = log.end;
            for (key, value) in batch {
                match value {
                    Some(value) => log.put(&key, &value).unwrap(),
                    None => log.remove(&key).unwrap(),
                }
            }
            let _ = log.commit().unwrap();
        }
        let (after, bytes) = (content(&log), bytes_of(&log.file));
        for cut in usize::try_from(start).unwrap()..=bytes.len() {
            // Torn, and torn with something else behind it.
            for tail in [&[][..], &rest] {
                let whole = [&bytes[..cut], tail].concat();
                let (found, loaded) = Log::open(file_of(&whole)).unwrap();
                let is_whole = whole.starts_with(&bytes);
                prop_assert_eq!(&content(&found), if is_whole { &after } else { &before });
                let torn = whole.len() as u64 - if is_whole { bytes.len() as u64 } else { start };
                prop_assert_eq!(loaded.dropped.map_or(0, |dropped| dropped.bytes), torn);
                prop_assert_eq!(bytes_of(&found.file).len() as u64, whole.len() as u64 - torn);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_log_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        headed: bool,
        batched: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..3),
    ) {
        // Random from the start; or after a good head; or with a good checksum around it; or with a few wrong bytes.
        let mut whole = vec![];
        if headed {
            whole.extend_from_slice(&file_head());
        }
        if batched {
            let head = layout::BatchHead { size: bytes.len() as u32, crc: crc32(&[&bytes]) };
            whole.extend_from_slice(&head.encode(whole.len() as u64));
        }
        whole.extend_from_slice(&bytes);
        for (at, flip) in flips {
            if !whole.is_empty() {
                let at = at.index(whole.len());
                whole[at] ^= flip;
            }
        }
        if let Ok((log, loaded)) = Log::open(file_of(&whole)) {
            prop_assert!(content(&log).len() == loaded.keys && log.end <= whole.len() as u64);
        }
    }
}

#[test]
fn no_size_is_believed_that_is_not_there() {
    // The head says 64 MiB and more; the file has none of it, or is as large and has nothing in it.
    for size in [BATCH_MAX as u32, u32::MAX] {
        let at = FILE_HEAD as u64;
        let mut bytes = file_head().to_vec();
        bytes.extend_from_slice(&layout::BatchHead { size, crc: 1 }.encode(at));
        let (_, loaded) = Log::open(file_of(&bytes)).unwrap();
        assert_eq!(loaded.dropped.unwrap().why, Torn::Short);
        let sparse = file_of(&bytes);
        sparse.set_len(1 << 40).unwrap();
        match Log::open(sparse) {
            Ok((_, loaded)) => assert_eq!(loaded.dropped.unwrap().why, Torn::Checksum),
            Err(error) => assert!(size == u32::MAX && matches!(error, LogError::Unknown(_)), "{error}"),
        }
    }
}
