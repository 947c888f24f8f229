// SPDX-License-Identifier: GPL-2.0-or-later
//! The codec against bytes that were put together by hand from the kernel's header, against itself for whatever can be
//! said, and against rubbish.
#![cfg(target_endian = "little")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use ssi_ipvs::Command;
use ssi_ipvs::codec::{decode_daemon, decode_destination, decode_info, decode_service, decode_timeouts};
use ssi_ipvs::types::*;

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// An attribute of this kind around others: its length counts its own head.
fn around(kind: &str, inner: &str) -> Vec<u8> {
    let inner = bytes(inner);
    let length = u16::try_from(inner.len() + 4).unwrap();
    [length.to_le_bytes().to_vec(), bytes(kind), inner].concat()
}

fn web() -> ServiceId {
    ServiceId::Address { protocol: Protocol::Tcp, address: "192.0.2.1".parse().unwrap(), port: 80 }
}

#[test]
fn a_service_as_the_kernel_wants_it() {
    let (number, attributes) = Command::AddService(Service::new(web(), "wlc")).encode();
    assert_eq!(number, 1);
    let expected = around(
        "0180",
        "   0600 0100 0200 0000
            0600 0200 0600 0000
            1400 0300 c0000201 00000000 00000000 00000000
            0600 0400 0050 0000
            0800 0600 776c6300
            0c00 0700 00000000 ffffffff
            0800 0800 00000000
            0800 0900 ffffffff",
    );
    assert_eq!(attributes, expected);
}

#[test]
fn a_persistent_mark_over_ipv6() {
    let service = Service {
        id: ServiceId::Mark { family: Family::V6, mark: 7 },
        scheduler: Some("mh".into()),
        flags: ServiceFlags(ServiceFlags::FALLBACK | ServiceFlags::HASH_PORT),
        persistence: Some(Persistence { timeout_s: 300, prefix: 64, engine: Some("sip".into()) }),
    };
    let (number, attributes) = Command::SetService(service).encode();
    assert_eq!(number, 2);
    let expected = around(
        "0180",
        "   0600 0100 0a00 0000
            0800 0500 07000000
            0700 0600 6d6800 00
            0c00 0700 19000000 ffffffff
            0800 0800 2c010000
            0800 0900 40000000
            0800 0b00 73697000",
    );
    assert_eq!(attributes, expected);
}

#[test]
fn a_destination_in_a_tunnel() {
    let destination = Destination {
        id: DestinationId { address: "2001:db8::5".parse().unwrap(), port: 80 },
        forwarding: Forwarding::Tunnel(Tunnel {
            kind: TunnelKind::Gue { port: 6080 },
            checksum: TunnelChecksum::Remote,
        }),
        weight: 100,
        upper: 1000,
        lower: 0,
    };
    let (number, attributes) = Command::AddDestination(web(), destination).encode();
    assert_eq!(number, 5);
    let expected = bytes(
        "3000 0180
            0600 0100 0200 0000
            0600 0200 0600 0000
            1400 0300 c0000201 00000000 00000000 00000000
            0600 0400 0050 0000
         6000 0280
            0600 0b00 0a00 0000
            1400 0100 20010db8 00000000 00000000 00000005
            0600 0200 0050 0000
            0800 0300 02000000
            0800 0400 64000000
            0800 0500 e8030000
            0800 0600 00000000
            0500 0d00 01 000000
            0600 0e00 17c0 0000
            0600 0f00 0200 0000",
    );
    assert_eq!(attributes, expected);
    let read = decode_destination(&attributes, Family::V4).unwrap();
    assert_eq!(read.destination, destination);
}

#[test]
fn threads_and_the_rest() {
    let sync = SyncDaemon {
        role: Role::Master,
        interface: "eth1".into(),
        sync_id: 3,
        longest: Some(60),
        group: Some("224.0.0.99".parse().unwrap()),
        port: Some(8849),
        ttl: Some(2),
    };
    let (number, attributes) = Command::StartDaemon(sync.clone()).encode();
    assert_eq!(number, 9);
    let expected = around(
        "0380",
        "   0800 0100 01000000
            0900 0200 6574683100 000000
            0800 0300 03000000
            0600 0400 3c00 0000
            0800 0500 e0000063
            0600 0700 9122 0000
            0500 0800 02 000000",
    );
    assert_eq!(attributes, expected);
    assert_eq!(decode_daemon(&attributes), Ok(sync));
    assert_eq!(Command::StopDaemon(Role::Backup).encode(), (10, bytes("0c00 0380 0800 0100 02000000")));
    let timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
    let (number, attributes) = Command::SetTimeouts(timeouts).encode();
    assert_eq!((number, &attributes), (12, &bytes("0800 0400 84030000 0800 0500 78000000 0800 0600 2c010000")));
    assert_eq!(decode_timeouts(&attributes), Ok(timeouts));
    assert_eq!(Command::Flush.encode(), (17, Vec::new()));
    assert_eq!(Command::Zero(None).encode(), (16, Vec::new()));
    assert_eq!(Command::Zero(Some(web())).encode().1, Command::DeleteService(web()).encode().1);
    // The answer's own numbers are those that are nested attributes elsewhere.
    let info = decode_info(&bytes("0800 0100 01020100 0800 0200 00100000"));
    assert_eq!(info, Ok(Info { version: 0x0001_0201, table_size: 4096 }));
}

#[test]
fn what_the_kernel_lists() {
    // As it comes: not marked as nested, the flags with the kernel's own, both kinds of statistics, something unknown.
    let listed = around(
        "0100",
        "   0600 0100 0200 0000
            0600 0200 8400 0000
            1400 0300 c0000202 00000000 00000000 00000000
            0600 0400 01bb 0000
            0900 0600 6e6f6e6500 000000
            0c00 0700 07000000 ffffffff
            0800 0800 2c010000
            0800 0900 ffffff00
            0800 6300 01020304
            4400 0a00
               0800 0100 01000000 0800 0200 02000000 0800 0300 03000000
               0c00 0400 0400000000000000 0c00 0500 0500000000000000
               0800 0600 06000000 0800 0700 07000000
            4c00 0c00
               0c00 0100 0100000001000000 0c00 0200 0200000000000000 0c00 0300 0300000000000000
               0c00 0400 0400000000000000 0c00 0500 0500000000000000 0c00 0600 0600000000000000",
    );
    let read = decode_service(&listed).unwrap();
    let service = Service {
        id: ServiceId::Address { protocol: Protocol::Sctp, address: "192.0.2.2".parse().unwrap(), port: 443 },
        scheduler: None,
        flags: ServiceFlags(ServiceFlags::ONE_PACKET),
        persistence: Some(Persistence { timeout_s: 300, prefix: 24, engine: None }),
    };
    assert_eq!(read.service, service);
    assert_eq!((read.statistics.connections, read.statistics.bytes_out), (0x1_0000_0001, 5));
    assert_eq!((read.statistics.connections_s, read.statistics.bytes_out_s), (6, 0));
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    let by_address = (any::<u16>(), address(), any::<u16>()).prop_map(|(protocol, address, port)| ServiceId::Address {
        protocol: Protocol::of(protocol),
        address,
        port,
    });
    let by_mark = (family(), 1..u32::MAX).prop_map(|(family, mark)| ServiceId::Mark { family, mark });
    prop_oneof![3 => by_address, 1 => by_mark]
}

fn service() -> impl Strategy<Value = Service> {
    let name = || "[a-z]{1,15}".prop_filter("what stands for no scheduler", |name| name != "none");
    let persistence = (1..u32::MAX, 0..=128_u8, prop::option::of(name()));
    (service_id(), prop::option::of(name()), any::<u32>(), prop::option::of(persistence)).prop_map(
        |(id, scheduler, flags, persistence)| Service {
            id,
            scheduler,
            flags: ServiceFlags(flags & !(ServiceFlags::PERSISTENT | ServiceFlags::HASHED)),
            persistence: persistence.map(|(timeout_s, prefix, engine)| Persistence {
                timeout_s,
                prefix: prefix.min(id.family().longest_prefix()),
                engine,
            }),
        },
    )
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    let kind = prop_oneof![
        Just(TunnelKind::IpIp),
        any::<u16>().prop_map(|port| TunnelKind::Gue { port }),
        Just(TunnelKind::Gre),
        (3..=u8::MAX).prop_map(TunnelKind::Other),
    ];
    let checksum = prop_oneof![
        Just(TunnelChecksum::None),
        Just(TunnelChecksum::Outer),
        Just(TunnelChecksum::Remote),
        (3..=u16::MAX).prop_map(TunnelChecksum::Other),
    ];
    prop_oneof![
        Just(Forwarding::Masquerade),
        Just(Forwarding::Local),
        Just(Forwarding::DirectRoute),
        Just(Forwarding::Bypass),
        (kind, checksum).prop_map(|(kind, checksum)| Forwarding::Tunnel(Tunnel { kind, checksum })),
        (5..u32::MAX).prop_map(Forwarding::Other),
    ]
}

proptest! {
    #[test]
    fn a_service_comes_back_as_it_went(service in service()) {
        let (_, attributes) = Command::AddService(service.clone()).encode();
        prop_assert_eq!(attributes.len() % 4, 0);
        prop_assert_eq!(decode_service(&attributes).unwrap().service, service);
    }

    #[test]
    fn a_destination_comes_back_as_it_went(
        id in service_id(), at in address(), port in any::<u16>(), forwarding in forwarding(),
        weight in any::<u32>(), upper in any::<u32>(), lower in any::<u32>(),
    ) {
        let destination = Destination { id: DestinationId { address: at, port }, forwarding, weight, upper, lower };
        let (_, attributes) = Command::SetDestination(id, destination).encode();
        prop_assert_eq!(decode_destination(&attributes, id.family()).unwrap().destination, destination);
    }

    #[test]
    fn rubbish_is_refused_or_read_and_breaks_nothing(rubbish in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_service(&rubbish);
        let _ = decode_destination(&rubbish, Family::V6);
        let _ = decode_daemon(&rubbish);
        let _ = decode_timeouts(&rubbish);
        let _ = decode_info(&rubbish);
    }

    #[test]
    fn a_message_with_one_wrong_byte_breaks_nothing(service in service(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, mut attributes) = Command::AddService(service).encode();
        let at = place.index(attributes.len());
        attributes[at] = byte;
        let _ = decode_service(&attributes);
        attributes.truncate(at);
        let _ = decode_service(&attributes);
    }
}
