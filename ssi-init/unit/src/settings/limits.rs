// SPDX-License-Identifier: GPL-2.0-or-later
//! `LimitNOFILE=` and its kin: systemd.exec(5), "Process Properties", and setrlimit(2).

use std::time::Duration;

use super::value;
use crate::config::exec::{Resource, ResourceLimit};
use crate::time::{parse_seconds, parse_span};

/// The keys of resource limits.
pub(super) const KEYS: [&str; 16] = [
    "LimitCPU",
    "LimitFSIZE",
    "LimitDATA",
    "LimitSTACK",
    "LimitCORE",
    "LimitRSS",
    "LimitNOFILE",
    "LimitAS",
    "LimitNPROC",
    "LimitMEMLOCK",
    "LimitLOCKS",
    "LimitSIGPENDING",
    "LimitMSGQUEUE",
    "LimitNICE",
    "LimitRTPRIO",
    "LimitRTTIME",
];

/// A limit, or a soft and a hard one with a colon between.
pub(super) fn limit(resource: Resource, value: &str) -> Option<ResourceLimit> {
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (one_limit(resource, soft)?, one_limit(resource, hard)?);
    (soft <= hard).then_some(ResourceLimit { soft, hard })
}

/// One limit, in the resource's own unit.
fn one_limit(resource: Resource, value: &str) -> Option<u64> {
    if value == "infinity" && resource != Resource::Nice {
        return Some(ResourceLimit::INFINITY);
    }
    let finite = |limit: u64| (limit < ResourceLimit::INFINITY).then_some(limit);
    match resource {
        // Whole seconds, rounded up.
        Resource::Cpu => Some(match parse_seconds(value).ok()? {
            None => ResourceLimit::INFINITY,
            Some(span) => span.as_secs() + u64::from(span.subsec_nanos() > 0),
        }),
        // A number alone is microseconds here.
        Resource::Rttime => {
            let span = parse_span(value, Duration::from_micros(1)).ok()?;
            span.map_or(Some(ResourceLimit::INFINITY), |span| u64::try_from(span.as_micros()).ok())
        }
        // With a sign it is a nice value, without one the kernel's number: 20 less the nice value.
        Resource::Nice => match value.as_bytes() {
            [b'+' | b'-', ..] => {
                let nice = value::signed(value).filter(|nice| (-20..=19).contains(nice))?;
                u64::try_from(20 - nice).ok()
            }
            _ => value::unsigned(value).filter(|limit| *limit <= 40),
        },
        Resource::Fsize
        | Resource::Data
        | Resource::Stack
        | Resource::Core
        | Resource::Rss
        | Resource::As
        | Resource::Memlock
        | Resource::Msgqueue => value::size(value, 1024).and_then(finite),
        Resource::Nofile | Resource::Nproc | Resource::Locks | Resource::Sigpending | Resource::Rtprio => {
            value::unsigned(value).and_then(finite)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let of = |resource, value| limit(resource, value).map(|limit| (limit.soft, limit.hard));
        assert_eq!(of(Resource::Nofile, "1024:4096"), Some((1024, 4096)));
        assert_eq!(of(Resource::Nofile, "infinity"), Some((u64::MAX, u64::MAX)));
        assert_eq!(of(Resource::Memlock, "64K"), Some((65536, 65536)));
        assert_eq!(of(Resource::Cpu, "1500ms"), Some((2, 2)));
        assert_eq!(of(Resource::Rttime, "5ms"), Some((5000, 5000)));
        assert_eq!(
            (of(Resource::Nice, "-5"), of(Resource::Nice, "+5"), of(Resource::Nice, "30")),
            (Some((25, 25)), Some((15, 15)), Some((30, 30)))
        );
        assert_eq!(
            (of(Resource::Nofile, "2:1"), of(Resource::Nofile, ""), of(Resource::Nofile, "1:2:3")),
            (None, None, None)
        );
    }
}
