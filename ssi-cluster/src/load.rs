// SPDX-License-Identifier: GPL-2.0-or-later
//! How loaded a node is: MOSIX's rule, on integers.
//!
//! A node's load is the length of its run queue over its CPU power, in thousandths of one runnable task on one
//! reference CPU of 1,000 MHz. One task on an idle machine of 4 × 2,500 MHz is a load of 100; ten tasks are 1,000.
//!
//! Two values follow the samples, taken once a second:
//!
//! ```text
//!             rises                         falls
//! mean        slowly: (5·mean + 3·sample)/8 at once        what the node believes of itself
//! exported    at once                       slowly: (7·exported + sample)/8   what it tells the others
//!
//!             mean ≤ sample ≤ exported, always
//! ```
//!
//! So a node takes itself for less loaded than it may be, and the others take it for more: work is not sent back and
//! forth over a short peak, and a node that has just been given much is not given more.
//!
//! Divisions round towards the sample, so that each step takes at least 1 off the distance and a constant load is
//! reached, not only approached. A distance d is closed in at most 8·ln(d) + 8 samples for the exported load and
//! 3·ln(d) + 3 for the mean: after a peak of 100 tasks on a reference CPU, the load is exactly 0 again within 100
//! seconds, and below one task within 35.
//!
//! ```
//! use ssi_cluster::load::{CpuCapacity, Load, LoadMeter};
//! let mut meter = LoadMeter::new(CpuCapacity::new(4, 10_000));
//! assert_eq!(meter.sample(10_000), Load { mean: 375, exported: 1000 });
//! assert_eq!(meter.sample(10_000), Load { mean: 610, exported: 1000 });
//! assert_eq!(meter.sample(0), Load { mean: 0, exported: 875 });
//! ```

use serde::{Deserialize, Serialize};

/// The speed of the reference CPU in MHz.
pub const REFERENCE_MHZ: u32 = 1000;

/// What a machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CpuCapacity {
    mhz: u32,
}

impl CpuCapacity {
    /// A machine with so many CPUs online, of this speed in MHz **in all**. Where the speed is not known (0), each counts
    /// as a reference CPU; a machine without CPUs counts as one with one.
    pub fn new(cpus: u32, mhz: u32) -> Self {
        Self { mhz: if mhz > 0 { mhz } else { cpus.max(1).saturating_mul(REFERENCE_MHZ) } }
    }

    /// This run queue, in thousandths of a task, over this capacity: what [`Load`] is counted in.
    /// It is rounded up, so that only an idle machine has a load of 0.
    pub fn normalise(self, run_queue_milli: u64) -> u64 {
        let scaled = u128::from(run_queue_milli) * u128::from(REFERENCE_MHZ);
        u64::try_from(scaled.div_ceil(u128::from(self.mhz))).unwrap_or(u64::MAX)
    }
}

/// A node's load, in thousandths of one runnable task on one reference CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Load {
    /// What the node believes of itself: rises slowly, falls at once.
    pub mean: u64,
    /// What it tells the others: rises at once, falls slowly.
    pub exported: u64,
}

/// Follows a node's load.
#[derive(Clone, Debug)]
pub struct LoadMeter {
    capacity: CpuCapacity,
    load: Load,
}

impl LoadMeter {
    /// One that has seen no load yet.
    pub fn new(capacity: CpuCapacity) -> Self {
        Self { capacity, load: Load::default() }
    }

    /// Takes the mean length of the run queue over the last second, in thousandths of a task.
    pub fn sample(&mut self, run_queue_milli: u64) -> Load {
        let sample = self.capacity.normalise(run_queue_milli);
        let Load { mean, exported } = self.load;
        // (5·mean + 3·sample)/8 and (7·exported + sample)/8, rounded towards the sample and without overflow.
        self.load = Load {
            mean: if sample > mean { mean + eighths_up(sample - mean, 3) } else { sample },
            exported: if sample >= exported { sample } else { exported - eighths_up(exported - sample, 1) },
        };
        self.load
    }

    /// The load after the last sample.
    pub fn load(&self) -> Load {
        self.load
    }

    /// Has what comes measured by another capacity: a CPU was added or taken away.
    pub fn set_capacity(&mut self, capacity: CpuCapacity) {
        self.capacity = capacity;
    }
}

/// So many eighths of the distance, rounded up; at most the distance itself for up to eight.
fn eighths_up(distance: u64, eighths: u64) -> u64 {
    (distance / 8) * eighths + (distance % 8 * eighths).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_unknown_speed_counts_each_cpu_as_a_reference_cpu() {
        assert_eq!(CpuCapacity::new(4, 0).normalise(4000), 1000);
        assert_eq!(CpuCapacity::new(0, 0).normalise(4000), 4000);
        assert_eq!(CpuCapacity::new(4, 8000).normalise(4000), 500);
        assert_eq!(CpuCapacity::new(4, 8000).normalise(1), 1);
        assert_eq!(CpuCapacity::new(1, 1).normalise(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_peak_is_forgotten_in_the_time_the_documentation_tells() {
        let mut meter = LoadMeter::new(CpuCapacity::new(1, 1000));
        meter.sample(100_000);
        let falling: Vec<u64> = (0..100).map(|_| meter.sample(0).exported).collect();
        assert!(falling[34] < 1000, "{}", falling[34]);
        assert_eq!(falling[99], 0);
        assert!(falling[10] > 1000, "it must not be forgotten at once");
    }

    fn samples() -> impl Strategy<Value = Vec<u64>> {
        let sample = prop_oneof![0u64..20, 0u64..100_000, any::<u64>()];
        prop::collection::vec(sample, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_mean_is_never_above_the_sample_and_the_exported_load_never_below(mhz in 1u32..200_000, samples in samples()) {
            let capacity = CpuCapacity::new(1, mhz);
            let mut meter = LoadMeter::new(capacity);
            let mut highest = 0;
            for sample in samples {
                let load = meter.sample(sample);
                let normalised = capacity.normalise(sample);
                highest = highest.max(normalised);
                prop_assert!(load.mean <= normalised && normalised <= load.exported && load.exported <= highest);
            }
        }

        #[test]
        fn more_in_the_queue_never_gives_less_load(mhz in 1u32..200_000, pairs in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40), 1..60)) {
            let (mut less, mut more) = (LoadMeter::new(CpuCapacity::new(1, mhz)), LoadMeter::new(CpuCapacity::new(1, mhz)));
            for (sample, extra) in pairs {
                let (low, high) = (less.sample(sample), more.sample(sample + extra));
                prop_assert!(low.mean <= high.mean && low.exported <= high.exported, "{low:?} {high:?}");
            }
        }

        #[test]
        fn a_constant_load_is_reached_exactly_and_kept(mhz in 1u32..200_000, before in samples(), constant in prop_oneof![0u64..20, any::<u64>()]) {
            let capacity = CpuCapacity::new(1, mhz);
            let mut meter = LoadMeter::new(capacity);
            for sample in before {
                meter.sample(sample);
            }
            let target = capacity.normalise(constant);
            let start = meter.load();
            let steps = |distance: u64, factor: f64| (factor * (distance.max(1) as f64).ln() + factor).ceil() as u32;
            let (mean_by, exported_by) = (steps(start.mean.abs_diff(target), 3.0), steps(start.exported.abs_diff(target), 8.0));
            for step in 1..=mean_by.max(exported_by) + 3 {
                let load = meter.sample(constant);
                if step >= mean_by {
                    prop_assert_eq!(load.mean, target, "mean after {} samples", step);
                }
                if step >= exported_by {
                    prop_assert_eq!(load.exported, target, "exported after {} samples", step);
                }
            }
        }

        #[test]
        fn a_faster_machine_is_less_loaded_by_the_same_work(queue in any::<u64>(), slow in 1u32..100_000, faster in 0u32..100_000) {
            prop_assert!(CpuCapacity::new(1, slow + faster).normalise(queue) <= CpuCapacity::new(1, slow).normalise(queue));
        }
    }
}
