// SPDX-License-Identifier: GPL-2.0-or-later
//! Unit files: from text to what a unit is.
//!
//! Distributions describe their services, sockets, mounts and timers in systemd's unit files. This crate reads them as
//! systemd 252 does and says what they mean, in types. It starts nothing and talks to nobody: everything it is told of
//! the machine comes in through a trait or a struct ([`files::Files`], [`condition::Machine`], [`specifier::Host`]),
//! so that all of it runs the same in a test, in a dry run and in PID 1's manager.
//!
//! # The words
//! *Unit*: a thing the manager knows by a name such as `ssh.service`. *Fragment*: the unit's own file. *Drop-in*: a
//! file that adds to it. *Template*: the file `x@.service`, of which `x@a.service` is an *instance*. *Alias*: another
//! name of a unit, made by a link. *Mask*: an empty file or a link to /dev/null that says the unit is not wanted.
//! *Section*, *setting*, *assignment*: `[Service]`, `Restart=`, `Restart=always`. *Specifier*: `%i` and its kin.
//!
//! # What flows where
//! ```text
//!                     load::Tree                file              settings             implicit
//!   name ── UnitName ──────────► fragment and ──────► assignments ────────► UnitConfig ────────► dependencies
//!           (name)    which file?  drop-ins    words of              (config)   │   what follows from type,
//!                                               the file                        │   paths, slices …
//!                                                  specifier, exec_line,        ├──► condition: may it start now?
//!                                                  environment, time, words     ├──► time: when does it elapse?
//!                                                  read single values           └──► install: links for `enable`
//! ```
//!
//! # Where to start reading
//! [`load::Loader::load`] is the whole way from a name to a unit. [`config`] is the vocabulary: one struct a section,
//! one field a setting. [`settings`] has a table for each section that says what a key does. [`dependency`] says what
//! `Requires=` and its kin mean; [`implicit`] adds the edges nobody writes down. [`verify`] says what is wrong.
//!
//! ```
//! use ssi_unit::config::{KindConfig, ManagerDefaults, service::ServiceType};
//! use ssi_unit::files::MemoryFiles;
//! use ssi_unit::load::{Loader, SearchPath};
//! use ssi_unit::{name::UnitName, specifier::Host};
//!
//! let mut files = MemoryFiles::new();
//! files.file("/etc/systemd/system/hello@.service", "[Service]\nType=oneshot\nExecStart=/bin/echo hello %i\n");
//! let mut loader = Loader::new(files, SearchPath::system(), Host::default(), ManagerDefaults::default());
//! let unit = loader.load(&UnitName::new("hello@world.service")?);
//! let KindConfig::Service(service) = &unit.config.kind else { unreachable!() };
//! assert_eq!(service.service_type, ServiceType::Oneshot);
//! assert_eq!(service.exec_start[0].arguments[2], "world");
//! # Ok::<(), ssi_unit::name::NameError>(())
//! ```
//!
//! # What holds it to systemd
//! The tests ask systemd 252 itself: `systemd --test` for what it makes of Debian's units, of trees of files by chance
//! and of every setting with hundreds of values; `systemd-analyze`, `systemd-escape` and `systemctl --root` for
//! calendars, conditions, names and links. Where we differ on purpose, the test that would notice says so.

pub mod condition;
pub mod config;
pub mod dependency;
pub mod environment;
pub mod exec_line;
pub mod file;
pub mod files;
pub mod implicit;
pub mod install;
pub mod load;
pub mod name;
pub mod process_end;
pub mod settings;
pub mod specifier;
pub mod time;
pub mod verify;
pub mod words;
