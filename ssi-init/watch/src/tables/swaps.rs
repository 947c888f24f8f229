// SPDX-License-Identifier: GPL-2.0-or-later
//! `/proc/swaps` (proc_swaps(5)).
//!
//! ```text
//!   Filename                                Type            Size            Used            Priority
//!   /dev/vda2                               partition       1048572         0               -2
//! ```

use ssi_manager::core::swap::InUse;

use super::escape::text;

/// Reads the table; gives what could be read of it, and what is wrong with the rest.
pub fn parse(table: &[u8]) -> (Vec<InUse>, Vec<String>) {
    let mut areas = Vec::new();
    let mut wrong = Vec::new();
    let lines = table.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty());
    for line in lines {
        match area(line) {
            Some(area) => areas.push(area),
            None => wrong.push(format!(
                "a line of the table of swap areas is not understood, or names what is no UTF-8: {}",
                String::from_utf8_lossy(line)
            )),
        }
    }
    (areas, wrong)
}

fn area(line: &[u8]) -> Option<InUse> {
    let mut fields = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
    let what = text(fields.next()?)?;
    let priority = std::str::from_utf8(fields.nth(3)?).ok()?.parse().ok()?;
    Some(InUse { what, priority })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_a_kernel() {
        let table = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/vda2                               partition\t1048572\t\t0\t\t-2\n\
            /swap\\040file                          file\t\t65532\t\t12\t\t10\n\
            /short partition\n";
        let (areas, wrong) = parse(table);
        let expected =
            [InUse { what: "/dev/vda2".into(), priority: -2 }, InUse { what: "/swap file".into(), priority: 10 }];
        assert_eq!((areas.as_slice(), wrong.len()), (expected.as_slice(), 1));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(table in proptest::collection::vec(any::<u8>(), 0..200), line in "[/a\\\\0-9\t -]{0,60}") {
            let _ = parse(&table);
            let _ = parse(format!("header\n{line}").as_bytes());
        }
    }
}
