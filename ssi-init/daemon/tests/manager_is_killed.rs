// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager is killed again and again, under a load of services that die, are started and stopped, and with clients
//! at its sockets: no service that should run is down, no exit is lost, no connection is refused, no state is wrong.
//!
//! As many times as `KILLS` says; 40 unless told. The thousand of a release:
//! `KILLS=1000 cargo test -p ssi-init-manager --test manager_is_killed`.

mod stage;

use stage::{Player, Scene, play_for};
use std::time::Duration;

/// Dies by itself after a moment, with a status that it writes down before (nothing comes between the two), and is started
/// again.
const MORTAL: &str = r#"
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
Restart=always
RestartSec=30ms
ExecStart=/bin/bash -c 'sleep 0.$$((RANDOM %% 300)); s=$$((RANDOM %% 7)); trap "" TERM; echo $INVOCATION_ID $$s %n $$$$ >>/run/exits; exit $$s'
ExecStopPost=/bin/bash -c '[ "$EXIT_CODE" = exited ] && echo $INVOCATION_ID $EXIT_STATUS >>/run/posts; true'
"#;

const LASTING: &str = r"
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sleep 100000
";

const SCRIPT: &str = r#"
cat >/tmp/clients.py <<'P'
import os, socket, time
done = refused = wrong = 0
while not os.path.exists("/run/stop"):
    for path in ("/run/each.sock", "/run/one.sock"):
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(100)
                client.connect(path)
                client.sendall(b"hello\n")
                client.shutdown(socket.SHUT_WR)
                # A connection that was taken by a manager that died in that moment ends without a word.
                if client.recv(100) == b"hello\n": done += 1
                else: wrong += 1
        except ConnectionRefusedError: refused += 1
        except (ConnectionResetError, BrokenPipeError): wrong += 1
    time.sleep(0.01)
open("/run/clients", "w").write(f"{done} {refused} {wrong}")
P
cat >/tmp/server.py <<'P'
import socket
listening = socket.socket(fileno=3)
while True:
    client, _ = listening.accept()
    try: client.sendall(client.recv(100))
    except OSError: pass
    client.close()
P
again() { until systemctl "$@" 2>/dev/null; do sleep 0.02; [ -e /run/stop ] && return; done; }
# A process that the manager has just made runs its program too, for a moment, but is in another control group.
kill_manager() {
	for pid in $(pidof ssi-init-manager); do grep -q init.scope /proc/$pid/cgroup 2>/dev/null && kill -9 $pid && return; done
	false
}
systemctl start each.socket one.socket mortal@{1..6}.service lasting@{1..6}.service
declare -A pid
for n in 1 2 3 4 5 6; do pid[$n]=$(systemctl show -P MainPID lasting@$n.service); done
python3 /tmp/clients.py & clients=$!
(while [ ! -e /run/stop ]; do for n in 1 2 3; do again start extra@$n.service; done; for n in 1 2 3; do again stop extra@$n.service; done; done) &
switch=$!
for run in $(seq @KILLS@); do
	until kill_manager; do sleep 0.01; done
	kills=$((kills + 1))
	sleep 0.$((RANDOM % 4))$((RANDOM % 10))
done
touch /run/stop
wait $clients $switch
until systemctl list-units >/dev/null 2>&1; do sleep 0.1; done
sleep 1
for n in 1 2 3 4 5 6; do
	[ "$(systemctl show -P MainPID lasting@$n.service)" = "${pid[$n]}" ] && kill -0 ${pid[$n]} && lives=$((lives + 1))
done
seen "lasting services that were never touched: $lives"
for n in 1 2 3; do again start extra@$n.service; done
seen "extra: $(systemctl is-active extra@1.service extra@2.service extra@3.service | tr '\n' ' ')"
for n in 1 2 3; do again stop extra@$n.service; done
seen "extra: $(systemctl is-active extra@1.service extra@2.service extra@3.service | tr '\n' ' ')"
for n in 1 2 3 4 5 6; do s=$(systemctl is-active mortal@$n.service); [ $s = active -o $s = activating -o $s = deactivating ] && up=$((up + 1)); done
seen "mortal services that live or are about to: $up"
systemctl stop 'mortal@*.service'
cut -d " " -f 1,2 /run/exits | sort -u >/run/exits.sorted; sort -u /run/posts >/run/posts.sorted
comm -23 /run/exits.sorted /run/posts.sorted | grep -F -f - /run/exits | sed "s/^/nobody heard of: /"
seen "exits that nobody heard of: $(comm -23 /run/exits.sorted /run/posts.sorted | wc -l)"
read done refused wrong </run/clients
seen "kills: $kills"
seen "refused: $refused"
[ $done -gt 0 ]; seen "served: $?"
seen "failed units: $(systemctl list-units --failed --plain --no-legend | grep -v mortal | wc -l)"
seen "processes left over: $(pgrep -c -f 'sleep 100000')"
echo "exits $(wc -l </run/exits.sorted), clients served $done, cut off $wrong"
"#;

fn unit(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn nothing_is_lost() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: namespaces take root");
        return;
    }
    let kills: u32 = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let socket = |path: &str, accept: &str| {
        format!(
            "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream={path}\nAccept={accept}\nMaxConnections=1000\nTriggerLimitBurst=0\n"
        )
    };
    let scene = Scene {
        name: "kills".to_owned(),
        units: vec![
            unit("mortal@.service", MORTAL),
            unit("lasting@.service", LASTING),
            unit("extra@.service", LASTING),
            unit("each.socket", &socket("/run/each.sock", "yes")),
            unit(
                "each@.service",
                "[Unit]\nDefaultDependencies=no\nCollectMode=inactive-or-failed\n[Service]\nStandardInput=socket\nExecStart=-/bin/cat\n",
            ),
            unit("one.socket", &socket("/run/one.sock", "no")),
            unit(
                "one.service",
                "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/bin/python3 /tmp/server.py\n",
            ),
        ],
        script: SCRIPT.replace("@KILLS@", &kills.to_string()),
        // No pauses: the next manager is killed while it takes over, too.
        words: "ssi.init.restart_max=0 ssi.init.quick_deaths=0",
    };
    let played = play_for(&scene, Player::SsiInit, Duration::from_secs(60 + u64::from(kills)));
    let expected = format!(
        "lasting services that were never touched: 6\nextra: active active active \n\
                    extra: inactive inactive inactive \nmortal services that live or are about to: 6\n\
                    exits that nobody heard of: 0\nkills: {kills}\nrefused: 0\nserved: 0\nfailed units: 0\nprocesses left over: 6\n"
    );
    eprintln!("{}", played.console.lines().last().unwrap_or_default());
    assert!(played.finished, "it did not come to its end:\n{}\n{}", played.seen, played.console);
    assert_eq!(played.seen, expected, "{}", played.console);
}
