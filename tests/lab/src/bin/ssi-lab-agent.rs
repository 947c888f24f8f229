// SPDX-License-Identifier: GPL-2.0-or-later
//! The agent's program: in a namespace node it is the launcher, PID 1 and the agent in turn; in a
//! guest it is the agent on a virtio-serial port.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use ssi_lab::agent::{Stream, serve};
use ssi_lab::ns::launch::{await_init, init, launch, serve_on_stdin};

#[derive(Parser)]
#[command(name = "ssi-lab-agent", about = "One in each node of a lab; started by the lab itself")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Make a namespace node and stay beside it
    Launch {
        /// The node's plan
        plan: PathBuf,
    },
    /// Be a namespace node's PID 1
    Init {
        /// The node's plan
        plan: PathBuf,
    },
    /// Serve on standard input, a socket
    Serve {
        /// Wait until the process beside has become the init
        #[arg(long)]
        after_init: bool,
    },
    /// Serve on a virtio-serial port
    Port {
        /// The port's name
        name: String,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().part {
        Part::Launch { plan } => launch(&plan).map(drop),
        Part::Init { plan } => init(&plan),
        Part::Serve { after_init: false } => serve_on_stdin(),
        Part::Serve { after_init: true } => await_init().and_then(|()| serve_on_stdin()),
        Part::Port { name } => serve_port(&name),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ssi-lab-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve_port(name: &str) -> Result<()> {
    let device = find_port(name)?;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&device)
        .with_context(|| format!("opening the port {}", device.display()))?;
    serve(port, Stream::Port).context("serving the control channel")
}

/// The port's device, by its name in sysfs: there before udev makes links.
fn find_port(name: &str) -> Result<PathBuf> {
    let directory = "/sys/class/virtio-ports";
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        for port in fs::read_dir(directory).into_iter().flatten().flatten() {
            let its = fs::read_to_string(port.path().join("name")).unwrap_or_default();
            if its.trim() == name {
                return Ok(Path::new("/dev").join(port.file_name()));
            }
        }
        if Instant::now() > deadline {
            bail!("no virtio-serial port in {directory} has the name {name}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
