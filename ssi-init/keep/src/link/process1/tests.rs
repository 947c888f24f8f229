// SPDX-License-Identifier: GPL-2.0-or-later
//! With a test at the other end of the socket; `tests/manager_killed.rs` has the real process 1 there.

use super::super::outbox::WAITING_MAX;
use super::super::{Counters, Exit, Greeting, Signal, Why};
use super::*;
use rustix::net::SocketFlags;
use std::os::fd::OwnedFd;

/// What process 1 heard: the message, as text, and if a descriptor came with it.
fn heard(other: &Socket) -> Vec<String> {
    let mut packet = Packet::new();
    let mut heard = vec![];
    while other.receive(&mut packet).unwrap_or(false) {
        let fd = packet.take_fd();
        heard.push(format!("{:?} {}", ToPid1::decode(packet.bytes()).unwrap(), fd.is_some()));
    }
    heard
}

fn pair() -> (Process1, Socket) {
    let (ours, theirs) = Socket::pair(SocketFlags::empty()).unwrap();
    ioctl_fionbio(&theirs, true).unwrap();
    (Process1::over(ours).unwrap(), theirs)
}

fn say(other: &Socket, message: FromPid1<'_>, fd: Option<&OwnedFd>) {
    other.send(&message.encode(), fd.map(AsFd::as_fd)).unwrap();
}

fn pong(number: u64) -> FromPid1<'static> {
    FromPid1::Pong(Counters { number, ..Counters::default() })
}

fn greeting() -> Greeting {
    Greeting { version: 1, ..Greeting::default() }
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn the_handover_is_collected_and_what_was_told_before_it_is_put_right() {
    let (mut link, other) = pair();
    let exit = Exit { seq: 7, pid: 42, ..Exit::default() };
    let signal = Signal { number: 1, ..Signal::default() };
    // To the program from before an exec, which did not live to the end of its own handover.
    say(&other, FromPid1::Kept { name: Name::new(b"old").unwrap() }, Some(&null()));
    say(&other, FromPid1::HandedOver, None);
    say(&other, FromPid1::Exit(exit), None);
    say(&other, FromPid1::Signal(signal), None);
    say(&other, pong(3), None);
    say(&other, FromPid1::Hello(Greeting { silence_ms: 4000, kept: 2, ..greeting() }), None);
    say(&other, FromPid1::Kept { name: Name::new(b"a").unwrap() }, Some(&null()));
    // One whose descriptor did not arrive.
    say(&other, FromPid1::Kept { name: Name::new(b"b").unwrap() }, None);
    say(&other, FromPid1::Snapshot, Some(&null()));
    say(&other, FromPid1::HandedOver, None);
    say(&other, FromPid1::Exit(exit), None);
    let handover = link.hello(Duration::from_secs(5)).unwrap();
    assert_eq!(handover.kept.keys().collect::<Vec<_>>(), [b"a"]);
    assert_eq!(handover.lost, [b"b"]);
    assert!(handover.snapshot.is_some());
    assert_eq!(link.receive(), Ok(Some(Event::Signal(signal))));
    assert_eq!(link.receive(), Ok(Some(Event::Exit(exit))), "once: as it is told after the handover");
    assert_eq!(link.receive(), Ok(None));
    drop(other);
    assert_eq!(link.receive(), Err(LinkError::Gone));
    assert_eq!(link.ack(7), Err(LinkError::Gone));
}

#[test]
fn a_log_that_got_lost_is_not_taken_for_none() {
    let (mut link, other) = pair();
    for message in [FromPid1::Hello(greeting()), FromPid1::Snapshot, FromPid1::HandedOver] {
        say(&other, message, None);
    }
    assert_eq!(link.hello(Duration::from_secs(5)).unwrap_err(), LinkError::SnapshotLost);
}

#[test]
fn a_greeting_that_is_not_understood_is_an_error() {
    let (mut link, other) = pair();
    say(&other, FromPid1::Hello(Greeting::default()), None);
    say(&other, FromPid1::HandedOver, None);
    let error = link.hello(Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, LinkError::Greeting(_)), "{error}");
}

#[test]
fn a_silent_process_1_is_not_waited_for_without_end() {
    let (mut link, other) = pair();
    let begun = Instant::now();
    let error = link.hello(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, LinkError::Silent { .. }), "{error}");
    assert!((50..5000).contains(&begun.elapsed().as_millis()));
    assert_eq!(heard(&other), ["Hello { version: 1 } false"]);
}

#[test]
fn what_waits_is_sent_later_in_order_and_with_its_descriptors() {
    let (mut link, other) = pair();
    let fd = null();
    let mut said = vec![];
    for number in 0..3000_u64 {
        if number % 3 == 0 {
            let name = format!("{number}");
            link.keep(Name::new(name.as_bytes()).unwrap(), fd.as_fd()).unwrap();
            said.push(format!("{:?} true", ToPid1::Keep { name: Name::new(name.as_bytes()).unwrap() }));
        } else {
            link.ack(number).unwrap();
            said.push(format!("{:?} false", ToPid1::Ack { seq: number }));
        }
    }
    assert!(!link.is_flushed() && link.interest().write);
    let error = link.before_exec(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, LinkError::Silent { .. }), "an exec would lose what waits: {error}");
    let mut all = vec![];
    while all.len() < said.len() {
        let some = heard(&other);
        assert!(!some.is_empty(), "{} of {}", all.len(), said.len());
        all.extend(some);
        assert_eq!(link.receive(), Ok(None));
    }
    assert!(all == said, "in order");
    assert!(link.is_flushed() && !link.interest().write);
    link.before_exec(Duration::from_millis(20)).unwrap();
    assert_eq!(rustix::io::fcntl_getfd(&link).unwrap(), FdFlags::empty());
    link.exec_failed();
    assert_eq!(rustix::io::fcntl_getfd(&link).unwrap(), FdFlags::CLOEXEC);
}

#[test]
fn no_more_waits_than_may_and_acknowledgements_always_find_room() {
    let (mut link, other) = pair();
    let name = Name::new(b"x").unwrap();
    let sent = (0..100_000).take_while(|_| link.forget(name).is_ok()).count();
    assert!((WAITING_MAX..WAITING_MAX + 2000).contains(&sent), "{sent}");
    assert_eq!(link.forget(name), Err(LinkError::Full));
    assert_eq!(link.keep(name, null().as_fd()), Err(LinkError::Full));
    link.ack(5).unwrap();
    let taken = heard(&other).len();
    assert!(taken > 0);
    link.forget(name).unwrap();
    assert!(!link.is_flushed());
}

#[test]
fn the_fate_of_each_snapshot_is_told() {
    let (mut link, other) = pair();
    let file = null();
    link.snapshot(file.as_fd()).unwrap();
    link.snapshot(file.as_fd()).unwrap();
    let number = link.ping().unwrap();
    let said = ["Snapshot true", "Ping { number: 1 } false", "Snapshot true", "Ping { number: 2 } false"];
    assert_eq!(heard(&other)[..4], said);
    assert_eq!(link.receive(), Ok(None), "nothing is known yet");
    let refusal = |kind| Refusal { kind, why: Why::NoDescriptor, errno: 0 };
    // A refusal of something else in between is that of something else.
    say(&other, FromPid1::Refused(refusal(2)), None);
    say(&other, FromPid1::Refused(refusal(4)), None);
    say(&other, pong(1), None);
    say(&other, pong(2), None);
    say(&other, pong(number), None);
    let mut events = vec![];
    while let Some(event) = link.receive().unwrap() {
        events.push(event);
    }
    let last = Event::Pong(Counters { number, ..Counters::default() });
    let wanted = [Event::Refused(refusal(2)), Event::SnapshotRefused(refusal(4)), Event::SnapshotHeld, last];
    assert_eq!(events, wanted);
}

#[test]
fn a_ping_is_due_after_a_quarter_of_the_silence_and_only_without_other_words() {
    let (mut link, other) = pair();
    assert_eq!(link.next_deadline(), None, "before hello nothing is known");
    say(&other, FromPid1::Hello(Greeting { silence_ms: 4000, ..greeting() }), None);
    say(&other, FromPid1::HandedOver, None);
    link.hello(Duration::from_secs(5)).unwrap();
    assert_eq!(heard(&other).len(), 1);
    let due = link.next_deadline().unwrap();
    let left = due.saturating_duration_since(Instant::now());
    assert!(left <= Duration::from_secs(1) && left > Duration::from_millis(500), "{left:?}");
    link.tick(due - Duration::from_millis(1)).unwrap();
    assert_eq!(heard(&other), [""; 0]);
    link.tick(due).unwrap();
    assert_eq!(heard(&other), ["Ping { number: 1 } false"]);
    std::thread::sleep(Duration::from_millis(5));
    link.ack(9).unwrap();
    assert!(link.next_deadline().unwrap() > due - Duration::from_secs(1), "any word will do");
}

#[test]
fn requests_are_those_of_the_protocol() {
    let (mut link, other) = pair();
    link.watchdog(Duration::from_secs(8), None).unwrap();
    link.watchdog(Duration::ZERO, Some(Duration::MAX)).unwrap();
    link.reexec().unwrap();
    link.shutdown(How::Reboot, 3, None).unwrap();
    let for_ever = ToPid1::PET_FOR_EVER;
    let said = [
        format!("Watchdog {{ timeout_ms: 8000, pet_for_ms: {for_ever} }} false"),
        format!("Watchdog {{ timeout_ms: 0, pet_for_ms: {} }} false", for_ever - 1),
        "Reexec false".to_owned(),
        "Shutdown { how: Reboot, status: 3 } false".to_owned(),
    ];
    assert_eq!(heard(&other), said);
    link.shutdown(How::Reboot, 0, Some(b"recovery")).unwrap();
    let mut packet = Packet::new();
    assert!(other.receive(&mut packet).unwrap());
    let mut text = [0; 20];
    let size = rustix::io::pread(packet.take_fd().unwrap(), &mut text, 0).unwrap();
    assert_eq!(&text[..size], b"recovery");
}

#[test]
fn what_is_not_understood_is_told_and_passed_over() {
    let (mut link, other) = pair();
    rustix::net::send(&other, &[0; 8], rustix::net::SendFlags::empty()).unwrap();
    say(&other, pong(9), None);
    assert!(matches!(link.receive(), Ok(Some(Event::Unreadable(_)))));
    assert!(matches!(link.receive(), Ok(Some(Event::Pong(_)))));
}
