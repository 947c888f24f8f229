// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever root calls at the manager's own socket: it hears messages, is cut off when it has no more to say, and the
//! manager goes on.
//!
//! The first byte of an input says what the rest is. Even: bytes as they are, behind the handshake. Odd: calls, each of
//! choices ([`call`]); so most of them are what some method takes, and the others nearly so.
//!
//! What is called may write files, below a folder of its own if all is well: run it as nobody who could do harm.
//! `setpriv --reuid 65534 --clear-groups unshare -r` makes a root that is none.
//!
//! `cargo +nightly fuzz run dispatch fuzz/corpus/dispatch fuzz/seeds/dispatch`, from `ssi-init/bus/`.
#![no_main]

mod scene;

use libfuzzer_sys::fuzz_target;
use scene::methods::METHODS;
use scene::wire::{Choices, Writer};

/// As many calls as that come of one input.
const CALLS: u32 = 12;

const PATHS: [&str; 12] = [
    "/org/freedesktop/systemd1",
    "/org/freedesktop/systemd1/unit/a_2eservice",
    "/org/freedesktop/systemd1/unit/b_2eservice",
    "/org/freedesktop/systemd1/unit/run_2escope",
    "/org/freedesktop/systemd1/unit/a_2esocket",
    "/org/freedesktop/systemd1/unit/self",
    "/org/freedesktop/systemd1/unit/_2d_2eslice",
    "/org/freedesktop/systemd1/unit/0123456789abcdef0123456789abcdef",
    "/org/freedesktop/systemd1/job/1",
    "/org/freedesktop/LogControl1",
    "/org/freedesktop",
    "/",
];

const TEXTS: [&str; 60] = [
    "a.service",
    "b.service",
    "c.service",
    "a.socket",
    "x.target",
    "run.scope",
    "run.service",
    "t@.service",
    "t@1.service",
    "-.mount",
    "-.slice",
    "x.slice",
    "run.timer",
    "none.service",
    "dev-a.device",
    "replace",
    "fail",
    "isolate",
    "flush",
    "ignore-dependencies",
    "replace-irreversibly",
    "main",
    "control",
    "all",
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "org.freedesktop.systemd1.Manager",
    "org.freedesktop.systemd1.Unit",
    "org.freedesktop.systemd1.Service",
    "org.freedesktop.DBus.Properties",
    "LogLevel",
    "ActiveState",
    "RuntimeWatchdogUSec",
    "Description",
    "ExecStart",
    "PIDs",
    "Wants",
    "After",
    "Slice",
    "RemainAfterExit",
    "Type",
    "oneshot",
    "/bin/true",
    "/bin/sleep",
    "A=b c",
    "A",
    "*",
    "[a-",
    "enable-only",
    "full",
    "wants",
    "requires",
    "active",
    "/",
    "../../x",
    "",
];

/// A call: path, interface, method and signature of a table or of the input's own letters, and values for the signature or
/// bytes that are none.
fn call(choices: &mut Choices<'_>, serial: u32) -> Vec<u8> {
    let (interface, member, takes) = choices.of(METHODS);
    let odd = choices.byte();
    let mut path = if odd & 1 == 0 { PATHS[0].to_owned() } else { choices.text(&PATHS) };
    if !interface.ends_with("Manager") && odd & 2 == 0 {
        path = choices.of(&PATHS).to_owned();
    }
    let interface = if odd & 4 == 0 { interface.to_owned() } else { choices.text(&TEXTS) };
    let signature =
        if odd & 24 == 24 { choices.of(&["", "s", "ss", "as", "a(sv)", "ssa(sv)a(sa(sv))", "v"]) } else { takes };
    let flags = if odd & 32 == 0 { 0 } else { choices.byte() };
    let mut body = Writer { bytes: Vec::new(), choices, known: &TEXTS };
    if odd & 192 == 192 {
        let count = usize::from(body.choices.byte());
        body.bytes.extend(body.choices.bytes(count));
    } else {
        let mut rest = signature;
        while !rest.is_empty() {
            rest = body.value(rest, 0);
        }
    }
    let body = body.bytes;
    let mut head = Writer { bytes: vec![b'l', 1, flags, 1], choices, known: &[] };
    head.bytes.extend((body.len() as u32).to_le_bytes());
    head.bytes.extend(serial.to_le_bytes());
    head.bytes.extend([0; 4]);
    for (code, kind, text) in
        [(1_u8, "o", path.as_str()), (2, "s", interface.as_str()), (3, "s", member), (8, "g", signature)]
    {
        if text.is_empty() {
            continue;
        }
        head.bytes.resize(head.bytes.len().next_multiple_of(8), 0);
        head.bytes.push(code);
        head.signature(kind);
        if kind == "g" { head.signature(text) } else { head.string(text) }
    }
    let mut bytes = head.bytes;
    let fields = (bytes.len() - 16) as u32;
    bytes[12..16].copy_from_slice(&fields.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let mut said = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
    if kind % 2 == 0 {
        said.extend(rest);
    } else {
        let mut choices = Choices(rest);
        for serial in 1..=CALLS {
            if choices.0.is_empty() {
                break;
            }
            said.extend(call(&mut choices, serial));
        }
    }
    let heard = scene::heard(&said);
    let (lines, rest) = scene::lines(&heard);
    assert!(lines.len() == 2 && lines[0] == "DATA" && lines[1].starts_with("OK "), "{lines:?}");
    assert!(scene::are_messages(rest), "{:?}", String::from_utf8_lossy(rest));
});
