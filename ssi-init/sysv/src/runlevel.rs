// SPDX-License-Identifier: GPL-2.0-or-later
//! Run levels and the targets they stand for (runlevel(8), systemd.special(7)).

use crate::action::Action;

/// What `telinit` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// 0 and 6: the machine goes down.
    Down(Action),
    /// 1 to 5 and S: this target and nothing else.
    Isolate {
        /// The level's own target, which an administrator may have made something else of. None for 1 and S, which
        /// are the rescue mode whatever `runlevel1.target` is.
        own: Option<&'static str>,
        /// What the level is where it has no target of its own.
        usual: &'static str,
    },
    /// q: the units are read anew.
    Reload,
    /// u: the manager executes itself anew.
    Reexecute,
}

/// Run levels 2, 3 and 4.
pub const MULTI_USER: &str = "multi-user.target";
/// Run level 5.
pub const GRAPHICAL: &str = "graphical.target";
/// Run levels 1 and S.
pub const RESCUE: &str = "rescue.target";

impl Request {
    /// Reads telinit's argument; `None` for what is no run level. `a`, `b` and `c`, the on-demand levels of an inittab,
    /// have no meaning here.
    pub fn read(argument: &str) -> Option<Request> {
        Some(match argument {
            "0" => Request::Down(Action::PowerOff),
            "6" => Request::Down(Action::Reboot),
            "1" | "s" | "S" => Request::Isolate { own: None, usual: RESCUE },
            "2" => Request::Isolate { own: Some("runlevel2.target"), usual: MULTI_USER },
            "3" => Request::Isolate { own: Some("runlevel3.target"), usual: MULTI_USER },
            "4" => Request::Isolate { own: Some("runlevel4.target"), usual: MULTI_USER },
            "5" => Request::Isolate { own: Some("runlevel5.target"), usual: GRAPHICAL },
            "q" | "Q" => Request::Reload,
            "u" | "U" => Request::Reexecute,
            _ => return None,
        })
    }
}

/// Targets by which the current run level is known, and its digit; the first that is active counts.
pub const KNOWN_BY: [(&str, char); 3] = [(GRAPHICAL, '5'), (MULTI_USER, '3'), (RESCUE, '1')];

/// The run level before and now, as utmp has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// None right after boot.
    pub previous: Option<char>,
    /// Now.
    pub current: char,
}

impl Levels {
    /// From the process number of a RUN_LVL record, which holds two characters: utmp(5).
    pub fn from_record(number: i32) -> Option<Levels> {
        let character = |value: i32| u8::try_from(value).ok().filter(u8::is_ascii_graphic).map(char::from);
        Some(Levels { previous: character((number >> 8) & 0xff), current: character(number & 0xff)? })
    }

    /// As the record has it.
    pub fn to_record(self) -> i32 {
        self.current as i32 & 0xff | (self.previous.map_or(0, |previous| previous as i32) & 0xff) << 8
    }
}

impl std::fmt::Display for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.previous.unwrap_or('N'), self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_targets() {
        assert_eq!(Request::read("0"), Some(Request::Down(Action::PowerOff)));
        assert_eq!(Request::read("6"), Some(Request::Down(Action::Reboot)));
        for (level, own, usual) in [
            ("1", None, "rescue.target"),
            ("s", None, "rescue.target"),
            ("S", None, "rescue.target"),
            ("2", Some("runlevel2.target"), "multi-user.target"),
            ("3", Some("runlevel3.target"), "multi-user.target"),
            ("4", Some("runlevel4.target"), "multi-user.target"),
            ("5", Some("runlevel5.target"), "graphical.target"),
        ] {
            assert_eq!(Request::read(level), Some(Request::Isolate { own, usual }), "{level}");
        }
        for (letters, request) in [(["q", "Q"], Request::Reload), (["u", "U"], Request::Reexecute)] {
            assert_eq!(letters.map(Request::read), [Some(request), Some(request)]);
        }
        for other in ["", "7", "10", "a", "-1", "x"] {
            assert_eq!(Request::read(other), None, "{other}");
        }
    }

    #[test]
    fn records_hold_two_characters() {
        for levels in [Levels { previous: None, current: '5' }, Levels { previous: Some('1'), current: '3' }] {
            assert_eq!(Levels::from_record(levels.to_record()), Some(levels));
        }
        assert_eq!(Levels::from_record('N' as i32 * 256 + '3' as i32).map(|l| l.to_string()).as_deref(), Some("N 3"));
        assert_eq!(Levels { previous: None, current: '5' }.to_string(), "N 5");
        assert_eq!(Levels::from_record(0), None);
    }
}
