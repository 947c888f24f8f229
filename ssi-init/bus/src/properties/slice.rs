// SPDX-License-Identifier: GPL-2.0-or-later
//! A slice: it has nothing to show but its control group.

use super::Property;

pub(super) const TABLE: &[Property] = &[];
