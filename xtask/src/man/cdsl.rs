// SPDX-License-Identifier: GPL-2.0-or-later
//! What the pages of `cdsl` have beyond its definition.

use ssi_tools::man::Extra;

const CLUSTER_TOML: (&str, &str) = ("/etc/ssi/cluster.toml", "The nodes, with their numbers and variables.");
const INVENTORY: (&str, &str) = ("/cluster/.cdsl/inventory.toml", "Which CDSLs there are.");
const ATTIC: (&str, &str) = ("/cluster/.cdsl/attic/", "What was taken away or replaced.");
const LISTS: [(&str, &str); 2] = [
    ("/usr/lib/ssi/cdsl.d/*.toml", "What packages ask for."),
    ("/etc/ssi/cdsl.d/*.toml", "What the site asks for; a file of the same name takes the place of a package's."),
];

/// No command of `cdsl` needs the cluster to be up.
const STATUSES: &[(u8, &str)] = &[(3, "")];
const FOUND: &[(u8, &str)] = &[(1, "Something was found, or failed."), (3, "")];

/// For the page of this name.
pub(super) fn extra(page: &str) -> Extra {
    let plain = Extra {
        examples: &[],
        statuses: STATUSES,
        files: &[CLUSTER_TOML, INVENTORY, ATTIC],
        see_also: &["cdsl(1)", "cdsl(7)"],
    };
    match page {
        "cdsl" => Extra {
            examples: &[
                ("cdsl create /etc/hostname", "Each node has its own host name from here on."),
                ("cdsl resolve --all /etc/hostname", "Where the path leads on each node."),
                ("cdsl exec --node 3 -- cat /etc/hostname", "What node 3 reads there."),
                ("cdsl check", "Compare inventory and tree."),
            ],
            see_also: &["cdsl(7)", "cluster.toml(5)", "ssi(1)", "ssi(7)"],
            ..plain
        },
        "cdsl-create" => Extra {
            examples: &[
                ("cdsl create --dry-run /var/log", "Show what would be done."),
                ("cdsl create --default /etc/motd", "Shared as before, until a node is given its own."),
                (
                    "cdsl create --var role /etc/nginx/sites-enabled",
                    "The web servers have theirs, the others have theirs.",
                ),
            ],
            ..plain
        },
        "cdsl-remove" => {
            Extra { examples: &[("cdsl remove --from 2 /etc/motd", "Shared again, with what node 2 had.")], ..plain }
        }
        "cdsl-node-add" => {
            Extra { examples: &[("cdsl node add 4 --like 3", "Node 4 begins with what node 3 has.")], ..plain }
        }
        "cdsl-foreach" => {
            Extra { examples: &[("cdsl foreach /etc/motd -- wc -l", "Count the lines of every copy.")], ..plain }
        }
        "cdsl-check" => Extra { statuses: FOUND, ..plain },
        "cdsl-resolve" => Extra { statuses: &[(1, "On a node, nothing is there."), (3, "")], ..plain },
        "cdsl-diff" => Extra { statuses: &[(1, "They differ, or it failed."), (3, "")], ..plain },
        "cdsl-apply" => Extra { files: &LISTS, ..plain },
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cdsl_tools::cli::Cdsl;
    use clap::Parser as _;

    #[test]
    fn the_examples_can_be_typed() {
        for page in ["cdsl", "cdsl-create", "cdsl-remove", "cdsl-node-add", "cdsl-foreach"] {
            for (line, _) in extra(page).examples {
                Cdsl::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}
