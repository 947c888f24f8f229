// SPDX-License-Identifier: GPL-2.0-or-later
//! A device.

use super::value::maybe;
use super::{Property, told};

pub(super) const TABLE: &[Property] = &[told("SysFSPath", "s", |v| maybe(v.unit.runtime.kind.device().syspath()))];
