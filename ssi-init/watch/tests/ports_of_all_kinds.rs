// SPDX-License-Identifier: GPL-2.0-or-later
//! Real sockets, FIFOs, queues and files are opened as the configuration says, or not at all.

mod scene;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use rustix::net::sockopt;
use scene::{config, readable, readable_now, unit};
use ssi_manager::core::Event;
use ssi_manager::core::system::{FdKey, SystemError};
use ssi_unit::config::SocketConfig;
use ssi_unit::config::socket::{BindIpv6Only, Listen, SocketAddress, SocketStyle};
use ssi_watch::ports::{self, Opened, Owners, Ports};

fn nobody_known() -> Owners<'static> {
    Owners { user: &|_| None, group: &|_| None }
}

fn open(config: &SocketConfig) -> Result<Opened, ssi_watch::error::WatchError> {
    ports::open(config, &BTreeSet::new(), &nobody_known())
}

fn one(config: &SocketConfig) -> OwnedFd {
    let opened = open(config).unwrap();
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    opened.fds.into_iter().next().unwrap().1
}

fn local(style: SocketStyle, path: &Path) -> Listen {
    Listen::Socket(style, SocketAddress::Unix(path.to_str().unwrap().to_owned()))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_local_socket_has_its_mode_and_its_directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/socket");
    let mut config = config(vec![local(SocketStyle::Stream, &path)]);
    (config.socket_mode, config.directory_mode, config.pass_credentials) = (0o660, 0o737, true);
    config.receive_buffer = 70_000;
    let fd = one(&config);
    let file = std::fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    assert_eq!(std::fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o737);
    assert!(ports::same(fd.as_fd(), &config.listen[0]));
    assert!(!ports::same(fd.as_fd(), &local(SocketStyle::SequentialPacket, &path)));
    assert!(!ports::same(fd.as_fd(), &local(SocketStyle::Stream, &dir.path().join("other"))));
    // Both ends of a connection.
    let _client = UnixStream::connect(&path).unwrap();
    let (connection, peer) = ports::accept(fd.as_fd()).unwrap();
    assert_eq!(peer.instance, format!("{}-{}", std::process::id(), rustix::process::geteuid().as_raw()));
    assert_eq!((peer.address, peer.port), (None, None));
    assert!(sockopt::socket_passcred(&connection).unwrap(), "what the listening socket has");
    assert_eq!(sockopt::socket_recv_buffer_size(&connection).unwrap(), 140_000);
    let nobody = ports::accept(fd.as_fd()).unwrap_err();
    assert_eq!(SystemError::from(nobody).errno, rustix::io::Errno::AGAIN.raw_os_error());
    assert!(ports::remove(&config).is_empty() && !path.exists());
    assert!(ports::remove(&config).is_empty(), "what is gone need not be removed");
}

#[test]
fn a_stale_socket_is_replaced_and_one_that_is_kept_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let config = config(vec![local(SocketStyle::Datagram, &path), local(SocketStyle::Stream, &dir.path().join("two"))]);
    drop(open(&config).unwrap());
    let before = std::fs::metadata(&path).unwrap().ino();
    let opened = ports::open(&config, &BTreeSet::from([0]), &nobody_known()).unwrap();
    assert_eq!(opened.fds.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1]);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
    let again = open(&config).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"hello", &path).unwrap();
    assert!(readable(again.fds[0].1.as_fd()));
}

#[test]
fn all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (socket, fifo) = (at("socket"), at("fifo"));
    let mut config = config(vec![
        local(SocketStyle::Stream, &socket),
        Listen::Fifo(fifo.to_str().unwrap().into()),
        Listen::MessageQueue(format!("/ssi-watch-{}", std::process::id())),
        Listen::Special(at("missing").to_str().unwrap().into()),
    ]);
    config.symlinks = vec![at("link").to_str().unwrap().into()];
    let error = open(&config).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("No such file"), "{error}");
    assert!(!socket.exists() && !fifo.exists() && !at("link").exists());
    // The queue is gone as well: a new one can be made with another mode.
    config.listen.remove(3);
    config.socket_mode = 0o600;
    let opened = open(&config).unwrap();
    assert_eq!(opened.fds.len(), 3);
    assert!(!at("link").exists(), "of two paths none is what a link is for");
    for ((place, fd), listen) in opened.fds.iter().zip(&config.listen) {
        assert!(ports::same(fd.as_fd(), listen), "{place}");
    }
    assert!(ports::remove(&config).is_empty());
    config.socket_mode = 0o644;
    open(&config).unwrap();
    assert!(ports::remove(&config).is_empty());
}

#[test]
fn owners_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let fifo = dir.path().join("fifo");
    let mut config = config(vec![local(SocketStyle::Stream, &path), Listen::Fifo(fifo.to_str().unwrap().into())]);
    config.user = Some("web".into());
    let owners = Owners { user: &|name| (name == "web").then_some((12345, 12346)), group: &|_| Some(777) };
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root may give files away");
        return;
    }
    let opened = ports::open(&config, &BTreeSet::new(), &owners).unwrap();
    for place in [&path, &fifo] {
        let file = std::fs::metadata(place).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (12345, 12346, 0o666));
    }
    drop(opened);
    // The FIFO stays from one start to the next; with another group it is somebody else's.
    ports::open(&config, &BTreeSet::new(), &owners).unwrap();
    config.group = Some("other".into());
    let error = ports::open(&config, &BTreeSet::new(), &owners).unwrap_err().to_string();
    assert!(error.contains("no FIFO of this mode and owner"), "{error}");
    config.user = Some("stranger".into());
    let error = ports::open(&config, &BTreeSet::new(), &owners).unwrap_err().to_string();
    assert!(error.contains("SocketUser=stranger"), "{error}");
}

#[test]
fn links_to_the_one_path() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut config = config(vec![local(SocketStyle::Stream, &dir.path().join("socket"))]);
    config.symlinks = vec![at("one"), at("sub/two")];
    std::fs::write(at("one"), "in the way").unwrap();
    let opened = open(&config).unwrap();
    assert_eq!(opened.notes.len(), 1, "{:?}", opened.notes);
    assert_eq!(std::fs::read_link(at("sub/two")).unwrap(), Path::new(&at("socket")));
    config.remove_on_stop = true;
    assert!(open(&config).unwrap().notes.is_empty());
    assert_eq!(std::fs::read_link(at("one")).unwrap(), Path::new(&at("socket")));
    ports::remove(&config);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the directory that was made stays");
}

#[test]
fn ports_of_the_internet() {
    let port = free_port();
    let mut config = config(vec![Listen::Socket(SocketStyle::Stream, SocketAddress::V4(Ipv4Addr::LOCALHOST, port))]);
    config.keep_alive = true;
    config.keep_alive_time = Some(std::time::Duration::from_secs(77));
    config.no_delay = true;
    config.ip_ttl = Some(9);
    config.ip_tos = Some(0x10);
    config.priority = Some(3);
    config.reuse_port = true;
    config.free_bind = true;
    config.tcp_congestion = Some("reno".into());
    config.defer_accept = Some(std::time::Duration::from_secs(1));
    let fd = one(&config);
    assert_eq!(sockopt::tcp_keepidle(&fd).unwrap().as_secs(), 77);
    assert!(sockopt::tcp_nodelay(&fd).unwrap() && sockopt::socket_keepalive(&fd).unwrap());
    assert_eq!((sockopt::ip_ttl(&fd).unwrap(), sockopt::ip_tos(&fd).unwrap()), (9, 0x10));
    assert!(sockopt::socket_reuseport(&fd).unwrap() && sockopt::ip_freebind(&fd).unwrap());
    assert_eq!(sockopt::tcp_congestion(&fd).unwrap(), "reno");
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"now it is there").unwrap();
    assert!(readable(fd.as_fd()));
    let (_, peer) = ports::accept(fd.as_fd()).unwrap();
    let from = client.local_addr().unwrap();
    assert_eq!(peer.instance, format!("127.0.0.1:{port}-127.0.0.1:{}", from.port()));
    assert_eq!((peer.address.as_deref(), peer.port), (Some("127.0.0.1"), Some(from.port())));
    // As it is taken now.
    config.reuse_port = false;
    let error = open(&config).unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}: bind(2)")), "{error}");
    assert_eq!(error.errno(), Some(rustix::io::Errno::ADDRINUSE.raw_os_error()));
}

#[test]
fn a_port_alone_takes_both_families() {
    let port = free_port();
    let listen = Listen::Socket(SocketStyle::Stream, SocketAddress::AnyPort(port));
    let mut config = config(vec![listen.clone()]);
    config.bind_ipv6_only = BindIpv6Only::Both;
    let opened = open(&config).unwrap();
    let fd = &opened.fds[0].1;
    assert!(ports::same(fd.as_fd(), &listen));
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (_, peer) = ports::accept(fd.as_fd()).unwrap();
    let from = client.local_addr().unwrap().port();
    assert_eq!(peer.instance, format!("127.0.0.1:{port}-127.0.0.1:{from}"), "by IPv4, whatever the socket is of");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("left out: there is no IPv6 here");
        assert_eq!(opened.notes.len(), 1);
        return;
    }
    let client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    let (_, peer) = ports::accept(fd.as_fd()).unwrap();
    assert_eq!(peer.instance, format!("::1:{port}-::1:{}", client.local_addr().unwrap().port()));
    drop(opened);
    config.bind_ipv6_only = BindIpv6Only::Ipv6Only;
    let _fd = one(&config);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn other_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("ssi-watch-test-{}", std::process::id());
    let kinds = config(vec![
        Listen::Socket(SocketStyle::SequentialPacket, SocketAddress::UnixAbstract(name)),
        Listen::Netlink("route".into(), 1),
        Listen::Netlink("kobject-uevent".into(), 1),
        Listen::Special("/dev/null".into()),
        Listen::Special("/proc/self/mountinfo".into()),
    ]);
    let opened = open(&kinds).unwrap();
    for (place, fd) in &opened.fds {
        for (other, listen) in kinds.listen.iter().enumerate() {
            // What /proc/self leads to is another file at each look.
            assert_eq!(ports::same(fd.as_fd(), listen), *place == other, "{place} {other}");
        }
    }
    let usb = config(vec![Listen::UsbFunction(dir.path().to_str().unwrap().into())]);
    assert!(open(&usb).unwrap_err().to_string().contains("not supported"));
    let vsock = config(vec![Listen::Socket(SocketStyle::Stream, SocketAddress::Vsock(None, 54_321))]);
    match open(&vsock) {
        Ok(opened) => assert!(ports::same(opened.fds[0].1.as_fd(), &vsock.listen[0])),
        Err(error) => println!("left out: no vsock here: {error}"),
    }
    let directory = config(vec![Listen::Special(dir.path().to_str().unwrap().into())]);
    assert!(open(&directory).is_err());
}

#[test]
fn options_that_a_socket_lacks_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(vec![local(SocketStyle::Datagram, &dir.path().join("socket"))]);
    config.no_delay = true;
    config.smack_label = Some("x".into());
    let notes = open(&config).unwrap().notes;
    assert!(notes.len() == 2 && notes[0].contains("SmackLabel=") && notes[1].contains("NoDelay="), "{notes:?}");
}

#[test]
fn what_is_watched_is_told_until_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let config = config(vec![Listen::Fifo(path.to_str().unwrap().into())]);
    let fd = one(&config);
    let (name, key) = (unit("a.socket"), FdKey("socket/a.socket/0".into()));
    let mut watched = Ports::new().unwrap();
    watched.watch(&name, &key, fd.as_fd()).unwrap();
    watched.watch(&name, &key, fd.as_fd()).unwrap();
    assert!(!readable_now(watched.fd()) && watched.events().is_empty());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"hello").unwrap();
    for _ in 0..2 {
        assert!(readable(watched.fd()));
        let events = watched.events();
        assert!(matches!(&events[..], [Event::Port { unit, port }] if *unit == name && *port == key), "{events:?}");
    }
    watched.unwatch(std::slice::from_ref(&key));
    assert!(!readable_now(watched.fd()) && !watched.is_watched(&key));
    watched.watch(&name, &key, fd.as_fd()).unwrap();
    // Whoever else has the FIFO open does not matter, nor that the caller closes its own.
    let mut other = std::fs::File::from(fd.try_clone().unwrap());
    drop(fd);
    watched.unwatch(&[key]);
    assert!(!readable_now(watched.fd()));
    let mut text = [0; 5];
    other.read_exact(&mut text).unwrap();
    let regular = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(watched.watch(&name, &FdKey("x".into()), regular.as_fd()).is_err());
}

#[test]
fn what_waits_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let opened = open(&config(vec![
        local(SocketStyle::Stream, &at("stream")),
        local(SocketStyle::Datagram, &at("datagram")),
        Listen::Fifo(at("fifo").to_str().unwrap().into()),
    ]))
    .unwrap();
    let mut client = UnixStream::connect(at("stream")).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"", at("datagram")).unwrap();
    sender.send_to(b"more", at("datagram")).unwrap();
    std::fs::write(at("fifo"), vec![0; 10_000]).unwrap();
    for (_, fd) in &opened.fds {
        assert!(readable(fd.as_fd()));
        ports::flush(fd.as_fd());
        assert!(!readable_now(fd.as_fd()));
    }
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it was turned away");
}
