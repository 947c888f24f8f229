// SPDX-License-Identifier: GPL-2.0-or-later
//! Lengths of time and calendar expressions, side by side with `systemd-analyze timespan` and `calendar`.

mod chance;

use std::collections::BTreeSet;
use std::process::Command;

use chance::{Chance, program, rounds};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ssi_unit::time::{CalendarSpec, format_span, parse_seconds};

fn number(chance: &mut Chance, low: u64, high: u64) -> String {
    // Now and then just outside the range.
    let value = match chance.below(30) {
        0 => high + 1,
        1 => low.saturating_sub(1),
        _ => low + chance.below(high - low + 1),
    };
    if chance.once_in(3) { format!("{value:02}") } else { value.to_string() }
}

fn chain(chance: &mut Chance, low: u64, high: u64, decimals: bool) -> String {
    if chance.once_in(3) {
        return "*".to_owned();
    }
    let mut text = String::new();
    for index in 0..=chance.below(3) {
        if index > 0 {
            text.push(',');
        }
        text += &number(chance, low, high);
        if decimals && chance.once_in(4) {
            text += &format!(".{}", chance.below(10_000_000));
        }
        if chance.once_in(4) {
            text += "..";
            text += &number(chance, low, high);
        }
        if chance.once_in(3) {
            text += "/";
            text += &number(chance, 1, (high - low) / 2);
            if decimals && chance.once_in(3) {
                text += &format!(".{}", chance.below(1000));
            }
        }
        if !chance.once_in(3) {
            break;
        }
    }
    text
}

fn expression(chance: &mut Chance) -> String {
    let mut text = String::new();
    if chance.once_in(25) {
        let words = [
            "minutely",
            "Hourly",
            "daily",
            "weekly",
            "monthly",
            "quarterly",
            "yearly",
            "semi-annually",
            "never",
            "@1234567890",
            "@-0",
            "",
        ];
        return chance.pick(&words).to_owned();
    }
    if chance.once_in(3) {
        let days = ["Mon", "tue", "Wednesday", "Thu", "FRI", "sat", "Sunday"];
        for _ in 0..=chance.below(2) {
            text += chance.pick(&days);
            text += chance.pick(&["..", ",", "-", "", "", ".", ","]);
        }
        text += " ";
    }
    if chance.once_in(2) {
        if chance.once_in(2) {
            text += &if chance.once_in(3) { number(chance, 20, 40) } else { chain(chance, 2020, 2060, false) };
            text += "-";
        }
        text += &chain(chance, 1, 12, false);
        text += chance.pick(&["-", "-", "-", "~", ":"]);
        text += &chain(chance, 1, 31, false);
        text += chance.pick(&[" ", " ", " ", "", "  "]);
    }
    if !text.is_empty() && chance.once_in(4) {
        return text.trim_end().to_owned();
    }
    text += &chain(chance, 0, 23, false);
    text += ":";
    text += &chain(chance, 0, 59, false);
    if chance.once_in(2) {
        text += ":";
        text += &chain(chance, 0, 59, true);
    }
    text += chance.pick(&["", "", "", "", "", " UTC", " Europe/Berlin", " America/New_York", " Nowhere/City"]);
    text
}

/// What the referee says of one expression: its normal form and the times it elapses.
type Verdict = (String, Vec<String>);

/// The referee's answer to one expression.
#[derive(Debug)]
enum Answer {
    Refused,
    /// Its search for the next time got stuck, as it does where the clock changes, and it printed nothing.
    Stuck,
    Said(Verdict),
}

/// Asks for many expressions at once.
fn ask(expressions: &[String], base: &str, zone: &str, iterations: usize) -> Vec<Answer> {
    let output = Command::new("systemd-analyze")
        .args(["calendar", &format!("--base-time={base}"), &format!("--iterations={iterations}"), "--"])
        .args(expressions)
        .env("TZ", zone)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut verdicts: Vec<Verdict> = Vec::new();
    for line in stdout.lines() {
        let Some((label, value)) = line.trim().split_once(": ") else { continue };
        match label {
            "Normalized form" => verdicts.push((value.to_owned(), Vec::new())),
            "Next elapse" => verdicts.last_mut().unwrap().1.push(value.to_owned()),
            iteration if iteration.starts_with("Iter.") => verdicts.last_mut().unwrap().1.push(value.to_owned()),
            // The same moment once more, and this time without doubt.
            "(in UTC)" => *verdicts.last_mut().unwrap().1.last_mut().unwrap() = value.to_owned(),
            _ => {}
        }
    }
    let mut verdicts = verdicts.into_iter();
    let complains = |what: &str, text: &str| stderr.contains(&format!("{what} '{text}':"));
    let answers = expressions.iter().map(|text| {
        if complains("Failed to parse calendar specification", text) {
            Answer::Refused
        } else if complains("Failed to determine next elapse for", text) {
            Answer::Stuck
        } else {
            Answer::Said(verdicts.next().expect("a verdict for each accepted expression"))
        }
    });
    answers.collect()
}

/// Where a step of minutes goes past midnight, or one of hours past the end of a month, systemd 252 begins the new day
/// or month not at its start but where the step landed, and so leaves times out. Each of ours that it lacks has to be
/// such a one.
fn only_skips(ours: &[String], theirs: &[String], zone: &TimeZone) -> bool {
    let mut rest = theirs.iter().peekable();
    ours.iter().all(|time| {
        if rest.peek() == Some(&time) {
            rest.next();
            return true;
        }
        let local = jiff::civil::DateTime::strptime("%a %Y-%m-%d %H:%M:%S UTC", time).unwrap();
        let local = local.to_zoned(TimeZone::UTC).unwrap().with_time_zone(zone.clone());
        rest.peek().is_some() && (local.hour() == 0 || local.day() == 1)
    })
}

fn compare(seed: u64, zone_name: &str, base: Timestamp, count: usize) {
    if program("systemd-analyze").is_none() {
        return;
    }
    let zone = TimeZone::get(zone_name).unwrap();
    let mut chance = Chance::new(seed);
    let (mut accepted, mut compared, mut stuck, mut skipped, mut differences) = (0, 0, 0, 0, Vec::new());
    let iterations = 4;
    let base_text = base.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    for _ in 0..count.div_ceil(50) {
        let batch: BTreeSet<String> = (0..50).map(|_| expression(&mut chance)).collect();
        let batch: Vec<String> = batch.into_iter().collect();
        for (text, verdict) in batch.iter().zip(ask(&batch, &base_text, zone_name, iterations)) {
            let ours = CalendarSpec::parse(text, &zone);
            let ours = match (ours, verdict) {
                (Err(_), Answer::Refused) => continue,
                // Of a list of days from the month's end it lets each next one be three days less far from it.
                (Ok(_), Answer::Refused) if text.contains('~') && text.contains(',') => continue,
                (Ok(_), Answer::Stuck) => {
                    stuck += 1;
                    continue;
                }
                (Ok(ours), Answer::Said(theirs)) => (ours, theirs),
                (ours, theirs) => {
                    differences.push(format!("{text:?}: we {ours:?}, systemd {theirs:?}"));
                    continue;
                }
            };
            let (spec, (normal, times)) = ours;
            accepted += 1;
            if spec.to_string() != normal {
                differences.push(format!("{text:?}: we {spec}, systemd {normal}"));
            }
            let mut after = base;
            let mut own = Vec::new();
            while own.len() < iterations {
                let Some(next) = spec.next_elapse(after, &zone) else {
                    if own.is_empty() {
                        own.push("never".to_owned());
                    }
                    break;
                };
                own.push(next.strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string());
                after = next;
            }
            compared += times.len();
            if own[..times.len().min(own.len())] != times[..] {
                let named = text.rsplit(' ').next().and_then(|word| TimeZone::get(word).ok());
                if text.contains('/') && only_skips(&own, &times, named.as_ref().unwrap_or(&zone)) {
                    skipped += 1;
                    continue;
                }
                differences.push(format!("{text:?}: we {own:?}, systemd {times:?}"));
            }
        }
    }
    eprintln!(
        "{zone_name}: {accepted} expressions accepted by both, {compared} times compared; {stuck} stuck, {skipped} skip"
    );
    assert!((stuck + skipped) * 20 < accepted, "{stuck} stuck and {skipped} skipping of {accepted} is not rare");
    assert!(accepted > count / 5, "only {accepted} of {count} expressions were any good");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn calendar_expressions_in_utc() {
    compare(11, "UTC", "2026-08-05T10:20:30Z".parse().unwrap(), rounds(1500));
}

#[test]
fn calendar_expressions_in_a_zone_with_summer_time() {
    compare(12, "Europe/Berlin", "2026-01-31T22:59:59Z".parse().unwrap(), rounds(800));
}

#[test]
fn calendar_expressions_across_both_changes_of_the_clock() {
    compare(13, "Europe/Berlin", "2026-03-28T20:00:00Z".parse().unwrap(), rounds(600));
    compare(14, "America/New_York", "2026-10-31T20:00:00Z".parse().unwrap(), rounds(600));
}

#[test]
fn lengths_of_time() {
    if program("systemd-analyze").is_none() {
        return;
    }
    let mut chance = Chance::new(21);
    let units = [
        "", "s", "sec", "min", "m", "M", "month", "h", "hr", "d", "days", "w", "y", "us", "µs", "ms", "msec", "x", ".",
    ];
    let mut seen = 0;
    for _ in 0..rounds(600).div_ceil(50) {
        let batch: BTreeSet<String> = (0..50)
            .map(|_| {
                let mut text = String::new();
                for _ in 0..=chance.below(3) {
                    text += chance.pick(&["", "", "", " ", "+", "-"]);
                    let size = 10u64.pow(u32::try_from(chance.below(12)).unwrap());
                    text += &chance.below(size + 1).to_string();
                    if chance.once_in(3) {
                        text += &format!(".{}", chance.below(100_000));
                    }
                    text += chance.pick(&["", "", " "]);
                    text += chance.pick(&units);
                    text += chance.pick(&["", " "]);
                }
                text
            })
            .collect();
        for text in &batch {
            // It gives up at the first bad one, so each gets a run of its own.
            let output = Command::new("systemd-analyze")
                .args(["timespan", "--", text])
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            let value = |label| stdout.lines().find_map(|line| line.trim_start().strip_prefix(label)).map(str::trim);
            let ours = parse_seconds(text);
            let (Some(micros), Some(human)) = (value("μs:"), value("Human:")) else {
                assert!(ours.is_err(), "{text:?}: we {ours:?}, systemd refuses");
                continue;
            };
            let ours = ours.unwrap_or_else(|error| panic!("{text:?}: we {error}, systemd {micros}"));
            assert_eq!(ours.unwrap().as_micros().to_string(), micros, "{text:?}");
            assert_eq!(format_span(ours, std::time::Duration::from_micros(1)), human, "{text:?}");
            seen += 1;
        }
    }
    eprintln!("{seen} lengths of time accepted by both");
    assert!(seen > 100);
}
