// SPDX-License-Identifier: GPL-2.0-or-later
//! Clients that are slow, silent, many, or send what is no message: the manager goes on, and the others with it.

mod scene;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scene::Scene;

const A: (&str, &str) = ("a.service", "[Service]\nExecStart=/bin/sleep 1000\n");

fn connect(scene: &Scene) -> UnixStream {
    let stream = UnixStream::connect(scene.path().join("run/private")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// A connection whose client has said who it is.
fn greeted(scene: &Scene) -> UnixStream {
    let mut stream = connect(scene);
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").unwrap();
    let mut said = [0; 43];
    stream.read_exact(&mut said).unwrap();
    assert!(said.starts_with(b"DATA\r\nOK "), "{:?}", String::from_utf8_lossy(&said));
    stream
}

fn call(path: &str, interface: &str, member: &str) -> zbus::message::Builder<'static> {
    zbus::Message::method_call(path.to_owned(), member.to_owned()).unwrap().interface(interface.to_owned()).unwrap()
}

/// Sends a ping and waits for its answer.
fn is_served(stream: &mut UnixStream) {
    let ping = call("/x", "org.freedesktop.DBus.Peer", "Ping").build(&()).unwrap();
    stream.write_all(ping.data()).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[..2], [b'l', 2], "an answer");
}

#[test]
fn silent_clients_do_not_hold_up_others() {
    let scene = Scene::new(&[A]);
    let silent: Vec<UnixStream> = (0..20).map(|_| connect(&scene)).collect();
    let mut half = connect(&scene);
    half.write_all(b"\0AUTH EXT").unwrap();
    scene.systemctl(&["start", "a.service"]);
    assert_eq!(scene.unit("a.service"), "active (running)");
    drop(silent);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_the_manager_goes_on() {
    let scene = Scene::new(&[A]);
    let mut deaf = greeted(&scene);
    deaf.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask =
        call("/org/freedesktop/systemd1", "org.freedesktop.DBus.Introspectable", "Introspect").build(&()).unwrap();
    // Each answer has some 40 kB.
    let cut = (0..200_000).find(|_| deaf.write_all(ask.data()).is_err());
    assert!(cut.is_some_and(|count| count > 100), "{cut:?}");
    scene.systemctl(&["start", "a.service"]);
}

#[test]
fn what_is_no_message_ends_its_connection_alone() {
    let scene = Scene::new(&[A]);
    let mut other = greeted(&scene);
    let ping = call("/x", "org.freedesktop.DBus.Peer", "Ping").destination("a.b").unwrap().build(&()).unwrap();
    let misspelled = |from: &[u8], to: &[u8]| {
        let mut bytes = ping.data().to_vec();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to);
        bytes
    };
    // zbus's reader looks at answers by itself.
    let mut answer = misspelled(b"org.freedesktop", b"or'.freedesktop");
    answer[1] = 3;
    for garbage in [
        &answer[..],
        &misspelled(b"Ping", b"P\rng"),
        &misspelled(b"DBus.Peer", b"DBus\rPeer"),
        &misspelled(b"org.freedesktop.DBus", b"org..reedesktop.DBus"),
        &misspelled(b"/x", b"/\xff"),
        &misspelled(b"/x", b"//"),
        &misspelled(b"a.b", b"a b"),
        &b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        b"l\x01\0\x01\xff\xff\xff\xff\x01\0\0\0\xff\xff\xff\xff",
        b"xxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        let mut stream = greeted(&scene);
        stream.write_all(garbage).unwrap();
        let mut rest = Vec::new();
        // Cut, or waiting for the rest of a message that does not come.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    is_served(&mut other);
}

#[test]
fn half_a_message_more_clients_than_there_is_room_for_and_none_is_lost() {
    let scene = Scene::new(&[A]);
    let ping = call("/x", "org.freedesktop.DBus.Peer", "Ping").build(&()).unwrap();
    let mut stream = greeted(&scene);
    let (one, two) = ping.data().split_at(20);
    stream.write_all(one).unwrap();
    let mut others: Vec<UnixStream> = (0..31).map(|_| greeted(&scene)).collect();
    // There is room for 32: this one waits for a place.
    let mut waiting = connect(&scene);
    waiting.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").unwrap();
    for other in &mut others {
        is_served(other);
    }
    stream.write_all(two).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head, [b'l', 2]);
    drop(others);
    let mut said = [0; 43];
    waiting.read_exact(&mut said).unwrap();
    is_served(&mut waiting);
}

/// Bodies, paths and names that fit nothing, or nearly.
#[test]
fn odd_calls_are_answered() {
    let scene = Scene::new(&[A]);
    let mut stream = greeted(&scene);
    let words = || {
        prop_oneof![
            Just(String::new()),
            Just("a.service".to_owned()),
            Just("a@.service".to_owned()),
            Just("-.mount".to_owned()),
            Just("replace".to_owned()),
            Just("org.freedesktop.systemd1.Unit".to_owned()),
            "\\PC{0,20}",
            Just("x".repeat(400)),
        ]
    };
    let path = prop_oneof![
        Just("/org/freedesktop/systemd1".to_owned()),
        Just("/org/freedesktop/systemd1/unit/a_2eservice".to_owned()),
        Just("/org/freedesktop/systemd1/unit/self".to_owned()),
        Just("/".to_owned()),
        "/org/freedesktop/systemd1/(unit|job)/[a-z0-9_]{1,12}",
    ];
    let member = prop_oneof![
        Just("GetUnit"),
        Just("LoadUnit"),
        Just("StartUnit"),
        Just("StopUnit"),
        Just("KillUnit"),
        Just("ListUnitsByPatterns"),
        Just("GetAll"),
        Just("Get"),
        Just("Introspect"),
        Just("EnqueueUnitJob"),
        Just("GetJob"),
        Just("RefUnit"),
        Just("UnrefUnit"),
        Just("ListUnits"),
        Just("SetEnvironment"),
        Just("GetUnitFileState"),
        Just("ListUnitFiles"),
        Just("AttachProcessesToUnit"),
        Just("GetUnitProcesses"),
        Just("Kill"),
        Just("Start"),
        Just("StartTransientUnit"),
    ];
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let stream = std::cell::RefCell::new(&mut stream);
    runner
        .run(&(path, member, words(), words(), any::<i32>(), 0..7_u8), |(path, member, one, two, number, shape)| {
            let builder = zbus::Message::method_call(path, member).unwrap();
            let message = match shape {
                0 => builder.build(&()),
                1 => builder.build(&one),
                2 => builder.build(&(one, two)),
                3 => builder.build(&(one, two, number)),
                4 => builder.build(&(vec![one], vec![two])),
                5 => builder.build(&vec![one, two]),
                _ => builder.build(&(number as u32)),
            }
            .unwrap();
            let mut stream = stream.borrow_mut();
            stream.write_all(message.data()).unwrap();
            // The answer comes after signals, if there are any.
            loop {
                let mut head = [0; 16];
                stream.read_exact(&mut head).unwrap();
                let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
                let rest = number(12).next_multiple_of(8) + number(4);
                stream.read_exact(&mut vec![0; rest]).unwrap();
                if matches!(head[1], 2 | 3) {
                    return Ok(());
                }
            }
        })
        .unwrap();
    assert!(scene.systemctl(&["is-system-running"]).contains("running"));
}
