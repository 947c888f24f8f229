// SPDX-License-Identifier: GPL-2.0-or-later
//! Comparing versions and matching patterns.

use std::cmp::Ordering;

/// What an order has to be.
type Test = fn(Ordering) -> bool;

/// How two values are compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operator {
    /// As versions or numbers.
    Order(Test),
    /// As texts.
    Text { equal: bool },
    /// The right one is a pattern.
    Pattern { equal: bool },
}

impl Operator {
    /// Takes an operator off the front. With `texts`, `=` and `!=` compare texts and `$=` and `!$=` patterns.
    pub(super) fn take(text: &str, texts: bool) -> Option<(Operator, &str)> {
        const ORDERS: [(&str, Test); 6] = [
            ("<>", Ordering::is_ne),
            ("<=", Ordering::is_le),
            (">=", Ordering::is_ge),
            ("<", Ordering::is_lt),
            (">", Ordering::is_gt),
            ("==", Ordering::is_eq),
        ];
        for (sign, equal) in [("$=", true), ("!$=", false)] {
            if let Some(rest) = text.strip_prefix(sign) {
                return texts.then_some((Operator::Pattern { equal }, rest));
            }
        }
        for (sign, test) in ORDERS {
            if let Some(rest) = text.strip_prefix(sign) {
                return Some((Operator::Order(test), rest));
            }
        }
        let (equal, rest) = match text.strip_prefix('=') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("!=")?),
        };
        let order: Test = if equal { Ordering::is_eq } else { Ordering::is_ne };
        Some((if texts { Operator::Text { equal } } else { Operator::Order(order) }, rest))
    }

    /// Compares two texts, as versions where the operator is one of order.
    pub(super) fn compare(self, left: &str, right: &str) -> bool {
        match self {
            Operator::Order(test) => test(compare_versions(left, right)),
            Operator::Text { equal } => (left == right) == equal,
            Operator::Pattern { equal } => matches(right, left, false) == equal,
        }
    }

    /// Compares two numbers; `None` for operators on texts.
    pub(super) fn compare_numbers(self, left: u64, right: u64) -> Option<bool> {
        match self {
            Operator::Order(test) => Some(test(left.cmp(&right))),
            Operator::Text { .. } | Operator::Pattern { .. } => None,
        }
    }
}

/// Orders two versions by the rules of the UAPI group's version format specification: segments of digits or letters,
/// `~` before the end, `-` before `^` before `.` before none.
pub(super) fn compare_versions(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        left = skip(left, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.')));
        right = skip(right, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.')));
        if let Some(decided) = separator(b'~', &mut left, &mut right) {
            return decided;
        }
        if left.is_empty() || right.is_empty() {
            return left.first().cmp(&right.first());
        }
        for sign in [b'-', b'^', b'.'] {
            if let Some(decided) = separator(sign, &mut left, &mut right) {
                return decided;
            }
        }
        let starts_with_digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let kind = if starts_with_digit(left) || starts_with_digit(right) {
            u8::is_ascii_digit
        } else {
            u8::is_ascii_alphabetic
        };
        let (left_segment, left_rest) = segment(left, kind);
        let (right_segment, right_rest) = segment(right, kind);
        let order = if kind(&b'0') {
            // A number is newer than none, and a longer number, zeros in front apart, is a larger one.
            let (l, r) = (skip(left_segment, |b| b == b'0'), skip(right_segment, |b| b == b'0'));
            let present = left_segment.is_empty().cmp(&right_segment.is_empty()).reverse();
            present.then(l.len().cmp(&r.len())).then(l.cmp(r))
        } else {
            left_segment.cmp(right_segment)
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

fn skip(text: &[u8], mut drop: impl FnMut(u8) -> bool) -> &[u8] {
    let kept = text.iter().position(|byte| !drop(*byte)).unwrap_or(text.len());
    text.get(kept..).unwrap_or_default()
}

fn segment(text: &[u8], kind: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| kind(byte)).count())
}

/// The side that has the sign is older; when both have it, it is skipped.
fn separator(sign: u8, left: &mut &[u8], right: &mut &[u8]) -> Option<Ordering> {
    match (left.strip_prefix(&[sign]), right.strip_prefix(&[sign])) {
        (Some(l), Some(r)) => {
            (*left, *right) = (l, r);
            None
        }
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

/// Matches a pattern of fnmatch(3) without flags: `*`, `?`, `[a-z]`, `[!a-z]`, backslash.
pub(super) fn matches(pattern: &str, text: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let (pattern, text): (Vec<char>, Vec<char>) = (fold(pattern).chars().collect(), fold(text).chars().collect());
    // The place behind the last star, and how much of the text that star has taken: going back there is enough.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let (Some(character), Some(next)) = (text.get(t), one(&pattern, p, text.get(t))) {
            let _ = character;
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((after, taken)) if taken < text.len() => {
                star = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Matches one character against the element at `at`; gives the place of the next element.
fn one(pattern: &[char], at: usize, character: Option<&char>) -> Option<usize> {
    let character = *character?;
    match (pattern.get(at)?, pattern.get(at + 1)) {
        ('?', _) => Some(at + 1),
        ('\\', Some(quoted)) => (*quoted == character).then_some(at + 2),
        ('[', _) => match set(pattern, at + 1, character) {
            Some((hit, next)) => hit.then_some(next),
            // A bracket that is never closed is an ordinary character.
            None => (character == '[').then_some(at + 1),
        },
        (own, _) => (*own == character).then_some(at + 1),
    }
}

fn set(pattern: &[char], mut at: usize, character: char) -> Option<(bool, usize)> {
    let negate = matches!(pattern.get(at)?, '!' | '^');
    at += usize::from(negate);
    let begin = at;
    let mut hit = false;
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && at > begin {
            return Some((hit != negate, at + 1));
        }
        if low == '\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                hit |= (low..=*high).contains(&character);
                at += 3;
            }
            _ => {
                hit |= low == character;
                at += 1;
            }
        }
    }
}

/// The alternatives of `{a,b}` in a pattern, as glob(3) has them with GLOB_BRACE; at most a thousand.
pub(super) fn braces(pattern: &str) -> Vec<String> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        match first_brace(&text) {
            Some((begin, parts, end)) if open.len() + done.len() < 1000 => {
                let (before, after) = (&text[..begin], &text[end..]);
                open.extend(parts.iter().rev().map(|part| format!("{before}{part}{after}")));
            }
            _ => done.push(text),
        }
    }
    done
}

fn first_brace(text: &str) -> Option<(usize, Vec<&str>, usize)> {
    let begin = text.find('{').filter(|begin| !text[*begin..].starts_with("{}"))?;
    let (mut depth, mut part, mut parts) = (0, begin + 1, Vec::new());
    for (at, character) in text.char_indices().skip_while(|(at, _)| *at < begin) {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => {
                parts.push(&text[part..at]);
                return Some((begin, parts, at + 1));
            }
            '}' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(&text[part..at]);
                part = at + 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_in_the_order_of_the_specification() {
        let order = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (i, left) in order.iter().enumerate() {
            for (j, right) in order.iter().enumerate() {
                assert_eq!(compare_versions(left, right), i.cmp(&j), "{left} {right}");
            }
        }
        assert_eq!(compare_versions("0123", "123"), Ordering::Equal);
        assert_eq!(compare_versions("123_a", "123a"), Ordering::Equal);
        assert_eq!(compare_versions("6.1.0-10", "6.1.0-9"), Ordering::Greater);
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("a*c", "abbc"),
            ("*", ""),
            ("[a-c]?", "bx"),
            ("[!a]b", "cb"),
            (r"\*", "*"),
            ("[", "["),
            ("a[]]", "a]"),
            ("**a**", "xa"),
        ] {
            assert!(matches(pattern, text, false), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "abb"), ("", "a"), ("[a-c]", "d"), ("?", ""), (r"\*", "a"), ("A", "a")] {
            assert!(!matches(pattern, text, false), "{pattern} {text}");
        }
        assert!(matches("ALPHA*", "alpha.org", true));
        assert_eq!(braces("/a{b,c{d,e}}{}"), ["/ab{}", "/acd{}", "/ace{}"]);
        assert_eq!(braces("/a{b"), ["/a{b"]);
    }

    #[test]
    fn operators() {
        let compare = |text: &str, left: &str| {
            let (operator, right) = Operator::take(text, true).unwrap();
            operator.compare(left, right)
        };
        assert!(compare("=6.1", "6.1") && !compare("=6.1", "6.01") && compare("==6.1", "6.01"));
        assert!(
            compare("<>6.1", "6.2") && compare("!=6.1", "6.2") && compare("$=6.*", "6.2") && compare("!$=6.*", "7")
        );
        assert!(Operator::take("$=6", false).is_none() && Operator::take("6", true).is_none());
    }

    proptest! {
        #[test]
        fn comparing_is_antisymmetric(a in "[0-9a-c.~^-]{0,12}", b in "[0-9a-c.~^-]{0,12}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
        }

        #[test]
        fn no_pattern_upsets_it(pattern in any::<String>(), text in any::<String>()) {
            let _ = matches(&pattern, &text, true);
            let _ = braces(&pattern);
        }
    }
}
