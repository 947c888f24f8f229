// SPDX-License-Identifier: GPL-2.0-or-later
//! Figures of ours beside a peer's. Pure.

use serde_json::{Value, json};

/// One thing that was measured several times on both sides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What it is.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Whom ours is compared with.
    pub(crate) peer_name: String,
    /// Ours, in the order measured.
    pub(crate) ours: Vec<f64>,
    /// The peer's.
    pub(crate) peer: Vec<f64>,
}

/// How a set of figures lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The least.
    pub(crate) minimum: f64,
    /// The one in the middle, or the mean of the two there.
    pub(crate) median: f64,
    /// The greatest.
    pub(crate) maximum: f64,
}

impl Spread {
    /// Of these figures; `None` when there are none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { minimum: first, median, maximum: last })
    }
}

impl Row {
    /// Our median by the peer's; `None` when there is none, or the peer's is 0.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (Spread::of(&self.ours)?, Spread::of(&self.peer)?);
        (peer.median != 0.0).then(|| ours.median / peer.median)
    }

    /// The row for programs: `ours` and `peer` are the medians.
    pub(crate) fn json(&self) -> Value {
        let (ours, peer) = (Spread::of(&self.ours), Spread::of(&self.peer));
        let both = |of: fn(Spread) -> f64| json!({ "ours": ours.map(of), "peer": peer.map(of) });
        json!({
            "name": self.name,
            "unit": self.unit,
            "ours": ours.map(|spread| spread.median),
            "peer": peer.map(|spread| spread.median),
            "peer_name": self.peer_name,
            "ratio": self.ratio(),
            "runs": self.ours.len().min(self.peer.len()),
            "minimum": both(|spread| spread.minimum),
            "median": both(|spread| spread.median),
            "maximum": both(|spread| spread.maximum),
        })
    }
}

/// The rows for people.
pub(crate) fn table(rows: &[Row]) -> Vec<String> {
    let heading =
        ["what", "unit", "ours", "min..max", "peer", "min..max", "ratio", "runs", "beside"].map(str::to_owned);
    let mut cells = vec![heading.to_vec()];
    for row in rows {
        let (ours, peer) = (Spread::of(&row.ours), Spread::of(&row.peer));
        let median = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |s| figure(s.median));
        let range = |spread: Option<Spread>| {
            spread.map_or_else(|| "-".to_owned(), |s| format!("{}..{}", figure(s.minimum), figure(s.maximum)))
        };
        cells.push(vec![
            row.name.clone(),
            row.unit.to_owned(),
            median(ours),
            range(ours),
            median(peer),
            range(peer),
            row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            row.ours.len().min(row.peer.len()).to_string(),
            row.peer_name.clone(),
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..heading_columns(&cells)).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

fn heading_columns(cells: &[Vec<String>]) -> usize {
    cells.first().map_or(0, Vec::len)
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            name: "x".into(),
            unit: "ms",
            peer_name: "them".into(),
            ours: vec![30.0, 10.0, 20.0],
            peer: vec![5.0, 1.0, 2.0, 4.0],
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(Spread::of(&row().ours), Some(Spread { minimum: 10.0, median: 20.0, maximum: 30.0 }));
        assert_eq!(Spread::of(&row().peer), Some(Spread { minimum: 1.0, median: 3.0, maximum: 5.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_json_has_every_field() {
        let json = row().json();
        assert_eq!((json["ours"].as_f64(), json["runs"].as_u64()), (Some(20.0), Some(3)));
        assert!((json["ratio"].as_f64().unwrap_or(0.0) - 20.0 / 3.0).abs() < 1e-9);
        for field in ["minimum", "median", "maximum"] {
            assert!(json[field]["ours"].is_number() && json[field]["peer"].is_number(), "{field}");
        }
        assert_eq!(json["maximum"]["peer"].as_f64(), Some(5.0));
    }

    #[test]
    fn nothing_to_compare_with_is_no_ratio() {
        assert_eq!(Row { peer: vec![0.0], ..row() }.ratio(), None);
        assert_eq!(Row { peer: vec![], ..row() }.json()["ratio"], Value::Null);
    }

    #[test]
    fn columns_stand_under_each_other() {
        let lines = table(&[row(), Row { name: "a longer name".into(), ..row() }]);
        let places: Vec<_> = lines.iter().map(|line| line.find("ms").or(line.find("unit"))).collect();
        assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{lines:#?}");
    }
}
