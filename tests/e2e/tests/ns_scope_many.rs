// SPDX-License-Identifier: GPL-2.0-or-later
//! Fifty units of the cluster at once, and a chain of units that moves as one while a client asks for what it serves.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::scope::{Stage, TAKEOVER};
use ssi_e2e::{eventually, put_unit, wait_off};
use ssi_lab::SpawnOptions;

#[test]
fn fifty_units_are_started_drained_resumed_and_stopped() -> Result<()> {
    let names: Vec<String> = (0..50).map(|number| format!("u{number}")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), TAKEOVER)).collect();
    let stage = Stage::new("s-fifty", 3, &units)?;
    for name in &names {
        stage.ssi(1, &["service", "start", name, "--no-wait"])?;
    }
    let on = |node: u32| -> Result<usize> {
        let services = stage.services(1)?;
        Ok(services.iter().flat_map(|s| &s.instances).filter(|i| i.state == "running" && i.node == Some(node)).count())
    };
    let all = || -> Result<usize> { Ok(on(1)? + on(2)? + on(3)?) };
    eventually("all fifty run", || Ok(all()? == 50)).with_context(|| stage.about(1))?;
    for node in 1..=3 {
        ensure!(on(node)? > 0, "they are spread over all nodes: {}", stage.about(1));
    }
    stage.ssi(1, &["node", "drain", "2", "--timeout", "120s"])?;
    ensure!((on(2)?, all()?) == (0, 50), "{}", stage.about(1));
    stage.ssi(1, &["node", "resume", "2"])?;
    // Nothing comes back by itself; what is started anew may.
    ensure!(on(2)? == 0);
    for name in &names {
        stage.ssi(3, &["service", "stop", name, "--no-wait"])?;
    }
    eventually("all are down", || Ok(all()? == 0)).with_context(|| stage.about(1))?;
    let verdicts = stage.is_clean()?;
    ensure!(verdicts.len() == 50);
    Ok(())
}

/// Refuses who comes with a lower view than was seen: what storage would do with `SSI_VIEW`.
const CLAIM: &str = r#"#!/usr/bin/perl
use strict; use Fcntl qw(:flock); my ($folder) = @ARGV;
open(my $file, '+>>', "$folder/generation") or die $!; flock($file, LOCK_EX); seek($file, 0, 0);
my $last = 0; while (<$file>) { $last = (split)[0] }
die "view $ENV{SSI_VIEW} is older than $last\n" if $ENV{SSI_VIEW} < $last;
print $file "$ENV{SSI_VIEW}\n";
"#;

/// Answers with its node's name, and what is in the mounted folder.
const SERVE: &str = r#"#!/usr/bin/perl
use strict; use IO::Socket::INET; my $host = `hostname`; chomp $host; $| = 1;
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die "listen: $!";
while (my $client = $server->accept) {
    open(my $data, '<', '/srv/ha/data') or exit 1; my $text = <$data>;
    print $client "$host $text"; close $client;
}
"#;

/// Tells the neighbours where an address is now (RFC 5227, announcing).
const ANNOUNCE: &str = r#"#!/usr/bin/perl
use strict; use Socket; my ($card, $address) = @ARGV;
sub first { open(my $file, '<', "/sys/class/net/$card/$_[0]") or die $!; my $line = <$file>; chomp $line; $line }
my $mac = pack('H12', first('address') =~ s/://gr); my $all = "\xff" x 6; my $ip = inet_aton($address);
socket(my $socket, 17, SOCK_RAW, unpack('S', pack('n', 0x0806))) or die "socket: $!";
my $to = pack('SnisCCa8', 17, 0x0806, first('ifindex'), 1, 0, 6, $all);
my $frame = $all . $mac . pack('n', 0x0806) . pack('nnCCn', 1, 0x0800, 6, 4, 1) . $mac . $ip . $all . $ip;
send($socket, $frame, 0, $to) or die "send: $!";
"#;

/// Asks again and again, and writes down who answered, or that nobody did.
const CLIENT: &str = r#"
use strict; use IO::Socket::INET; use Time::HiRes qw(sleep); $| = 1;
while (1) {
    my $socket = IO::Socket::INET->new(PeerAddr => '10.77.0.50', PeerPort => 8080, Timeout => 1);
    my $line = $socket ? <$socket> : undef;
    print defined $line ? $line : "nobody\n"; sleep 0.05;
}
"#;

const PARTS: &str = "ha-disk.service srv-ha.mount ha-web.service ha-address.service";

fn chain() -> Vec<(&'static str, String)> {
    let oneshot = "Type=oneshot\nRemainAfterExit=yes\n";
    vec![
        (
            "ha.target",
            format!("[Unit]\nBindsTo={PARTS}\nAfter={PARTS}\n[X-SSI]\nScope=cluster\n{TAKEOVER}Nodes=1 2 3\n"),
        ),
        (
            "ha-disk.service",
            format!(
                "[Unit]\nPartOf=ha.target\n[Service]\n{oneshot}ExecStart=/shared/claim /shared\nExecStop=/bin/true\n"
            ),
        ),
        (
            "srv-ha.mount",
            "[Unit]\nPartOf=ha.target\nRequires=ha-disk.service\nAfter=ha-disk.service\n\
             [Mount]\nWhat=/shared/ha\nWhere=/srv/ha\nType=none\nOptions=bind\n"
                .to_owned(),
        ),
        (
            "ha-web.service",
            "[Unit]\nPartOf=ha.target\nRequires=srv-ha.mount\nAfter=srv-ha.mount\n\
             [Service]\nExecStart=/shared/serve\nRestart=on-failure\n"
                .to_owned(),
        ),
        (
            "ha-address.service",
            format!(
                "[Unit]\nPartOf=ha.target\nAfter=ha-web.service\n[Service]\n{oneshot}\
                 ExecStart=/bin/ip address add 10.77.0.50/24 dev eth0\n\
                 ExecStartPost=/shared/announce eth0 10.77.0.50\n\
                 ExecStop=/bin/ip address del 10.77.0.50/24 dev eth0\n"
            ),
        ),
    ]
}

#[test]
fn a_chain_of_disk_mount_service_and_address_moves_as_one() -> Result<()> {
    let stage = Stage::new("s-chain", 3, &[])?;
    std::fs::create_dir_all(stage.folder().join("ha"))?;
    std::fs::write(stage.folder().join("ha/data"), "hello\n")?;
    for (name, text) in [("claim", CLAIM), ("serve", SERVE), ("announce", ANNOUNCE)] {
        stage.put_program(name, text)?;
    }
    for number in 1..=3 {
        let node = stage.cluster.lab.node(number)?;
        for (name, text) in chain() {
            put_unit(&node, name, &text)?;
        }
        node.check(&["systemctl", "daemon-reload"])?;
    }
    stage.ssi(2, &["service", "start", "ha.target", "--timeout", "60s"])?;
    let client = stage.cluster.lab.client();
    client.put("/tmp/client.pl", CLIENT, 0o644)?;
    client.spawn("client", &["perl", "/tmp/client.pl"], SpawnOptions::default())?;
    let answers = || -> Result<Vec<String>> { Ok(client.log("client")?.lines().map(str::to_owned).collect()) };
    let answered_by = |node: u32| {
        eventually(&format!("node {node} answers the client"), || {
            Ok(answers()?.last().is_some_and(|line| line.trim() == format!("node{node} hello")))
        })
        .with_context(|| stage.about(1))
    };
    answered_by(1)?;
    // By hand on another node, nothing of it starts.
    let other = stage.cluster.lab.node(2)?;
    other.exec(&["systemctl", "start", "ha-web.service"])?;
    ensure!(!other.exec(&["systemctl", "is-active", "ha-web.service"])?.success());
    // A planned move: all of it ends there before any of it begins here.
    stage.ssi(3, &["service", "move", "ha.target", "--to", "2", "--timeout", "60s"])?;
    answered_by(2)?;
    let left = stage.cluster.lab.node(1)?.exec(&["findmnt", "-rn", "/srv/ha"])?.text();
    ensure!(left.is_empty(), "{left}");
    // A part that fails for good takes the whole elsewhere.
    let node = stage.cluster.lab.node(2)?;
    for _ in 0..8 {
        node.exec(&["systemctl", "kill", "--signal=SIGKILL", "ha-web.service"])?;
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    eventually("it runs elsewhere", || {
        let last = answers()?.last().cloned().unwrap_or_default();
        Ok(last.ends_with("hello") && !last.starts_with("node2"))
    })
    .with_context(|| stage.about(1))?;
    // The plug of the node where it is.
    let place = answers()?.last().and_then(|line| line.strip_prefix("node")?.split(' ').next()?.parse::<u32>().ok());
    let place = place.context("nobody answers")?;
    stage.cluster.power_off(place)?;
    eventually("another node answers", || {
        let last = answers()?.last().cloned().unwrap_or_default();
        Ok(last.ends_with("hello") && !last.starts_with(&format!("node{place}")))
    })?;
    stage.cluster.power_on(place)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    // Every node is started anew in turn.
    let before = answers()?.len();
    for node in 1..=3 {
        let asked = if node == 1 { 2 } else { 1 };
        stage.ssi(asked, &["node", "drain", &node.to_string(), "--timeout", "120s"])?;
        stage.cluster.lab.node(node)?.exec(&["systemctl", "poweroff"])?;
        wait_off(&stage.cluster.lab, node)?;
        stage.cluster.wait_state(asked, node, "DOWN")?;
        stage.cluster.power_on(node)?;
        stage.cluster.all_see_up(&[1, 2, 3], 3)?;
        stage.ssi(asked, &["node", "resume", &node.to_string()])?;
    }
    eventually("it is served", || Ok(answers()?.last().is_some_and(|line| line.ends_with("hello"))))?;
    let during = answers()?.split_off(before);
    let failed = during.iter().filter(|line| *line == "nobody").count();
    println!("rolling reboot: {failed} of {} requests failed", during.len());
    ensure!(failed < during.len() / 2, "{failed} of {} failed", during.len());
    let generations = std::fs::read_to_string(stage.folder().join("generation"))?;
    let views: Vec<u64> = generations.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(views.len() >= 4 && views.is_sorted(), "{views:?}");
    Ok(())
}
