// SPDX-License-Identifier: GPL-2.0-or-later
//! The Linux kernel's IP virtual server (IPVS) over generic netlink.
//!
//! IPVS hands the connections that come to one address and port (a *service*) on to one of several *destinations*, which are
//! the real servers. It is configured by the generic netlink family `IPVS`; this crate has the words of it as types
//! ([`types`]), what they are on the wire ([`codec`]), and a socket that speaks with a kernel ([`Client`]).
//!
//! What the kernel may know in a later version is kept: a scheduler is a name, numbers that mean nothing here have a variant
//! of their own, attributes that are not known are passed over. Whatever comes from the kernel is decoded or refused with an
//! error; nothing here panics because of it.
//!
//! # A message
//! ```text
//! nlmsghdr   length u32 | type u16 (the family's number) | flags u16 | sequence u32 | port u32        struct nlmsghdr
//! genlmsghdr command u8 | version u8 = 1 | reserved u16                                              struct genlmsghdr
//! attributes length u16 | kind u16 | value, filled up to 4 bytes                                      struct nlattr
//!            1 SERVICE { 1 AF 2 PROTOCOL 3 ADDR 4 PORT | 5 FWMARK, 6 SCHED_NAME 7 FLAGS 8 TIMEOUT 9 NETMASK .. }
//!            2 DEST    { 1 ADDR 2 PORT 3 FWD_METHOD 4 WEIGHT 5 U_THRESH 6 L_THRESH .. }
//!            3 DAEMON  { 1 STATE 2 MCAST_IFN 3 SYNC_ID .. }
//! ```
//! The source of all numbers is the kernel's `include/uapi/linux/ip_vs.h`; of the rules, `net/netfilter/ipvs/ip_vs_ctl.c`.
//!
//! # Rights
//! All of it, looking included, needs `CAP_NET_ADMIN` in the first user namespace.

pub mod codec;
pub mod types;

mod client;
mod wire;

pub use client::{Client, ClientError, Refused};
pub use codec::{Command, DecodeError};
