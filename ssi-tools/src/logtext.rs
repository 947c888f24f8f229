// SPDX-License-Identifier: GPL-2.0-or-later
//! The transition log and the scripts as text, and what is to be told next when the log is followed. Pure.

use std::collections::VecDeque;

use ssi_cluster::Transition;
use ssi_cluster::client::ScriptStatus;

use crate::figures;
use crate::output::{Paint, Tone};
use crate::screen::tone_of;
use crate::table::{Cell, Side, render};

/// How many told entries are remembered, to find out after a broken connection whether they still hold.
const REMEMBERED: usize = 256;

/// A transition on one line.
pub fn line(t: &Transition, utc: bool, paint: Paint) -> String {
    let state = |name: &str| paint.put(tone_of(name), name);
    let cause: String = t.cause.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let mut line = format!(
        "{:>5}  {}  node {}: {} -> {}",
        t.id,
        paint.put(Tone::Quiet, &figures::time(t.at_ms, utc)),
        t.node,
        state(t.from.name()),
        state(t.to.name())
    );
    if !cause.is_empty() {
        line.push_str(&format!("  ({cause})"));
    }
    line
}

/// What a follower has told so far, and what is left to be told. Feed it pages as they are read; it never tells an entry
/// twice, and never silently leaves one out.
#[derive(Debug, Default)]
pub struct Told {
    /// The last entry that was told, or the one after which to start.
    last: u64,
    /// The newest of those told.
    recent: VecDeque<Transition>,
}

/// What is to be told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// This entry.
    Entry(Transition),
    /// Entries that can no longer be had.
    NoLongerKept {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Entries already told, from this number on, do not hold any more.
    Rewritten {
        /// The number.
        from: u64,
    },
}

impl Told {
    /// Starts after the entry `since`.
    pub fn after(since: u64) -> Self {
        Told { last: since, recent: VecDeque::new() }
    }

    /// After which entry to read.
    pub fn position(&self) -> u64 {
        self.last
    }

    /// After which entry to read when the connection was broken in between: far enough back to see whether what was
    /// told still holds.
    pub fn position_to_compare(&self) -> u64 {
        self.recent.front().map_or(self.last, |t| t.id - 1)
    }

    /// Takes a page of the log that was read after some entry: `oldest` is the oldest one kept anywhere.
    pub fn take(&mut self, oldest: u64, page: Vec<Transition>) -> Vec<News> {
        let mut news = Vec::new();
        let missing_up_to = oldest.saturating_sub(1);
        if missing_up_to > self.last {
            news.push(News::NoLongerKept { first: self.last + 1, last: missing_up_to });
            self.last = missing_up_to;
        }
        for entry in page {
            if entry.id <= self.last {
                let differs = self.recent.iter().any(|t| t.id == entry.id && *t != entry);
                if !differs {
                    continue;
                }
                news.extend(self.rewritten(entry.id));
            }
            if entry.id != self.last + 1 {
                // Does not follow on: the log changed between two reads. The next read, from here, will tell.
                break;
            }
            self.last = entry.id;
            self.recent.push_back(entry.clone());
            if self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
            news.push(News::Entry(entry));
        }
        news
    }

    /// Takes the whole log from [`Told::position_to_compare`] on, read after the connection was broken in between: what
    /// differs from what was told, or is not there any more, is told as rewritten.
    pub fn compare(&mut self, oldest: u64, whole: Vec<Transition>) -> Vec<News> {
        let newest = whole.last().map_or_else(|| self.position_to_compare().max(oldest.saturating_sub(1)), |t| t.id);
        let mut news: Vec<News> =
            if newest < self.last { self.rewritten(newest + 1).into_iter().collect() } else { Vec::new() };
        news.extend(self.take(oldest, whole));
        news
    }

    /// The log was replaced from `from` on: what was told of that is void.
    pub fn rewritten(&mut self, from: u64) -> Option<News> {
        let from = from.max(1);
        if from > self.last {
            return None;
        }
        self.last = from - 1;
        self.recent.retain(|t| t.id < from);
        Some(News::Rewritten { from })
    }
}

/// `ssi log --scripts`.
pub fn scripts(scripts: &[ScriptStatus], paint: Paint) -> String {
    const HEADING: [(&str, Side); 7] = [
        ("ID", Side::Right),
        ("WORK", Side::Left),
        ("NODE", Side::Right),
        ("SCRIPT", Side::Left),
        ("RUN BY", Side::Right),
        ("OUTCOME", Side::Left),
        ("STATUS", Side::Right),
    ];
    let rows: Vec<Vec<Cell>> = scripts
        .iter()
        .map(|s| {
            let tone = match s.outcome.as_str() {
                "done" => Tone::Good,
                "running" => Tone::Notice,
                "lost" => Tone::Quiet,
                _ => Tone::Bad,
            };
            vec![
                s.transition.to_string().into(),
                s.kind.as_str().into(),
                s.node.to_string().into(),
                s.script.as_str().into(),
                s.runner.to_string().into(),
                Cell::new(tone, s.outcome.as_str()),
                s.status.map_or_else(|| figures::UNKNOWN.to_owned(), |n| n.to_string()).into(),
            ]
        })
        .collect();
    let mut text = render(&HEADING, &rows, paint);
    for s in scripts.iter().filter(|s| is_failure(s)) {
        text.push_str(&format!(
            "\n{} {} for node {} (transition {}) {}",
            s.kind, s.script, s.node, s.transition, s.outcome
        ));
        match s.output.as_deref().map(str::trim_end).filter(|o| !o.is_empty()) {
            Some(output) => {
                text.push_str("; its last words:\n");
                for line in output.lines() {
                    let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
                    text.push_str(&format!("    {line}\n"));
                }
            }
            None => text.push_str(" and printed nothing\n"),
        }
    }
    text
}

/// Whether a script came to a bad end.
pub fn is_failure(s: &ScriptStatus) -> bool {
    !matches!(s.outcome.as_str(), "done" | "running" | "lost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ssi_cluster::{NodeId, NodeState, ViewId};

    fn entry(id: u64, cause: &str) -> Transition {
        Transition {
            id,
            at_ms: 1_700_000_000_000 + id,
            view: ViewId(3),
            node: NodeId::new(2).unwrap(),
            from: NodeState::ComingUp,
            to: NodeState::Up,
            cause: cause.into(),
        }
    }

    #[test]
    fn an_entry_on_one_line() {
        let text = line(&entry(7, "nodeup work\ndone"), true, Paint::PLAIN);
        assert_eq!(text, "    7  2023-11-14T22:13:20.007Z  node 2: COMINGUP -> UP  (nodeup work?done)");
    }

    #[test]
    fn what_is_no_longer_kept_is_said_once() {
        let mut told = Told::after(2);
        let news = told.take(6, vec![entry(6, "a")]);
        assert_eq!(news, [News::NoLongerKept { first: 3, last: 5 }, News::Entry(entry(6, "a"))]);
        assert_eq!(told.take(6, vec![]), []);
    }

    #[test]
    fn after_a_broken_connection_only_what_differs_is_told_again() {
        let mut told = Told::after(0);
        told.take(1, vec![entry(1, "a"), entry(2, "b"), entry(3, "c")]);
        assert_eq!(told.position_to_compare(), 0);
        let news = told.take(1, vec![entry(1, "a"), entry(2, "other"), entry(3, "c"), entry(4, "d")]);
        assert_eq!(
            news,
            [
                News::Rewritten { from: 2 },
                News::Entry(entry(2, "other")),
                News::Entry(entry(3, "c")),
                News::Entry(entry(4, "d"))
            ]
        );
    }

    #[test]
    fn entries_that_are_gone_after_a_broken_connection_are_told_as_rewritten() {
        let mut told = Told::after(0);
        told.take(1, vec![entry(1, "a"), entry(2, "b"), entry(3, "c")]);
        assert_eq!(told.compare(1, vec![entry(1, "a")]), [News::Rewritten { from: 2 }]);
        assert_eq!(told.compare(1, vec![entry(1, "a"), entry(2, "new")]), [News::Entry(entry(2, "new"))]);
        assert_eq!(told.compare(1, vec![]), [News::Rewritten { from: 1 }]);
    }

    #[test]
    fn a_rewrite_of_what_was_not_told_yet_is_no_news() {
        let mut told = Told::after(0);
        told.take(1, vec![entry(1, "a")]);
        assert_eq!(told.rewritten(2), None);
        assert_eq!(told.rewritten(0), Some(News::Rewritten { from: 1 }));
        assert_eq!(told.position(), 0);
    }

    #[test]
    fn a_failed_scripts_last_words_are_shown() {
        let failed = ScriptStatus {
            transition: 4,
            kind: "nodeup".into(),
            node: 2,
            script: "10-mount".into(),
            runner: 1,
            outcome: "failed".into(),
            status: Some(32),
            output: Some("mount: no such device\n".into()),
        };
        let text = scripts(&[failed], Paint::PLAIN);
        assert!(text.contains(" 4  nodeup     2  10-mount       1  failed       32\n"), "{text}");
        assert!(
            text.ends_with(
                "nodeup 10-mount for node 2 (transition 4) failed; its last words:\n    mount: no such device\n"
            ),
            "{text}"
        );
    }

    proptest! {
        /// Whatever pages are read, in whatever overlap, each entry of the log is told once and in order.
        #[test]
        fn nothing_is_lost_or_doubled(length in 1u64..60, pages in prop::collection::vec((0u64..60, 1u64..20), 1..40)) {
            let log: Vec<Transition> = (1..=length).map(|id| entry(id, "x")).collect();
            let mut told = Told::after(0);
            let mut heard = Vec::new();
            for (back, size) in pages {
                let since = told.position().saturating_sub(back);
                let page: Vec<_> = log.iter().filter(|t| t.id > since).take(size as usize).cloned().collect();
                for news in told.take(1, page) {
                    match news {
                        News::Entry(t) => heard.push(t.id),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            prop_assert_eq!(&heard, &(1..=told.position()).collect::<Vec<_>>());
        }
    }
}
