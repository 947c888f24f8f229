// SPDX-License-Identifier: GPL-2.0-or-later
//! Small values: yes and no, numbers, sizes, shares, modes, names. Each gives `None` for what it cannot read; what to
//! say about it is the caller's.

use crate::config::cgroup::CpuSet;
use crate::words::{Backslash, Rules, split};

/// Words where quotes are ordinary and a backslash takes the meaning from the next character: most lists of words.
pub(super) const BARE: Rules = Rules { backslash: Backslash::Quotes, ..Rules::PLAIN };

/// Yes or no, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["1", "yes", "y", "true", "t", "on"]) {
        Some(true)
    } else if is(&["0", "no", "n", "false", "f", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// Yes and no, which are known in any case, as the words `yes` and `no`; anything else as it is.
pub(super) fn in_lower_case(text: &str) -> std::borrow::Cow<'_, str> {
    match boolean(text) {
        Some(true) => "yes".into(),
        Some(false) => "no".into(),
        None => text.into(),
    }
}

/// A whole number in the notations of C and Python: `0x`, `0o`, `0b`, a leading zero for octal.
pub(crate) fn unsigned(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (text.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (text.get(2..)?, 2),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    // The standard library would take a sign here.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// As [`unsigned`], within 32 bits.
pub(super) fn unsigned32(text: &str) -> Option<u32> {
    u32::try_from(unsigned(text)?).ok()
}

/// As [`unsigned`], with a sign.
pub(super) fn signed(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) if !digits.starts_with('+') => i64::try_from(unsigned(digits)?).ok()?.checked_neg(),
        Some(_) => None,
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

/// As [`signed`], within 32 bits.
pub(super) fn signed32(text: &str) -> Option<i32> {
    i32::try_from(signed(text)?).ok()
}

/// An access mode: octal, at most 07777.
pub(super) fn mode(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_digit(8)) {
        return None;
    }
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// A number of bytes: digits, perhaps with a fraction, and one of `B K M G T P E`; several such add up when each unit
/// is smaller than the one before. `base` is 1024 or, for speeds, 1000.
pub(super) fn size(text: &str, base: u64) -> Option<u64> {
    const UNITS: &str = "BKMGTPE";
    let mut rest = text.trim_ascii();
    rest = rest.strip_prefix('+').unwrap_or(rest);
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    // An absent unit is one below B, so that "1 2" is refused and "1B 2" is not.
    let mut last_unit: Option<usize> = None;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let whole: u64 = digits.parse().ok()?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                let (digits, after) = after.split_at(end);
                if digits.is_empty() {
                    return None;
                }
                (digits.parse::<u64>().ok()? as f64 / 10f64.powi(i32::try_from(digits.len()).ok()?), after)
            }
            None => (0.0, after),
        };
        let after = after.trim_ascii_start();
        let (unit, after) = match after.chars().next() {
            Some(letter) if UNITS.contains(letter) => (UNITS.find(letter)? + 1, after.get(1..)?),
            _ => (0, after),
        };
        if last_unit.is_some_and(|last| unit >= last) {
            return None;
        }
        last_unit = Some(unit);
        let factor = base.checked_pow(u32::try_from(unit.saturating_sub(1)).ok()?)?;
        let part = whole.checked_mul(factor)?.checked_add((fraction * factor as f64) as u64)?;
        total = total.checked_add(part)?;
        rest = after.trim_ascii_start();
    }
    Some(total)
}

/// A share in hundredths of a percent: `12%`, `12.5%`, `125‰`, `1250‱`; `None` above `max`.
pub(super) fn share(text: &str, max: u64) -> Option<u64> {
    let (number, decimals) = match text.strip_suffix('%') {
        Some(number) => (number, 2),
        None => match text.strip_suffix('‰') {
            Some(number) => (number, 1),
            None => (text.strip_suffix('‱')?, 0),
        },
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > decimals || number.ends_with('.') {
        return None;
    }
    let mut value: u64 = whole.parse().ok()?;
    let mut digits = fraction.chars();
    for _ in 0..decimals {
        let digit = digits.next().and_then(|c| c.to_digit(10)).unwrap_or(0);
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value <= max).then_some(value)
}

/// Numbers and ranges between blanks and commas: `0-3,8 10`.
pub(super) fn cpu_set(text: &str) -> Option<CpuSet> {
    const SEPARATORS: Rules = Rules { separators: b" \t\n\r,", ..Rules::NAMES };
    // More than any kernel has; guards against a range that would fill the memory.
    const CPU_MAX: u32 = 8191;
    let mut set = CpuSet::default();
    for word in split(text.as_bytes(), SEPARATORS).ok()? {
        let word = String::from_utf8(word).ok()?;
        let (first, last) = match word.split_once('-') {
            Some((first, last)) => (unsigned32(first)?, unsigned32(last)?),
            None => (unsigned32(&word)?, unsigned32(&word)?),
        };
        if last > CPU_MAX {
            return None;
        }
        if first > last {
            return None;
        }
        set.add(first, last);
    }
    Some(set)
}

/// A path without doubled slashes, `.` components and slashes at the end.
pub(super) fn simple_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let joined = parts.join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

/// Whether a path that [`simple_path`] gave is one the kernel would take, and has no `..`.
pub(super) fn is_normal_path(path: &str) -> bool {
    !path.is_empty() && path.len() < 4096 && path.split('/').all(|part| part != ".." && part.len() <= 255)
}

/// Whether `text` can be a user or group: a name that would not be taken for something else, or a number.
pub(super) fn is_user_or_group(text: &str) -> bool {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // These two mean "none" to the kernel, in 32 and in 16 bits; a leading zero could mean octal.
        let zeros = text.len() > 1 && text.starts_with('0');
        return !zeros && text.parse::<u32>().is_ok_and(|number| !matches!(number, u32::MAX | 0xffff));
    }
    let blank_at_an_end = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let number_like = text.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    !text.is_empty()
        && !blank_at_an_end
        && !number_like
        && !matches!(text, "." | "..")
        && !text.chars().any(|c| c.is_control() || matches!(c, ':' | '/'))
}

/// Whether `text` can name a descriptor, sd_listen_fds_with_names(3).
pub(super) fn is_descriptor_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
}

/// Whether `text` can name a network interface, netdevice(7).
pub(super) fn is_interface(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 16
        && !matches!(text, "." | ".." | "all" | "default")
        && unsigned(text).is_none()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/' | b'%'))
}

/// Whether `text` can be a name on the bus that a service takes: two or more parts between dots.
pub(super) fn is_bus_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    text.len() <= 255 && text.contains('.') && text.split('.').all(part)
}

/// Whether `text` is a URI that documentation may have.
pub(super) fn is_documentation(text: &str) -> bool {
    let schemes = ["http://", "https://", "file:/", "info:", "man:"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// The names of errors, errno(3).
const ERRORS: &str = "E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EADV EAFNOSUPPORT EAGAIN EALREADY EBADE EBADF EBADFD EBADMSG \
    EBADR EBADRQC EBADSLT EBFONT EBUSY ECANCELED ECHILD ECHRNG ECOMM ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK \
    EDEADLOCK EDESTADDRREQ EDOM EDOTDOT EDQUOT EEXIST EFAULT EFBIG EHOSTDOWN EHOSTUNREACH EHWPOISON EIDRM EILSEQ \
    EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR EISNAM EKEYEXPIRED EKEYREJECTED EKEYREVOKED EL2HLT EL2NSYNC EL3HLT \
    EL3RST ELIBACC ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG ELOOP EMEDIUMTYPE EMFILE EMLINK EMSGSIZE EMULTIHOP \
    ENAMETOOLONG ENAVAIL ENETDOWN ENETRESET ENETUNREACH ENFILE ENOANO ENOBUFS ENOCSI ENODATA ENODEV ENOENT ENOEXEC \
    ENOKEY ENOLCK ENOLINK ENOMEDIUM ENOMEM ENOMSG ENONET ENOPKG ENOPROTOOPT ENOSPC ENOSR ENOSTR ENOSYS ENOTBLK \
    ENOTCONN ENOTDIR ENOTEMPTY ENOTNAM ENOTRECOVERABLE ENOTSOCK ENOTSUP ENOTTY ENOTUNIQ ENXIO EOPNOTSUPP EOVERFLOW \
    EOWNERDEAD EPERM EPFNOSUPPORT EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE EREMCHG EREMOTE EREMOTEIO ERESTART \
    ERFKILL EROFS ESHUTDOWN ESOCKTNOSUPPORT ESPIPE ESRCH ESRMNT ESTALE ESTRPIPE ETIME ETIMEDOUT ETOOMANYREFS ETXTBSY \
    EUCLEAN EUNATCH EUSERS EWOULDBLOCK EXDEV EXFULL";

/// Whether `text` is the name of an error, such as `EPERM`, or its number.
pub(super) fn is_error(text: &str) -> bool {
    match unsigned(text) {
        Some(number) => (1..=4095).contains(&number),
        None => ERRORS.split_ascii_whitespace().any(|name| name == text),
    }
}

/// Base64 as RFC 4648 has it; blanks are passed over.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let (data, _) = digits.split_at(digits.len() - padding);
    if padding > 2 || !digits.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(data.len() * 3 / 4);
    let (mut word, mut bits) = (0u32, 0u32);
    for byte in data {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = (word << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((word >> bits) & 0xff).ok()?);
        }
    }
    // What is left over must be nothing but filling.
    (word & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(
            (unsigned("10"), unsigned("010"), unsigned("0x10"), unsigned("0b11")),
            (Some(10), Some(8), Some(16), Some(3))
        );
        assert_eq!(
            (unsigned(""), unsigned("-1"), unsigned("0x"), unsigned("0x+1"), unsigned("1 ")),
            (None, None, None, None, None)
        );
        assert_eq!((signed("-5"), signed("--5"), signed32("4294967296")), (Some(-5), None, None));
        assert_eq!((mode("0755"), mode("755"), mode("10000"), mode("8")), (Some(0o755), Some(0o755), None, None));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("1K", 1024), ("1.5K", 1536), ("1M 1K", 1_049_600), ("2 G", 2 << 30), ("1B", 1)]
        {
            assert_eq!(size(text, 1024), Some(bytes), "{text}");
        }
        assert_eq!(size("1M", 1000), Some(1_000_000));
        for wrong in ["", "K", "1K 1M", "1 2", "1.K", "-1", "1k", "99999999999E"] {
            assert_eq!(size(wrong, 1024), None, "{wrong}");
        }
    }

    #[test]
    fn shares() {
        for (text, value) in [("15%", 1500), ("12.5%", 1250), ("0.01%", 1), ("125‰", 1250), ("7‱", 7), ("100%", 10_000)]
        {
            assert_eq!(share(text, 10_000), Some(value), "{text}");
        }
        for wrong in ["15", "%", ".5%", "1.%", "1.234%", "101%", "-1%"] {
            assert_eq!(share(wrong, 10_000), None, "{wrong}");
        }
        assert_eq!(share("250%", u64::MAX), Some(25_000));
    }

    #[test]
    fn sets_of_processors() {
        assert_eq!(cpu_set("0-3,8 5,4").unwrap().to_string(), "0-5,8");
        assert!(cpu_set("1-99999999").is_none() && cpu_set("a").is_none());
        assert!(cpu_set("3-1").is_none() && cpu_set("").unwrap().is_empty());
    }

    #[test]
    fn names() {
        assert!(is_user_or_group("www-data") && is_user_or_group("0") && is_user_or_group("a.b$"));
        assert!(
            !is_user_or_group("65535")
                && !is_user_or_group("a:b")
                && !is_user_or_group("-1")
                && !is_user_or_group("007")
                && !is_user_or_group("")
        );
        assert!(is_bus_name("org.a-b._c") && !is_bus_name("org") && !is_bus_name("org.1") && !is_bus_name(":1.2"));
        assert!(is_documentation("man:ls(1)") && !is_documentation("man:") && !is_documentation("x:y"));
        assert!(is_error("EPERM") && is_error("1") && !is_error("0") && !is_error("perm"));
        assert_eq!(base64("aGVs bG8=").as_deref(), Some(&b"hello"[..]));
        assert!(base64("aGVsbG8").is_none() && base64("aG=s").is_none());
    }
}
