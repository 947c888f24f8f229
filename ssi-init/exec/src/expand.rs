// SPDX-License-Identifier: GPL-2.0-or-later
//! Variables on a command line, replaced when the command runs. systemd.service(5), "Command lines".
//!
//! `$NAME` as a word of its own becomes as many words as its value has, quotes in it respected; `${NAME}` anywhere
//! becomes its value; `$$` is a dollar sign. What is not set is empty. It happens in the new process, since some of
//! the variables (`$LISTEN_PID`, `$RUNTIME_DIRECTORY`) are set there.

/// Replaces the variables in `arguments`; `lookup` gives their values.
pub fn expand_arguments<'e>(arguments: &[String], lookup: impl Fn(&str) -> Option<&'e str>) -> Vec<String> {
    let mut expanded = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match argument.strip_prefix('$') {
            Some(name) if !name.starts_with(['{', '$']) => {
                if let Some(value) = lookup(name) {
                    expanded.extend(split_words(value));
                }
            }
            _ => expanded.push(replace_braced(argument, &lookup)),
        }
    }
    expanded
}

/// `${NAME}` and `$$` within a word; everything else stays, a lone `$` and an unclosed brace too.
fn replace_braced<'e>(word: &str, lookup: &impl Fn(&str) -> Option<&'e str>) -> String {
    let mut result = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            result.push_str(lookup(name).unwrap_or_default());
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

/// A value's words: split at white space, quotes taken off, a backslash takes the next character as it is. A quote
/// that is not closed reaches to the end.
fn split_words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (_, '\\') => {
                let word = word.get_or_insert_default();
                if let Some(next) = characters.next() {
                    word.push(next);
                }
            }
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\n' | '\r') => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|a| a.to_string()).collect();
        expand_arguments(&arguments, |name| match name {
            "ONE" => Some("one"),
            "TWO" => Some("two two"),
            "QUOTED" => Some("\"a b\" c 'd  e'f"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    // The example of systemd.service(5): ONE='one', TWO='two two'.
    #[test]
    fn the_examples_of_the_manual() {
        assert_eq!(expand(&["/bin/echo", "$ONE", "$TWO", "${TWO}"]), ["/bin/echo", "one", "two", "two", "two two"]);
    }

    #[test]
    fn words_vanish_or_stay_empty() {
        assert_eq!(expand(&["$UNSET", "$EMPTY", "${UNSET}", "x"]), ["", "x"]);
    }

    #[test]
    fn dollars_and_odd_braces_stay() {
        assert_eq!(
            expand(&["$$", "a$$b", "a$ONE", "${ONE", "$", "a${ONE}b$${ONE}"]),
            ["$", "a$b", "a$ONE", "${ONE", "aoneb${ONE}"]
        );
    }

    #[test]
    fn quotes_in_a_value_hold_words_together() {
        assert_eq!(expand(&["$QUOTED"]), ["a b", "c", "d  ef"]);
    }

    proptest::proptest! {
        #[test]
        fn without_a_dollar_nothing_changes(words in proptest::collection::vec("[^$]{0,12}", 0..5)) {
            proptest::prop_assert_eq!(expand_arguments(&words, |_| Some("no")), words);
        }

        #[test]
        fn no_text_makes_it_panic(word in "[$ {}\\\\\"'aü]{0,20}") {
            let _ = expand_arguments(std::slice::from_ref(&word), |_| Some(&word));
        }
    }
}
