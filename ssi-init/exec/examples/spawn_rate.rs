// SPDX-License-Identifier: GPL-2.0-or-later
//! How many processes a second: 1,000 starts of /bin/true through the executor, one after the other and eight at a
//! time, with a control group made and removed for each where the kernel lets us, and std's own way beside it.
//!
//! ```text
//! cargo rustc -p ssi-exec --release --bin ssi-exec -- -C target-feature=+crt-static
//! cargo run -p ssi-exec --release --example spawn_rate [EXECUTOR [COUNT [CGROUP2-DIRECTORY]]]
//! ```

use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use ssi_exec::plan::{Command, ExecPlan, Messages, Output};
use ssi_exec::spawn::{Launch, Spawned, Spawner};
use std::collections::VecDeque;
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let executor = match arguments.next() {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("../ssi-exec"),
    };
    let count: usize = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let groups = arguments.next().map(PathBuf::from);

    // A manager is not small; what it holds must not matter.
    let ballast = vec![1u8; 64 * 1024 * 1024];
    let mut spawner = Spawner::new(&executor)?;
    println!("executor {}, {count} × /bin/true, 64 MiB in the parent", executor.display());
    for (reports, at_once) in [(false, 1), (false, 8), (true, 8)] {
        let rate = measure(&mut spawner, count, at_once, reports, None)?;
        println!("executor, {at_once} at a time, reports {reports}: {rate:.0}/s");
    }
    if let Some(groups) = &groups {
        for at_once in [1, 8] {
            let rate = measure(&mut spawner, count, at_once, false, Some(groups))?;
            println!("executor, {at_once} at a time, a control group each: {rate:.0}/s");
        }
    }
    let mut older = Spawner::new(&executor)?.without_clone3();
    println!("executor by clone(2), 8 at a time: {:.0}/s", measure(&mut older, count, 8, false, None)?);

    let start = Instant::now();
    for _ in 0..count {
        std::process::Command::new("/bin/true").status()?;
    }
    println!("std::process, 1 at a time, nothing set up: {:.0}/s", count as f64 / start.elapsed().as_secs_f64());
    drop(ballast);
    Ok(())
}

struct Running {
    spawned: Spawned,
    group: Option<PathBuf>,
}

fn measure(
    spawner: &mut Spawner,
    count: usize,
    at_once: usize,
    reports: bool,
    groups: Option<&Path>,
) -> Result<f64, Box<dyn Error>> {
    let mut plan = ExecPlan::new("bench.service", Command::new("/bin/true", &[]));
    plan.streams.output = Output::Null;
    plan.messages = Messages::Stderr;
    plan.environment.manager.push(("PATH".into(), "/usr/sbin:/usr/bin".into()));
    let mut running: VecDeque<Running> = VecDeque::new();
    let start = Instant::now();
    for number in 0..count {
        if running.len() == at_once
            && let Some(oldest) = running.pop_front()
        {
            finish(oldest)?;
        }
        let group = groups.map(|groups| groups.join(format!("spawn-rate-{number}")));
        let opened: Option<OwnedFd> = match &group {
            Some(path) => {
                std::fs::create_dir(path)?;
                Some(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
            }
            None => None,
        };
        let mut launch = Launch::new(plan.clone());
        launch.reports = reports;
        launch.cgroup = opened.as_ref().map(AsFd::as_fd);
        let mut spawned = spawner.spawn(&launch)?;
        if reports {
            spawned.wait_reports();
        }
        running.push_back(Running { spawned, group });
    }
    for last in running {
        finish(last)?;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn finish(running: Running) -> Result<(), Box<dyn Error>> {
    let status = waitid(WaitId::Pid(running.spawned.pid), WaitIdOptions::EXITED)?;
    if status.and_then(|status| status.exit_status()) != Some(0) {
        return Err(format!("/bin/true did not end well: {:?}", running.spawned.pid).into());
    }
    if let Some(group) = running.group {
        std::fs::remove_dir(group)?;
    }
    Ok(())
}
