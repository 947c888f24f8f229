// SPDX-License-Identifier: GPL-2.0-or-later
//! The manual pages: those of the commands are made from their definitions in [`crate::cli`], so that they cannot say
//! otherwise than the program, and get the sections written here. The pages about files, the daemon and the concepts are
//! written by hand, in the folder `man` of the repository.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory};

use crate::cli::{Ssi, openssi};

/// The date on the pages: of the last change to what they say.
const DATE: &str = "2026-11-23";

const MANUAL: &str = "Single System Image Cluster";

/// What a page has beyond the command's definition.
pub struct Extra {
    /// Examples: what is typed, and what that does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit statuses, where the command has a meaning of its own for one; an empty one for those it never ends with.
    pub statuses: &'static [(u8, &'static str)],
    /// Files it uses.
    pub files: &'static [(&'static str, &'static str)],
    /// Other pages.
    pub see_also: &'static [&'static str],
}

const CLUSTER_TOML: (&str, &str) = ("/etc/ssi/cluster.toml", "The cluster's configuration, the same on every node.");
const SOCKET: (&str, &str) = ("/run/ssi/clusterd.sock", "Where ssi\\-clusterd is asked.");
const KEY: (&str, &str) = ("/etc/corosync/authkey", "The key that all nodes of the cluster share. Only root reads it.");

fn extra(page: &str) -> Extra {
    let plain = Extra { examples: &[], statuses: &[], files: &[SOCKET], see_also: &["ssi(1)", "ssi(7)"] };
    match page {
        "ssi" => Extra {
            examples: &[
                ("ssi create --name alpha", "Make this machine the first node of a new cluster."),
                ("ssi status --watch", "Look at the cluster as it changes."),
                ("ssi wait --up 3 --timeout 2m && run-the-backup", "Do something once three nodes are UP."),
                ("ssi doctor", "Find out why it does not work."),
            ],
            files: &[CLUSTER_TOML, SOCKET],
            see_also: &["ssi-clusterd(8)", "cluster.toml(5)", "ssi(7)"],
            ..plain
        },
        "ssi-status" => Extra {
            examples: &[
                ("ssi status", "One screen."),
                ("ssi status --json | jq '.nodes[] | select(.state == \"UP\") | .name'", "The names of the UP nodes."),
            ],
            statuses: &[
                (0, "This node is a member of a view with quorum."),
                (
                    3,
                    "The daemon does not run, its engine is down, there is no quorum, or this node is still joining. As far as there is something to show, it is shown.",
                ),
            ],
            ..plain
        },
        "ssi-wait" => Extra {
            examples: &[
                (
                    "ssi wait --quorum --timeout 1m",
                    "Wait until something can be done for the whole cluster, but not longer than a minute.",
                ),
                (
                    "ssi node shutdown 3 && ssi wait --node 3 --state DOWN",
                    "Take node 3 out, and wait until it is cleaned up after.",
                ),
            ],
            statuses: &[
                (0, "All that was waited for is so."),
                (1, "The time was up first; what is missing is told. A daemon that does not run is waited for too."),
                (3, ""),
                (4, ""),
            ],
            ..plain
        },
        "ssi-log" => Extra {
            examples: &[
                ("ssi log", "All transitions that are still kept."),
                (
                    "ssi log --follow --json",
                    "One JSON object a line, as they come; \"kind\" is transition, no\\-longer\\-kept or rewritten.",
                ),
                (
                    "ssi log --scripts",
                    "Which scripts were run when nodes came and went, and what the failed ones printed.",
                ),
            ],
            ..plain
        },
        "ssi-create" => Extra {
            examples: &[
                ("ssi create --name alpha --dry-run", "See what would be written."),
                ("ssi create --name alone --engine solo", "A cluster of one machine, with nothing to install."),
            ],
            statuses: &[(4, "There is a cluster.toml already, or the caller may not write it.")],
            files: &[CLUSTER_TOML, KEY],
            see_also: &["cluster.toml(5)", "ssi-node-add(1)", "corosync-keygen(8)"],
        },
        "ssi-node-add" => Extra {
            examples: &[(
                "ssi node add --name node4 --address 192.0.2.14 --mac 52:54:00:00:00:04",
                "Add a machine under the lowest number that no node ever had.",
            )],
            statuses: &[(
                4,
                "The number is taken, cluster.toml would be wrong, or the daemon refused. Nothing was changed.",
            )],
            files: &[CLUSTER_TOML, KEY],
            see_also: &["cluster.toml(5)", "ssi-node-remove(1)"],
        },
        "ssi-node-remove" => Extra {
            statuses: &[(4, "The node is a member, or it is this machine. Nothing was changed.")],
            files: &[CLUSTER_TOML],
            see_also: &["cluster.toml(5)", "ssi-node-add(1)", "ssi-node-shutdown(1)"],
            ..plain
        },
        "ssi-node-shutdown" => Extra {
            examples: &[(
                "ssi node shutdown node3 --reboot && ssi wait --node node3 --state UP",
                "Start node3 anew and wait for it.",
            )],
            ..plain
        },
        "ssi-doctor" => Extra {
            examples: &[("ssi doctor --json | jq '.[] | select(.level == \"fail\")'", "Only what does not work.")],
            statuses: &[(0, "No check failed; there may be warnings."), (1, "A check failed.")],
            files: &[CLUSTER_TOML, KEY, ("/etc/corosync/corosync.conf", "Corosync's configuration."), SOCKET],
            ..plain
        },
        "ssi-completions" => Extra {
            examples: &[(
                "ssi completions bash > /usr/share/bash-completion/completions/ssi",
                "Install them for bash.",
            )],
            files: &[],
            ..plain
        },
        "cluster" => {
            Extra { examples: &[("cluster -v", "One line for each node: its number and its state.")], ..plain }
        }
        _ => plain,
    }
}

/// The meanings of the exit statuses that all commands share.
const STATUSES: [(u8, &str); 5] = [
    (0, "Done."),
    (1, "Failed."),
    (2, "Wrong use."),
    (3, "This machine is not a member of the cluster now, or there is no quorum."),
    (4, "Refused: the caller may not do this, or the state of the cluster forbids it."),
];

/// Writes the manual pages of all commands into a folder, and gives their paths.
///
/// # Errors
/// Names the page that could not be written and what the system said.
pub fn render(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages: Vec<(String, Vec<u8>)> = Vec::new();
    for root in [
        Ssi::command(),
        openssi::Cluster::command(),
        openssi::ClusterName::command(),
        openssi::ClusterNodeNum::command(),
        openssi::ClusterNodeGetState::command(),
        openssi::Loads::command(),
    ] {
        pages.extend(pages_of(root, &extra)?);
    }
    write(dir, pages)
}

/// The pages of a command and its subcommands: name and text. `extra` is asked for what each has beyond its definition.
///
/// # Errors
/// Names the page that could not be made.
pub fn pages_of(command: Command, extra: &dyn Fn(&str) -> Extra) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command_pages(&command, extra, &mut pages)?;
    Ok(pages)
}

/// Writes pages into a folder, and gives their paths.
///
/// # Errors
/// Names the page that could not be written and what the system said.
pub fn write(dir: &Path, pages: Vec<(String, Vec<u8>)>) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).with_context(|| format!("making the folder {}", dir.display()))?;
    let mut written = Vec::new();
    for (name, text) in pages {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// The page of a command, and those of its subcommands.
fn command_pages(
    command: &Command,
    extra: &dyn Fn(&str) -> Extra,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let text =
        command_page(command, &name, &extra(&name)).with_context(|| format!("making the manual page {name}.1"))?;
    pages.push((format!("{name}.1"), text));
    for subcommand in command.get_subcommands() {
        command_pages(subcommand, extra, pages)?;
    }
    Ok(())
}

fn command_page(command: &Command, name: &str, extra: &Extra) -> std::io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(format!("ssi {}", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let statuses = STATUSES
        .iter()
        .map(|(n, meaning)| (n, extra.statuses.iter().find(|(own, _)| own == n).map_or(*meaning, |(_, own)| own)));
    section(
        &mut page,
        "EXIT STATUS",
        statuses.filter(|(_, meaning)| !meaning.is_empty()).map(|(n, meaning)| (n.to_string(), meaning)),
    )?;
    section(&mut page, "FILES", extra.files.iter().map(|(path, what)| (format!("\\fI{}\\fR", escaped(path)), *what)))?;
    section(
        &mut page,
        "EXAMPLES",
        extra.examples.iter().map(|(typed, does)| (format!("\\fB{}\\fR", escaped(typed)), *does)),
    )?;
    if !extra.see_also.is_empty() {
        let pages: Vec<String> = extra
            .see_also
            .iter()
            .filter_map(|p| p.split_once('('))
            .map(|(page, section)| format!("\\fB{}\\fR({section}", escaped(page)))
            .collect();
        write!(page, ".SH \"SEE ALSO\"\n{}\n", pages.join(",\n"))?;
    }
    Ok(page)
}

/// A section of terms and what they mean; none when there are none.
fn section<'a>(page: &mut Vec<u8>, title: &str, items: impl Iterator<Item = (String, &'a str)>) -> std::io::Result<()> {
    let mut items = items.peekable();
    if items.peek().is_some() {
        writeln!(page, ".SH \"{title}\"")?;
    }
    for (term, meaning) in items {
        writeln!(page, ".TP\n{term}\n{meaning}")?;
    }
    Ok(())
}

/// A text as roff shows it: hyphens stay hyphens, backslashes and quotes stay what they are.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command as Process;

    #[test]
    fn every_command_has_its_page() {
        let dir = tempfile::tempdir().unwrap();
        let pages = render(dir.path()).unwrap();
        let names: Vec<String> = pages.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
        for wanted in ["ssi.1", "ssi-status.1", "ssi-node-add.1", "ssi-doctor.1", "cluster.1", "loads.1"] {
            assert!(names.iter().any(|n| n == wanted), "{wanted} is not among {names:?}");
        }
        let page = std::fs::read_to_string(dir.path().join("ssi-node-add.1")).unwrap();
        for wanted in [".SH NAME\nssi\\-node\\-add \\- ", "\\fBssi node add\\fR", "EXIT STATUS", "EXAMPLES", "FILES"] {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
        assert!(!page.contains("SSI_CLUSTERD_SOCKET"), "what is hidden shows");
    }

    /// Every example is a command line that the program takes.
    #[test]
    fn the_examples_can_be_typed() {
        use clap::Parser;
        for page in [
            "ssi",
            "ssi-status",
            "ssi-wait",
            "ssi-log",
            "ssi-create",
            "ssi-node-add",
            "ssi-node-shutdown",
            "ssi-doctor",
            "ssi-completions",
        ] {
            for (line, _) in extra(page).examples {
                for part in line.split(" && ").filter(|p| p.starts_with("ssi ")) {
                    let words = part.split_whitespace().take_while(|w| !["|", ">"].contains(w));
                    Ssi::try_parse_from(words).unwrap_or_else(|e| panic!("{part}: {e}"));
                }
            }
        }
    }

    /// The pages written by hand without a remark of mandoc's, those made from definitions without an error.
    #[test]
    fn mandoc_has_nothing_against_the_pages() {
        let dir = tempfile::tempdir().unwrap();
        let made = render(dir.path()).unwrap().into_iter().map(|page| (page, "error"));
        let by_hand = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")).unwrap();
        let by_hand: Vec<_> = by_hand.map(|entry| (entry.unwrap().path(), "base")).collect();
        assert!(!by_hand.is_empty());
        for (page, level) in made.chain(by_hand) {
            let Ok(lint) = Process::new("mandoc").args(["-T", "lint", "-W", level]).arg(&page).output() else {
                eprintln!("mandoc is not installed: the pages were not looked at");
                return;
            };
            // Whether a page that is referred to is installed is not this page's fault; see the test below.
            let said = String::from_utf8_lossy(&lint.stdout).into_owned();
            let said: Vec<&str> = said.lines().filter(|l| !l.contains("referenced manual not found")).collect();
            assert!(said.is_empty(), "{said:#?}");
        }
    }

    #[test]
    fn pages_refer_to_pages_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut pages = render(dir.path()).unwrap();
        // The page of the other command; xtask writes it.
        pages.push(dir.path().join("cdsl.1"));
        std::fs::write(&pages[pages.len() - 1], "").unwrap();
        let by_hand = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")).unwrap();
        pages.extend(by_hand.map(|entry| entry.unwrap().path()));
        let there: Vec<String> = pages.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
        let mut seen = 0;
        for page in &pages {
            let text = std::fs::read_to_string(page).unwrap();
            let in_mdoc = text.lines().filter_map(|l| l.strip_prefix(".Xr "));
            let in_mdoc = in_mdoc.filter_map(|l| {
                let mut words = l.split_whitespace();
                Some(format!("{}.{}", words.next()?, words.next()?))
            });
            let in_man = text.lines().filter_map(|l| {
                let (name, rest) = l.strip_prefix("\\fB")?.split_once("\\fR(")?;
                Some(format!("{}.{}", name.replace("\\-", "-"), rest.split_once(')')?.0))
            });
            // Of other packages, as every machine has them.
            let foreign = |w: &String| {
                w.starts_with("corosync")
                    || w.starts_with("systemd")
                    || [
                        "systemctl.1",
                        "loginctl.1",
                        "journalctl.1",
                        "init.1",
                        "kernel-command-line.7",
                        "busctl.1",
                        "sd_notify.3",
                        "sulogin.8",
                        "shutdown.8",
                        "reboot.8",
                    ]
                    .contains(&w.as_str())
                    || ["dpkg.1", "rpm.8", "os-release.5", "symlink.7", "mount_namespaces.7"].contains(&w.as_str())
            };
            for wanted in in_mdoc.chain(in_man).filter(|w| !foreign(w)) {
                seen += 1;
                assert!(there.contains(&wanted), "{}: {wanted} is not there", page.display());
            }
        }
        assert!(seen > 30, "only {seen} references were found");
    }
}
