// SPDX-License-Identifier: GPL-2.0-or-later
//! The two steps from a plain process to a node's PID 1. Both run in the agent's program, which has
//! one thread until then: namespaces are a thread's matter.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::SigSet;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::agent::{Stream, serve};

use super::NodePlan;
use super::cgroup::ROOT;
use super::root;

/// The launcher: joins and unshares, starts PID 1, and stays as the node's handle on the host.
///
/// # Errors
/// The step that failed, and why.
pub fn launch(plan_file: &Path) -> Result<ExitStatus> {
    let plan = read_plan(plan_file)?;
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the keeper")?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != Some(plan.keeper) {
        bail!("the keeper is gone already");
    }
    // The keeper blocks the signals that it waits for; a node starts with none blocked.
    SigSet::empty().thread_set_mask().context("unblocking signals")?;
    let place = plan.cgroup.join(ROOT).join("cgroup.procs");
    fs::write(&place, "0").with_context(|| format!("joining the cgroup by {}", place.display()))?;
    let network = File::open(&plan.network).context("opening the node's network namespace")?;
    setns(&network, CloneFlags::CLONE_NEWNET).context("joining the node's network namespace")?;
    drop(network);
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .context("making the node's namespaces")?;
    // Opened now: PID 1 shares this mount namespace and takes the host's root away from it.
    let above = plan.cgroup.join("cgroup.procs");
    let mut above =
        OpenOptions::new().write(true).open(&above).with_context(|| format!("opening {}", above.display()))?;
    let null = File::open("/dev/null").context("opening /dev/null")?;
    let mut child =
        Command::new("/proc/self/exe").arg("init").arg(plan_file).spawn().context("starting the node's PID 1")?;
    // Out of the node's own cgroup, but still below what is frozen and killed.
    above.write_all(b"0").context("leaving the node's root cgroup")?;
    // The channel is PID 1's alone: while another holds it, its end is not seen.
    rustix::stdio::dup2_stdin(null)?;
    child.wait().context("waiting for the node's PID 1")
}

/// PID 1: lays out the root and becomes the agent, or the init under test with the agent beside it.
///
/// # Errors
/// The step that failed, and why.
pub fn init(plan_file: &Path) -> Result<()> {
    let plan = read_plan(plan_file)?;
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the launcher")?;
    // Started through /proc/self/exe, it would be called "exe".
    rustix::thread::set_name(c"ssi-lab-agent").context("taking a name")?;
    rustix::system::sethostname(plan.host_name.as_bytes()).context("setting the host name")?;
    root::enter(&plan)?;
    // The clock and kernel modules are not a node's.
    for capability in [CapabilitySet::SYS_TIME, CapabilitySet::SYS_MODULE] {
        remove_capability_from_bounding_set(capability).context("giving up a capability")?;
    }
    let Some((program, arguments)) = plan.init.as_deref().and_then(<[String]>::split_first) else {
        return serve_on_stdin();
    };
    // The agent speaks once this process has become the init: the pipe closes on exec, and a byte in
    // it says that there was none.
    let (read, mut write) = std::io::pipe().context("making a pipe")?;
    Command::new("/proc/self/exe")
        .args(["serve", "--after-init"])
        .stdout(read)
        .spawn()
        .context("starting the agent beside the init")?;
    rustix::stdio::dup2_stdin(File::open("/dev/null").context("opening /dev/null")?)?;
    let error = Command::new(program).args(arguments).exec();
    let _ = write.write_all(b"x");
    Err(error).with_context(|| format!("becoming {program}"))
}

/// Waits on standard output, a pipe, until the process beside has become the init.
///
/// # Errors
/// When it could not.
pub fn await_init() -> Result<()> {
    let mut pipe = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(std::io::stderr()).context("taking standard output back")?;
    let mut byte = [0];
    if pipe.read(&mut byte).context("waiting for the init")? > 0 {
        bail!("there is no init to be beside of");
    }
    Ok(())
}

/// The agent on its standard input, which is a socket.
///
/// # Errors
/// When the channel breaks.
pub fn serve_on_stdin() -> Result<()> {
    let channel = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null").context("opening /dev/null")?)?;
    serve(channel, Stream::Socket).context("serving the control channel")
}

fn read_plan(file: &Path) -> Result<NodePlan> {
    let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("understanding {}", file.display()))
}
