// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-lab`: a cluster on this machine, for people. It is the keeper's program, too.

#[path = "ssi-lab/terminal.rs"]
mod terminal;

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ssi_lab::{Boot, ExecOptions, Exit, Fault, Install, Kind, Lab, Node, NodeNumber, OutputStream, Power, Slowness};

/// Bring up a cluster on this machine, and break it
///
/// Node 0 is the client: on the cluster's networks, but no node of it.
#[derive(Parser)]
#[command(name = "ssi-lab", version, max_term_width = 100)]
struct Arguments {
    /// Which lab
    #[arg(long, global = true, default_value = "lab", env = "SSI_LAB_NAME")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindArgument {
    /// Namespaces of this kernel
    Ns,
    /// QEMU guests
    Vm,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring a lab up; it stays until `down`
    Up(Up),
    /// Take a lab down
    Down,
    /// List the labs of this machine
    List,
    /// Show how the lab is
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a program on a node; its exit status becomes ours
    Exec {
        node: NodeNumber,
        /// Seconds after which it is killed
        #[arg(long, default_value_t = 3600)]
        timeout: u64,
        /// Send standard input to it
        #[arg(short = 'i', long)]
        stdin: bool,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell on a node
    Shell { node: NodeNumber },
    /// Show a node's console; a guest's can be typed into
    Console { node: NodeNumber },
    /// Copy a file into a node
    Put {
        node: NodeNumber,
        /// The file here
        from: std::path::PathBuf,
        /// The path there
        to: String,
        /// Permission bits, octal
        #[arg(long, default_value = "644", value_parser = octal)]
        mode: u32,
    },
    /// Write a node's file to standard output
    Get { node: NodeNumber, path: String },
    /// Power a node off at once
    Kill { node: NodeNumber },
    /// Boot a node that is off
    Start {
        node: NodeNumber,
        /// The program to be PID 1, with its arguments
        #[arg(long, num_args = 1.., value_name = "ARG")]
        init: Option<Vec<String>>,
    },
    /// Stop a node's processors
    Freeze { node: NodeNumber },
    /// Let a frozen node run on
    Thaw { node: NodeNumber },
    /// Cut nodes off from everyone
    ///
    /// With commas, groups that do not reach each other: `cut 1,2 3`; who is in none reaches all.
    Cut {
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Lose what is sent to a node
    Deaf { node: NodeNumber },
    /// Lose what a node sends
    Mute { node: NodeNumber },
    /// End all cuts and losses, and bring all links up
    Heal,
    /// Take a link's carrier away, or give it back
    Link {
        node: NodeNumber,
        /// up or down
        #[arg(value_parser = ["up", "down"])]
        state: String,
        /// Which network, from 0
        #[arg(long, default_value_t = 0)]
        network: usize,
    },
    /// Make a node's links bad; without options, good again
    Slow {
        node: NodeNumber,
        /// Milliseconds each frame waits (guests)
        #[arg(long)]
        delay: Option<u32>,
        /// Milliseconds by which that varies (guests)
        #[arg(long)]
        jitter: Option<u32>,
        /// Per cent lost
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
        loss: Option<u8>,
        /// Kilobits a second
        #[arg(long)]
        rate: Option<u32>,
    },
    /// Fill the file system under a directory of a node
    Fill { node: NodeNumber, directory: String },
    /// Give the space back
    Unfill { node: NodeNumber, directory: String },
    /// Move a guest's clock by so many seconds
    Clock {
        node: NodeNumber,
        #[arg(allow_hyphen_values = true)]
        seconds: i64,
    },
    /// Install what labs of this kind need on this machine
    Setup {
        #[arg(long, value_enum, default_value = "ns")]
        kind: KindArgument,
    },
    /// Own a lab whose plan comes on standard input (started by the lab itself)
    #[command(hide = true)]
    Keep,
}

#[derive(clap::Args)]
struct Up {
    /// What nodes are made of
    #[arg(long, value_enum, default_value = "ns")]
    kind: KindArgument,
    /// How many
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Install a file: HERE:THERE, with the mode it has here
    #[arg(long, value_parser = install, value_name = "HERE:THERE")]
    install: Vec<Install>,
    /// Add a second network
    #[arg(long)]
    two_networks: bool,
    /// Share a directory at this path between namespace nodes
    #[arg(long, value_name = "PATH")]
    shared: Option<std::path::PathBuf>,
    /// PID 1 of the nodes, with its arguments
    #[arg(long, num_args = 1.., value_name = "ARG")]
    init: Option<Vec<String>>,
    /// Add a Debian package to the guests
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// MiB of memory of a guest
    #[arg(long, default_value_t = 384)]
    memory: u32,
    /// Boot guests instead of restoring them
    #[arg(long)]
    no_snapshot: bool,
    /// Leave the nodes off
    #[arg(long)]
    off: bool,
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|error| format!("'{text}' is no octal number: {error}"))
}

fn install(text: &str) -> Result<Install, String> {
    use std::os::unix::fs::PermissionsExt;
    let (from, to) = text.split_once(':').ok_or_else(|| format!("'{text}' is not HERE:THERE"))?;
    let mode = std::fs::metadata(from).map_err(|error| format!("{from}: {error}"))?.permissions().mode();
    Ok(Install { from: from.into(), to: to.into(), mode: mode & 0o7777 })
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Ns => Self::Ns,
            KindArgument::Vm => Self::Vm,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.name, arguments.verb) {
        Ok(code) => code,
        // Whoever reads us has read enough.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ssi-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Keep => ssi_lab::keeper::keep()?,
        Verb::Up(plan) => up(name, plan)?,
        Verb::List => Lab::list().iter().try_for_each(|name| writeln!(std::io::stdout(), "{name}"))?,
        Verb::Setup { kind } => {
            let steps = Steps::new();
            ssi_lab::setup::ensure(kind.into(), &mut |step| steps.show(step))?;
        }
        Verb::Down => Lab::attach(name)?.down()?,
        verb => return act(&Lab::attach(name)?, verb),
    }
    Ok(ExitCode::SUCCESS)
}

/// The verbs of a lab that is up.
fn act(lab: &Lab, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Status { json } => status(lab, json)?,
        Verb::Exec { node, timeout, stdin, command } => return exec(&place(lab, node)?, &command, timeout, stdin),
        Verb::Shell { node } => return Ok(exit_code(terminal::shell(&place(lab, node)?)?)),
        Verb::Console { node } => terminal::console(lab, &place(lab, node)?)?,
        Verb::Put { node, from, to, mode } => {
            let content = std::fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            place(lab, node)?.put(&to, content, mode)?;
        }
        Verb::Get { node, path } => std::io::stdout().write_all(&place(lab, node)?.get(&path)?)?,
        Verb::Kill { node } => lab.kill(node)?,
        Verb::Start { node, init } => lab.start_with(node, Boot { init, ..Boot::default() })?,
        Verb::Freeze { node } => lab.freeze(node)?,
        Verb::Thaw { node } => lab.thaw(node)?,
        Verb::Cut { groups } => lab.fault(cut(&groups)?)?,
        Verb::Deaf { node } => lab.deafen(node)?,
        Verb::Mute { node } => lab.mute(node)?,
        Verb::Heal => lab.heal()?,
        Verb::Link { node, state, network } if state == "up" => lab.link_up(node, network)?,
        Verb::Link { node, network, .. } => lab.link_down(node, network)?,
        Verb::Slow { node, delay, jitter, loss, rate } => {
            lab.slow(node, Slowness { delay_ms: delay, jitter_ms: jitter, loss_percent: loss, rate_kbit: rate })?;
        }
        Verb::Fill { node, directory } => place(lab, node)?.fill(&directory)?,
        Verb::Unfill { node, directory } => place(lab, node)?.unfill(&directory)?,
        Verb::Clock { node, seconds } => place(lab, node)?.shift_clock(seconds)?,
        Verb::Keep | Verb::Up(_) | Verb::List | Verb::Setup { .. } | Verb::Down => {
            bail!("this verb needs no lab that is up")
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A node, or the client as node 0.
fn place(lab: &Lab, number: NodeNumber) -> Result<Node> {
    if number == 0 { Ok(lab.client()) } else { Ok(lab.node(number)?) }
}

/// `2` and `2 3` cut nodes off; `1,2 3` splits.
fn cut(groups: &[String]) -> Result<Fault> {
    let parse = |group: &String| -> Result<Vec<NodeNumber>> {
        group
            .split(',')
            .map(|word| word.trim().parse().with_context(|| format!("'{word}' is no node's number")))
            .collect()
    };
    let parsed: Vec<_> = groups.iter().map(parse).collect::<Result<_>>()?;
    if groups.iter().any(|group| group.contains(',')) {
        if parsed.len() < 2 {
            bail!("one group alone is cut off from nobody: name the other too, as in `cut 1,2 3`");
        }
        return Ok(Fault::CutGroups(parsed));
    }
    Ok(Fault::Cut(parsed.concat()))
}

fn up(name: &str, plan: Up) -> Result<()> {
    let steps = Steps::new();
    let shown = steps.clone();
    let mut builder = Lab::builder(name)
        .kind(plan.kind.into())
        .nodes(plan.nodes)
        .install(plan.install)
        .packages(plan.packages)
        .memory_mib(plan.memory)
        .snapshot(!plan.no_snapshot)
        .boot(!plan.off)
        .progress(move |step| shown.show(step));
    if plan.two_networks {
        builder = builder.two_networks();
    }
    if let Some(shared) = plan.shared {
        builder = builder.shared(shared);
    }
    if let Some(init) = plan.init {
        builder = builder.init(init);
    }
    let lab = builder.start()?;
    steps.end();
    lab.detach()?;
    Ok(())
}

/// Long steps on a terminal; nothing in a pipe.
#[derive(Clone)]
struct Steps(Option<ProgressBar>);

impl Steps {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }

    fn show(&self, step: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(step.to_owned());
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn status(lab: &Lab, json: bool) -> Result<()> {
    let status = lab.status()?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{} ({}), logs in {}",
        status.name,
        if status.kind == Kind::Ns { "ns" } else { "vm" },
        status.directory
    )?;
    for node in status.nodes {
        let power = match node.power {
            Power::Running => "running",
            Power::Frozen => "frozen",
            Power::Off => "off",
        };
        writeln!(out, "{:>3}  {:<8} {power:<8} {}", node.number, node.name, node.addresses.join(" "))?;
    }
    Ok(())
}

fn exec(node: &Node, command: &[String], timeout: u64, with_input: bool) -> Result<ExitCode> {
    let mut stdin = None;
    if with_input {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).context("reading standard input")?;
        stdin = Some(input);
    }
    let options = ExecOptions { stdin, timeout: Some(Duration::from_secs(timeout)), ..ExecOptions::default() };
    let exit = node.exec_streaming(command, &options, |stream, bytes| {
        // Whoever reads us may stop to; the program runs to its end all the same.
        let _ = match stream {
            OutputStream::Standard => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
            OutputStream::Error => std::io::stderr().write_all(&bytes),
        };
    })?;
    Ok(exit_code(exit))
}

/// As a shell would say it.
fn exit_code(exit: Exit) -> ExitCode {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match exit {
        Exit::Code(code) => ExitCode::from(byte(code)),
        Exit::Signal(signal) => ExitCode::from(byte(128 + signal)),
        Exit::TimedOut => ExitCode::from(124),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn commas_make_groups() {
        assert_eq!(cut(&words("2 3")).ok(), Some(Fault::Cut(vec![2, 3])));
        assert_eq!(cut(&words("1,2 3")).ok(), Some(Fault::CutGroups(vec![vec![1, 2], vec![3]])));
        assert!(cut(&words("1,2")).is_err() && cut(&words("1,x 2")).is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
