// SPDX-License-Identifier: GPL-2.0-or-later
//! Bytes of an input as values on the wire: D-Bus Specification, "Marshaling (Wire Format)", little-endian.

/// An input, taken from the front. What is not there any more is zero.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// That many bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of these, or one of the input's own letters.
    pub fn text(&mut self, known: &[&str]) -> String {
        match self.byte() {
            number if number < 192 && !known.is_empty() => known[usize::from(number) % known.len()].to_owned(),
            number => String::from_utf8_lossy(self.bytes(usize::from(number % 48))).into_owned(),
        }
    }
}

/// What a variant may hold.
const HELD: [&str; 24] = [
    "s", "b", "u", "i", "t", "x", "y", "d", "as", "ay", "a(ss)", "a(sasb)", "a(sasas)", "(bas)", "a(iayu)", "a(st)",
    "a(sst)", "(ss)", "au", "o", "ao", "v", "a(sv)", "a{ss}",
];

/// Puts values behind a message's bytes, with the gaps that belong between them.
pub struct Writer<'a, 'b> {
    pub bytes: Vec<u8>,
    pub choices: &'b mut Choices<'a>,
    /// Texts that may come anywhere.
    pub known: &'b [&'b str],
}

impl Writer<'_, '_> {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub fn string(&mut self, text: &str) {
        self.align(4);
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.bytes().chain([0]));
    }

    pub fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.bytes().chain([0]));
    }

    /// A number that is small, or large, or neither.
    fn number(&mut self, size: usize) {
        self.align(size);
        let number = match self.choices.byte() {
            255 => u64::MAX,
            254 => u64::MAX / 2,
            253 => 1 << 31,
            252 => u64::from_le_bytes(std::array::from_fn(|_| self.choices.byte())),
            small => u64::from(small),
        };
        self.bytes.extend(&number.to_le_bytes()[..size]);
    }

    /// A value of the first type of a signature; gives what is left of that.
    pub fn value<'s>(&mut self, signature: &'s str, depth: usize) -> &'s str {
        let (first, rest) = signature.split_at_checked(1).unwrap_or_default();
        match first {
            "y" => self.number(1),
            "n" | "q" => self.number(2),
            "i" | "u" | "h" => self.number(4),
            "x" | "t" | "d" => self.number(8),
            "b" => {
                self.align(4);
                let yes = self.choices.byte() % 2;
                self.bytes.extend(u32::from(yes).to_le_bytes());
            }
            "s" => {
                let text = self.choices.text(self.known).replace('\0', "");
                self.string(&text);
            }
            "o" => {
                let path = self.choices.of(&["/", "/org/freedesktop/systemd1/unit/a_2eservice", "/a/b"]);
                self.string(path);
            }
            "g" => {
                let signature = self.choices.of(&["s", "", "a{sv}"]);
                self.signature(signature);
            }
            "v" => {
                let held = if depth > 4 { "s" } else { self.choices.of(&HELD) };
                self.signature(held);
                self.value(held, depth + 1);
            }
            "(" | "{" => {
                self.align(8);
                let mut inner = rest;
                while !inner.starts_with([')', '}']) && !inner.is_empty() {
                    inner = self.value(inner, depth + 1);
                }
                return inner.get(1..).unwrap_or_default();
            }
            "a" => {
                self.align(4);
                let length_at = self.bytes.len();
                self.bytes.extend([0; 4]);
                let gap = match rest.as_bytes().first() {
                    Some(b'(' | b'{' | b'x' | b't' | b'd') => 8,
                    Some(b'n' | b'q') => 2,
                    Some(b'y' | b'g' | b'v') => 1,
                    _ => 4,
                };
                self.align(gap);
                let begin = self.bytes.len();
                for _ in 0..self.choices.byte() % 4 {
                    self.value(rest, depth + 1);
                }
                let length = (self.bytes.len() - begin) as u32;
                self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
                return skip(rest);
            }
            _ => {}
        }
        rest
    }
}

/// What is behind the first type of a signature.
fn skip(signature: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in signature.char_indices() {
        match letter {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            'a' => continue,
            _ => {}
        }
        if depth == 0 {
            return &signature[at + 1..];
        }
    }
    ""
}
