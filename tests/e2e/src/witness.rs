// SPDX-License-Identifier: GPL-2.0-or-later
//! A witness of who runs: each instance holds a lock through the folder that all nodes share, and writes to a file of its
//! own there again and again; and the judge, who reads the files afterwards. Neither knows anything of the cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The service's program: `witness FOLDER NAME`. It refuses nothing: it is there to be seen. All nodes have one clock,
/// this machine's, so that times compare.
pub const PROGRAM: &str = r#"#!/usr/bin/perl
use strict; use Fcntl qw(:flock); use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);
my ($folder, $name) = @ARGV; $| = 1;
$name .= ".$ENV{SSI_INSTANCE}" if $ENV{SSI_INSTANCE};
my $host = `hostname`; chomp $host;
open(my $lock, '>>', "$folder/lock-$name") or die "lock: $!";
open(my $file, '>>', "$folder/witness-$name-$host-$$-" . int(clock_gettime(CLOCK_MONOTONIC) * 1e6)) or die "file: $!";
select((select($file), $| = 1)[0]);
my $held = 0;
sub say_it { my ($what) = @_;
    printf $file "%.6f %s %s %d %s\n", clock_gettime(CLOCK_MONOTONIC), $host, $ENV{SSI_VIEW} // '-', $$, $what; }
while (1) {
    if (!$held) { $held = flock($lock, LOCK_EX | LOCK_NB); }
    say_it($held ? 'runs' : 'DOUBLE');
    sleep 0.02;
}
"#;

/// The unit file of a witness.
pub fn unit(shared: &str, name: &str, section: &str) -> String {
    format!(
        "[Unit]\nDescription=Witness {name}\n[Service]\nExecStart={shared}/witness {shared} {name}\nRestart=on-failure\n\
         TimeoutStopSec=10\n[X-SSI]\nScope=cluster\n{section}"
    )
}

/// One run of an instance, as its file tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    /// The node's name.
    pub node: String,
    /// `SSI_VIEW`.
    pub view: Option<u64>,
    /// The first and the last line, in seconds.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// How many lines say that another had the lock.
    pub doubles: usize,
}

/// What the judge finds about one instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Its runs, in order.
    pub runs: Vec<Ran>,
    /// What must not be, in words.
    pub faults: Vec<String>,
    /// Seconds from its first line to its last in which nobody ran.
    pub nobody: f64,
}

/// Judges all instances whose files are in the folder.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn judge(folder: &Path) -> Result<BTreeMap<String, Verdict>> {
    let mut runs: BTreeMap<String, Vec<Ran>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some((name, _)) = file.strip_prefix("witness-").and_then(|rest| rest.split_once('-')) else { continue };
        let text = std::fs::read_to_string(entry.path()).with_context(|| format!("reading {file}"))?;
        runs.entry(name.to_owned()).or_default().extend(read(&text));
    }
    Ok(runs.into_iter().map(|(name, runs)| (name, verdict(runs))).collect())
}

/// Reads the lines of one run. A last line that was cut off by a reset counts for nothing.
fn read(text: &str) -> Option<Ran> {
    let mut ran: Option<Ran> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, node, view, _, what] = words[..] else { continue };
        let (Ok(at), known) = (at.parse::<f64>(), matches!(what, "runs" | "DOUBLE")) else { continue };
        if !known {
            continue;
        }
        let ran = ran.get_or_insert_with(|| Ran {
            node: node.to_owned(),
            view: view.parse().ok(),
            from: at,
            to: at,
            doubles: 0,
        });
        ran.to = at;
        ran.doubles += usize::from(what == "DOUBLE");
    }
    ran
}

fn verdict(mut runs: Vec<Ran>) -> Verdict {
    runs.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut found = Verdict::default();
    for pair in runs.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        if next.from <= one.to {
            found.faults.push(format!(
                "{} (view {:?}) still wrote at {:.3} when {} (view {:?}) had begun at {:.3}",
                one.node, one.view, one.to, next.node, next.view, next.from
            ));
        } else {
            found.nobody += next.from - one.to;
        }
        if next.view < one.view {
            found.faults.push(format!("the view fell from {:?} to {:?}", one.view, next.view));
        }
    }
    for ran in &runs {
        if ran.doubles > 0 {
            found
                .faults
                .push(format!("{} found the lock taken {} times from {:.3} on", ran.node, ran.doubles, ran.from));
        }
        if ran.view.is_none() {
            found.faults.push(format!("{} ran without SSI_VIEW", ran.node));
        }
    }
    found.runs = runs;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(from: f64, to: f64, view: u64) -> Ran {
        Ran { node: format!("node{view}"), view: Some(view), from, to, doubles: 0 }
    }

    #[test]
    fn one_after_the_other_is_well_and_the_time_between_is_counted() {
        let found = verdict(vec![ran(3.0, 4.0, 2), ran(0.0, 1.0, 1)]);
        assert_eq!((found.faults.len(), found.nobody), (0, 2.0));
        assert_eq!(found.runs[0].view, Some(1));
    }

    #[test]
    fn two_at_once_a_falling_view_and_a_taken_lock_are_faults() {
        assert_eq!(verdict(vec![ran(0.0, 2.0, 1), ran(1.0, 3.0, 2)]).faults.len(), 1);
        assert_eq!(verdict(vec![ran(0.0, 1.0, 2), ran(2.0, 3.0, 1)]).faults.len(), 1);
        assert_eq!(verdict(vec![Ran { doubles: 3, ..ran(0.0, 1.0, 1) }]).faults.len(), 1);
    }

    #[test]
    fn lines_are_read_and_one_that_was_cut_off_is_not() {
        let ran = read("1.500000 node1 7 99 runs\n2.500000 node1 7 99 DOUBLE\n3.5000").unwrap();
        assert_eq!((ran.from, ran.to, ran.view, ran.doubles), (1.5, 2.5, Some(7), 1));
        assert_eq!(read("3.5"), None);
    }
}
