// SPDX-License-Identifier: GPL-2.0-or-later
//! A chain of units that moves as one, `ha.target`: what stands for a disk, a mount, a service and the address that it is
//! asked at; and a client that asks for what it serves.

use std::path::Path;

use anyhow::{Context as _, Result};
use ssi_lab::{Node, SpawnOptions};

use crate::{Cluster, put_unit};

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

/// Started by a socket: answers with its node's name, slowly at first.
const LISTENER: &str = r#"#!/usr/bin/perl
use strict; my $host = `hostname`; chomp $host; $| = 1; sleep 1;
open(my $server, '+<&=', 3) or die "no socket was passed: $!\n";
while (accept(my $client, $server)) { syswrite($client, "$host\n"); close $client }
"#;

/// As the other client; tells those refused from those whom nobody heard.
const CALLER: &str = r#"
use strict; use IO::Select; use IO::Socket::INET; use Time::HiRes qw(sleep); $| = 1;
while (1) {
    my $socket = IO::Socket::INET->new(PeerAddr => '10.77.0.51', PeerPort => 8081, Timeout => 10);
    my $refused = !$socket && $!{ECONNREFUSED};
    my $line = $socket && IO::Select->new($socket)->can_read(5) ? <$socket> : undef;
    print defined $line ? $line : $refused ? "refused\n" : "nobody\n"; sleep 0.02;
}
"#;

const PARTS: &str = "ha-disk.service srv-ha.mount ha-web.service ha-address.service";

/// The units of the chain.
fn units(section: &str) -> Vec<(&'static str, String)> {
    let oneshot = "Type=oneshot\nRemainAfterExit=yes\n";
    vec![
        ("ha.target", format!("[Unit]\nBindsTo={PARTS}\nAfter={PARTS}\n{section}")),
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

/// Puts the chain's programs into the shared folder and its units on a node. `takeover` is the line of `TakeoverSec=`.
///
/// # Errors
/// When something cannot be written.
pub fn put(cluster: &Cluster, folder: &Path, number: u32, takeover: &str) -> Result<()> {
    std::fs::create_dir_all(folder.join("ha"))?;
    std::fs::write(folder.join("ha/data"), "hello\n")?;
    for (name, text) in [("claim", CLAIM), ("serve", SERVE), ("announce", ANNOUNCE)] {
        crate::scope::put_program(folder, name, text)?;
    }
    let node = cluster.lab.node(number)?;
    for (name, text) in units(&format!("[X-SSI]\nScope=cluster\n{takeover}Nodes=1 2 3\n")) {
        put_unit(&node, name, &text)?;
    }
    node.check(&["systemctl", "daemon-reload"]).context("reading the chain's units")?;
    Ok(())
}

/// Starts the client. Its log has a line for each request: who answered and what, or `nobody`.
///
/// # Errors
/// When it cannot be started.
pub fn client(cluster: &Cluster) -> Result<Node> {
    let client = cluster.lab.client();
    client.put("/tmp/client.pl", CLIENT, 0o644)?;
    client.spawn("client", &["perl", "/tmp/client.pl"], SpawnOptions::default())?;
    Ok(client)
}

/// Puts a second chain onto a node, `call.target`: a socket, the service that it starts, and an address that is there only
/// while the socket is.
///
/// # Errors
/// When something cannot be written.
pub fn put_socket(cluster: &Cluster, folder: &Path, number: u32, takeover: &str) -> Result<()> {
    crate::scope::put_program(folder, "listener", LISTENER)?;
    crate::scope::put_program(folder, "announce", ANNOUNCE)?;
    let node = cluster.lab.node(number)?;
    let whole = format!(
        "[Unit]\nBindsTo=call.socket call-address.service\nAfter=call.socket call-address.service\n\
         [X-SSI]\nScope=cluster\n{takeover}Nodes=1 2 3\n"
    );
    put_unit(&node, "call.target", &whole)?;
    put_unit(&node, "call.socket", "[Unit]\nPartOf=call.target\n[Socket]\nListenStream=8081\n")?;
    put_unit(&node, "call.service", "[Service]\nExecStart=/shared/listener\n")?;
    let address = "[Unit]\nPartOf=call.target\nAfter=call.socket\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                   ExecStart=/bin/ip address add 10.77.0.51/24 dev eth0\n\
                   ExecStartPost=/shared/announce eth0 10.77.0.51\n\
                   ExecStop=/bin/ip address del 10.77.0.51/24 dev eth0\n";
    put_unit(&node, "call-address.service", address)?;
    node.check(&["systemctl", "daemon-reload"]).context("reading the chain's units")?;
    Ok(())
}

/// Starts the second chain's client. Its log has a line for each request: who answered, `refused` or `nobody`.
///
/// # Errors
/// When it cannot be started.
pub fn caller(cluster: &Cluster) -> Result<Node> {
    let client = cluster.lab.client();
    client.put("/tmp/caller.pl", CALLER, 0o644)?;
    client.spawn("caller", &["perl", "/tmp/caller.pl"], SpawnOptions::default())?;
    Ok(client)
}
