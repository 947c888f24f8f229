// SPDX-License-Identifier: GPL-2.0-or-later
//! Helper processes of the corosync engine that do not work: each is told as unreachable and tried again, and none
//! stops the daemon. The helpers are shell scripts; no corosync is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ssi_cluster::NodeId;
use ssi_cluster::engine::{FromEngine, PROTOCOL, ToEngine, encode};
use ssi_clusterd::engine::corosync::Corosync;
use ssi_clusterd::engine::{Engine as _, Link, QUEUE};

const PATIENCE: Duration = Duration::from_secs(30);

fn run(scene: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scene);
}

fn start(helper: &Path) -> Link {
    Box::new(Corosync { helper: helper.to_owned() }).start()
}

async fn next(link: &mut Link) -> FromEngine {
    tokio::time::timeout(PATIENCE, link.events.recv()).await.expect("an event").expect("the engine goes on")
}

async fn unreachable(link: &mut Link) -> String {
    match next(link).await {
        FromEngine::Unreachable(why) => why,
        other => panic!("unreachable was awaited, and {other:?} came"),
    }
}

/// A helper that says `frames` and then does `rest`.
fn script(folder: &Path, frames: &[FromEngine], rest: &str) -> std::path::PathBuf {
    let (path, said) = (folder.join("helper"), folder.join("said"));
    fs::write(&said, frames.iter().flat_map(|f| encode(f).unwrap()).collect::<Vec<u8>>()).unwrap();
    fs::write(&path, format!("#!/bin/sh\ncat {} >&0\n{rest}\n", said.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn ready(protocol: u32) -> FromEngine {
    FromEngine::Ready { protocol, own: NodeId::new(1).unwrap() }
}

#[test]
fn a_missing_helper_is_named_and_tried_again_and_blocks_no_sender() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let helper = folder.path().join("helper");
        let mut link = start(&helper);
        let why = unreachable(&mut link).await;
        assert!(why.contains(helper.to_str().unwrap()) && why.contains("No such file"), "{why}");
        for _ in 0..3 * QUEUE {
            let sent = tokio::time::timeout(PATIENCE, link.commands.send(ToEngine::Send(vec![0]))).await;
            sent.expect("a command must not wait for a helper that is away").unwrap();
        }
        // Installed at last.
        script(folder.path(), &[ready(PROTOCOL)], "cat <&0 >/dev/null");
        while let FromEngine::Unreachable(_) = next(&mut link).await {}
    });
}

#[test]
fn a_helper_of_another_version_is_not_used() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut link = start(&script(folder.path(), &[ready(PROTOCOL + 1)], "cat <&0 >/dev/null"));
        let why = unreachable(&mut link).await;
        assert!(why.contains("protocol") && why.contains("upgrade"), "{why}");
        script(folder.path(), &[ready(PROTOCOL)], "cat <&0 >/dev/null");
        while let FromEngine::Unreachable(_) = next(&mut link).await {}
    });
}

#[test]
fn garbage_and_events_out_of_turn_end_the_helper() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut link = start(&script(folder.path(), &[], "printf '\\377\\377\\377\\377' >&0; cat <&0 >/dev/null"));
        let why = unreachable(&mut link).await;
        assert!(why.contains("garbage"), "{why}");
        let early = FromEngine::Message { from: NodeId::new(1).unwrap(), payload: vec![1] };
        script(folder.path(), &[early], "cat <&0 >/dev/null");
        loop {
            let why = unreachable(&mut link).await;
            if why.contains("before it was ready") {
                break;
            }
        }
    });
}

#[test]
fn how_a_helper_ended_is_told() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut link = start(&script(folder.path(), &[ready(PROTOCOL)], "kill -9 $$"));
        assert_eq!(next(&mut link).await, ready(PROTOCOL));
        let why = unreachable(&mut link).await;
        assert!(why.contains("signal 9"), "{why}");
        script(folder.path(), &[], "exit 3");
        loop {
            match next(&mut link).await {
                FromEngine::Unreachable(why) if why.contains("exit status 3") => break,
                _ => {}
            }
        }
    });
}

#[test]
fn a_leave_ends_the_engine_even_without_a_helper() {
    run(async {
        let mut link = start(Path::new("/nonexistent/helper"));
        unreachable(&mut link).await;
        link.commands.send(ToEngine::Leave).await.unwrap();
        tokio::time::timeout(PATIENCE, async { while link.events.recv().await.is_some() {} }).await.unwrap();
    });
}

#[test]
fn a_daemon_that_reads_nothing_costs_no_memory_and_loses_nothing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<_> = (0..4 * QUEUE as u32)
            .map(|n| FromEngine::Message { from: NodeId::new(1).unwrap(), payload: n.to_be_bytes().repeat(64) })
            .collect();
        let frames = [vec![ready(PROTOCOL)], many.clone()].concat();
        let mut link = start(&script(folder.path(), &frames, "cat <&0 >/dev/null"));
        while link.events.len() < QUEUE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(next(&mut link).await, ready(PROTOCOL));
        for expected in many {
            assert_eq!(next(&mut link).await, expected);
        }
    });
}
