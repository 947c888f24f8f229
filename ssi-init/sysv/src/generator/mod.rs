// SPDX-License-Identifier: GPL-2.0-or-later
//! From the init scripts of `/etc/init.d` to units (systemd.generator(7)).
//!
//! ```text
//!   /etc/init.d/foo ──► header::Header ─┐
//!                       what it says    ├─► plan::plan ──► unit_file::text ──► late folder
//!   /etc/rc2.d/S03foo ─► StartLink ─────┘   order, wants                       foo.service, aliases,
//!                        when it starts                                        multi-user.target.wants/
//! ```
//! [`name`], [`header`], [`plan`] and [`unit_file`] decide and touch nothing; [`folders`] reads the scripts, asks whether
//! a native unit has the name, and writes what was planned.
//!
//! A script is left out where a native unit, an alias or a mask has its name, where it is not an executable file,
//! where its name is a backup's, and where no unit can have its name.
//!
//! # What holds it to systemd
//! systemd 252's own generator, run beside this one: `tests/beside_the_stock_generator.rs` has scenes of our own, texts
//! by chance and the scripts of Debian's packages. Different on purpose:
//! - two scripts claim one name (`foo` and `foo.sh`, or one `Provides:` of both): systemd lets the order of the folder
//!   or a random number decide, here the first by name has it, so that two boots are alike;
//! - a script that no unit can be named after (`@foo`) is left out; systemd then makes no unit of any script;
//! - a script with the end of a line in its own name is left out: it would write lines of its own into the unit;
//! - a script of which no unit was made, because it could not be read, leaves no aliases behind.

pub mod folders;
pub mod header;
pub mod name;
pub mod plan;
pub mod unit_file;
