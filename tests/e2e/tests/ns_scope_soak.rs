// SPDX-License-Identifier: GPL-2.0-or-later
//! Accidents at random while units of the cluster run; then all is mended, and all runs. `SSI_SCOPE_SOAK_SECONDS` says
//! how long (an hour: 3600), `SSI_SCOPE_SOAK_SEED` which accidents.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::fence::{Switch, configure};
use ssi_e2e::scope::Stage;
use ssi_lab::Power;

const NODES: u32 = 5;
const COMMON: &str = "TakeoverSec=6\nProbationSec=5\nErrorLimit=1000\n";

/// A generator that needs no more than to be the same for the same seed (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn node(&mut self) -> u32 {
        1 + self.below(u64::from(NODES)) as u32
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Something happens. What cannot happen as things are (a node that is off is turned off) does not.
fn accident(stage: &Stage, dice: &mut Dice) -> String {
    let (lab, node) = (&stage.cluster.lab, dice.node());
    let kill = |what: &str| {
        let _ = lab.node(node).map(|node| node.exec(&["pkill", "-KILL", "-x", what]));
        format!("{what} on node {node} is killed")
    };
    match dice.below(17) {
        0 => {
            let _ = lab.kill(node);
            format!("node {node} is off")
        }
        1 | 2 => {
            let _ = lab.start(node);
            format!("node {node} is turned on")
        }
        3 => {
            let _ = lab.freeze(node);
            std::thread::sleep(Duration::from_millis(dice.below(5_000)));
            let _ = lab.thaw(node);
            format!("node {node} was frozen for a while")
        }
        4 => {
            let _ = lab.cut(&[node]);
            format!("node {node} is cut off")
        }
        5 => {
            let (two, three): (Vec<u32>, Vec<u32>) = (1..=NODES).partition(|n| (n + node) % NODES < 2);
            let said = format!("nodes {two:?} and {three:?} are cut from each other");
            let _ = lab.cut_groups(&[two, three]);
            said
        }
        6 | 7 => {
            let _ = lab.heal();
            "the network is whole".to_owned()
        }
        8 => kill("corosync"),
        9 => kill("ssi-clusterd"),
        // The kernel keeps 15 bytes of a name.
        10 => kill("ssi-init-manage"),
        11 => {
            let _ = lab.deafen(node);
            format!("node {node} hears nothing")
        }
        12 => {
            let _ = lab.mute(node);
            format!("node {node} is not heard")
        }
        13 => {
            let full = ["/run", "/var/lib"][dice.below(2) as usize];
            let _ = lab.fill(node, full);
            format!("{full} on node {node} is full")
        }
        14 => {
            make_room(stage);
            "there is room on all nodes".to_owned()
        }
        15 => {
            let _ = std::fs::write(stage.folder().join("switch/broken"), "");
            "fence agents do not work".to_owned()
        }
        _ => {
            let _ = std::fs::remove_file(stage.folder().join("switch/broken"));
            "fence agents work".to_owned()
        }
    }
}

fn make_room(stage: &Stage) {
    for node in 1..=NODES {
        for full in ["/run", "/var/lib"] {
            let _ = stage.cluster.lab.unfill(node, full);
        }
    }
}

#[test]
fn nothing_runs_twice_whatever_happens_and_all_runs_in_the_end() -> Result<()> {
    let length = Duration::from_secs(number("SSI_SCOPE_SOAK_SECONDS").unwrap_or(90));
    let seed = number("SSI_SCOPE_SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64 | 1
    });
    println!("SSI_SCOPE_SOAK_SEED={seed}");
    let two = format!("{COMMON}Instances=2\n");
    let preferred = format!("{COMMON}Nodes=2 3\nFailback=yes\n");
    let units = [("one", COMMON), ("two", two.as_str()), ("likes", preferred.as_str())];
    let stage = Stage::new("s-soak", NODES, &units)?;
    for (unit, _) in units {
        stage.ssi(1, &["service", "start", unit, "--timeout", "60s"])?;
    }
    let switch = Switch::start("s-soak", stage.folder())?;
    configure(&stage.cluster, NODES, "")?;
    let (begin, mut dice) = (Instant::now(), Dice(seed));
    let mut happened = Vec::new();
    while begin.elapsed() < length {
        std::thread::sleep(Duration::from_millis(dice.below(4_000)));
        let what = format!("{:7.2} {}", begin.elapsed().as_secs_f64(), accident(&stage, &mut dice));
        println!("{what}");
        happened.push(what);
    }
    let lab = &stage.cluster.lab;
    lab.heal()?;
    make_room(&stage);
    for status in lab.status()?.nodes {
        if status.number != 0 && status.power == Power::Off {
            lab.start(status.number)?;
        }
    }
    let all: Vec<u32> = (1..=NODES).collect();
    let mended = stage.cluster.all_see_up(&all, NODES).and_then(|()| {
        units.iter().try_for_each(|(unit, _)| {
            let count = if *unit == "two" { 2 } else { 1 };
            stage.runs_all(1, unit, count).with_context(|| format!("{unit} does not run again"))
        })
    });
    let verdicts = stage.is_clean().with_context(|| format!("SSI_SCOPE_SOAK_SEED={seed}\n{}", happened.join("\n")))?;
    mended.with_context(|| format!("SSI_SCOPE_SOAK_SEED={seed}\n{}", happened.join("\n")))?;
    ensure!(verdicts.len() == 4, "{:?}", verdicts.keys());
    let (bitten, fenced) = (stage.dogs.bitten(), switch.used());
    println!("{} accidents, watchdogs bit: {bitten:?}, fence agents: {fenced:?}", happened.len());
    Ok(())
}
