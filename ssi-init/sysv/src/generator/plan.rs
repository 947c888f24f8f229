// SPDX-License-Identifier: GPL-2.0-or-later
//! From scripts and the links of the run levels to units: names, order, who wants them.

use super::header::{Header, Relation};
use super::name::{NETWORK_ONLINE, is_hidden_or_backup, unit_of_facility, unit_of_script};
use super::unit_file;
use ssi_unit::name::{UnitName, UnitType};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A run level in which services are started. In 0 and 6 the machine goes down, where the manager stops whatever runs;
/// the scripts of S are units of their own everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunLevel {
    /// One user, for repairs.
    One,
    /// Many users.
    Two,
    /// Many users.
    Three,
    /// Many users.
    Four,
    /// Many users, with a graphical login.
    Five,
}

impl RunLevel {
    /// All, in order.
    pub const ALL: [RunLevel; 5] = [RunLevel::One, RunLevel::Two, RunLevel::Three, RunLevel::Four, RunLevel::Five];

    /// The folder of its links, under /etc.
    pub fn folder(self) -> &'static str {
        match self {
            RunLevel::One => "rc1.d",
            RunLevel::Two => "rc2.d",
            RunLevel::Three => "rc3.d",
            RunLevel::Four => "rc4.d",
            RunLevel::Five => "rc5.d",
        }
    }

    /// The target that it is to the manager (systemd.special(7), runlevel(8)).
    pub fn target(self) -> &'static str {
        match self {
            RunLevel::One => "rescue.target",
            RunLevel::Two | RunLevel::Three | RunLevel::Four => "multi-user.target",
            RunLevel::Five => "graphical.target",
        }
    }
}

/// A link that starts a script in a run level: `rc2.d/S03foo`. `K` links say in what order to stop, which the
/// manager derives from the order of starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartLink {
    /// The run level of the folder.
    pub level: RunLevel,
    /// The two digits: lower starts earlier.
    pub priority: u8,
    /// The script's unit.
    pub unit: UnitName,
}

impl StartLink {
    /// Reads a link's name; `None` if it starts nothing. What it leads to has no say.
    pub fn read(level: RunLevel, file_name: &[u8]) -> Option<StartLink> {
        let (&[b'S', tens, ones], script) = file_name.split_first_chunk::<3>()? else { return None };
        let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
        let priority = digit(tens)? * 10 + digit(ones)?;
        if script.is_empty() || is_hidden_or_backup(file_name) {
            return None;
        }
        Some(StartLink { level, priority, unit: unit_of_script(script).ok()? })
    }
}

/// A script to make a unit of.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its unit, see [`unit_of_script`].
    pub unit: UnitName,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
}

/// A unit to be written: all that is not the same for each of them.
#[derive(Debug, Clone)]
pub struct Service {
    /// The script.
    pub script: Script,
    /// The units before which it starts.
    pub before: Vec<UnitName>,
    /// The units after which it starts.
    pub after: Vec<UnitName>,
    /// The units it pulls in.
    pub wants: Vec<UnitName>,
    /// The highest number of its links; none if it is in no run level.
    priority: Option<u8>,
}

/// The files and links of the generator's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Unit files and their text.
    pub units: BTreeMap<UnitName, Vec<u8>>,
    /// Links beside them, each to the unit of which it is another name.
    pub aliases: BTreeMap<UnitName, UnitName>,
    /// Links in the folders `TARGET.wants`: target and unit.
    pub wanted: BTreeSet<(String, UnitName)>,
    /// What was passed over, for the log.
    pub remarks: Vec<String>,
}

/// Makes units of scripts. Of two scripts with one unit the first counts, so give them in an order that stays.
pub fn plan(scripts: Vec<Script>, links: &[StartLink]) -> Plan {
    let mut plan = Plan::default();
    let mut services: BTreeMap<UnitName, Service> = BTreeMap::new();
    for script in scripts {
        if let Some(first) = services.get(&script.unit) {
            plan.remarks.push(format!(
                "{} is left out: {} is {} already",
                script.path.display(),
                first.script.path.display(),
                script.unit.as_str()
            ));
            continue;
        }
        let service = Service { script, before: Vec::new(), after: Vec::new(), wants: Vec::new(), priority: None };
        services.insert(service.script.unit.clone(), service);
    }

    enable(&mut services, links, &mut plan);
    let mut aliases = Vec::new();
    for service in services.values_mut() {
        relate(service, &mut aliases, &mut plan.remarks);
    }
    order_by_priority(&mut services);

    for (alias, unit) in aliases {
        // A script of that name is the better claim.
        if !services.contains_key(&alias) {
            plan.aliases.entry(alias).or_insert(unit);
        }
    }
    for (name, service) in services {
        let text = unit_file::text(&service);
        plan.units.insert(name, text);
    }
    plan
}

/// What the links say: which target wants the service, and its place among those without LSB's block.
fn enable(services: &mut BTreeMap<UnitName, Service>, links: &[StartLink], plan: &mut Plan) {
    for level in RunLevel::ALL {
        // Two links of one script in one level are one.
        let mut here = BTreeSet::new();
        for link in links.iter().filter(|link| link.level == level) {
            let Some(service) = services.get_mut(&link.unit) else { continue };
            service.priority = service.priority.max(Some(link.priority));
            if here.insert(&link.unit) {
                // A constant; were it no name, the service would only miss an order.
                service.before.extend(UnitName::new(level.target()));
                plan.wanted.insert((level.target().to_owned(), link.unit.clone()));
            }
        }
    }
}

/// What LSB's block says of other names.
fn relate(service: &mut Service, aliases: &mut Vec<(UnitName, UnitName)>, remarks: &mut Vec<String>) {
    let Script { unit, path, header } = &service.script;
    let script = path.file_name().map_or(b"".as_slice(), |name| name.as_bytes());
    remarks.extend(header.remarks.iter().map(|remark| format!("{}: {remark}", path.display())));
    for (relation, word) in &header.relations {
        let name = match unit_of_facility(word, script) {
            Ok(Some(name)) => name,
            Ok(None) => continue,
            Err(error) => {
                let word = String::from_utf8_lossy(word);
                remarks.push(format!("{}: \"{word}\" is passed over: {error}", path.display()));
                continue;
            }
        };
        let online = name.as_str() == NETWORK_ONLINE;
        match relation {
            Relation::Provides => match name.unit_type() {
                UnitType::Service if name == *unit => {}
                UnitType::Service => aliases.push((name, unit.clone())),
                // The service pulls the target in, as a sign that it is reached; the target does not start services.
                UnitType::Target => {
                    service.before.push(name.clone());
                    service.wants.push(name);
                    if online && let Ok(network) = UnitName::new("network.target") {
                        service.before.push(network.clone());
                        service.wants.push(network);
                    }
                }
                other => remarks.push(format!(
                    "{}: \"Provides: {}\" is passed over: a script cannot be a {other}",
                    path.display(),
                    name.as_str()
                )),
            },
            Relation::Before => service.before.push(name),
            Relation::After => {
                if online {
                    service.wants.push(name.clone());
                }
                service.after.push(name);
            }
        }
    }
}

/// Where a script has no LSB's block, the numbers of its links are all that is known of its order.
fn order_by_priority(services: &mut BTreeMap<UnitName, Service>) {
    let known: Vec<(UnitName, u8, bool)> = services
        .values()
        .filter_map(|service| Some((service.script.unit.clone(), service.priority?, service.script.header.has_lsb)))
        .collect();
    for service in services.values_mut() {
        let Some(priority) = service.priority else { continue };
        for (other, theirs, has_lsb) in &known {
            if *has_lsb && service.script.header.has_lsb {
                continue;
            }
            match theirs.cmp(&priority) {
                std::cmp::Ordering::Less => service.after.push(other.clone()),
                std::cmp::Ordering::Greater => service.before.push(other.clone()),
                std::cmp::Ordering::Equal => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(name: &str, text: &str) -> Script {
        Script {
            unit: unit_of_script(name.as_bytes()).expect("a name"),
            path: PathBuf::from("/etc/init.d").join(name),
            header: Header::read(text.as_bytes()).expect("short lines"),
        }
    }

    fn text(plan: &Plan, unit: &str) -> String {
        String::from_utf8(plan.units[&UnitName::new(unit).expect("a name")].clone()).expect("UTF-8")
    }

    #[test]
    fn links_are_read_by_their_name() {
        let link = StartLink::read(RunLevel::Two, b"S07foo.sh").expect("a start link");
        assert_eq!((link.priority, link.unit.as_str()), (7, "foo.service"));
        for other in ["K07foo", "S0xfoo", "S07", "S7", "", "README", "S01foo.bak", "S01foo~"] {
            assert_eq!(StartLink::read(RunLevel::Two, other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn numbers_order_scripts_of_which_one_has_no_block() {
        let block = "### BEGIN INIT INFO\n### END INIT INFO\n";
        let links: Vec<StartLink> = ["S01a", "S02b", "S03c"]
            .iter()
            .filter_map(|name| StartLink::read(RunLevel::Three, name.as_bytes()))
            .collect();
        let plan = plan(vec![script("a", block), script("b", block), script("c", "")], &links);
        assert!(!text(&plan, "b.service").contains("After=a.service"));
        assert!(text(&plan, "b.service").contains("Before=c.service\n"));
        assert!(text(&plan, "c.service").contains("After=a.service\nAfter=b.service\n"));
    }

    #[test]
    fn a_script_wins_over_another_ones_provides() {
        let provides = "### BEGIN INIT INFO\n# Provides: b c\n";
        let plan = plan(vec![script("a", provides), script("b", ""), script("d", provides)], &[]);
        let aliases: Vec<_> = plan.aliases.iter().map(|(alias, unit)| (alias.as_str(), unit.as_str())).collect();
        assert_eq!(aliases, [("c.service", "a.service")]);
        assert_eq!(plan.units.len(), 3);
    }

    #[test]
    fn the_network_is_pulled_in_by_who_needs_it() {
        let plan = plan(vec![script("a", "### BEGIN INIT INFO\n# Required-Start: $network $remote_fs\n")], &[]);
        let text = text(&plan, "a.service");
        assert!(text.contains("After=network-online.target\nAfter=remote-fs.target\nWants=network-online.target\n"));
    }
}
