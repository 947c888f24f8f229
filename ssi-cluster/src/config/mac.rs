// SPDX-License-Identifier: GPL-2.0-or-later
//! The address of a network card, as the kernel writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A MAC address of one card (IEEE 802 EUI-48): never all zeros and never a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

/// A text that is not the address of one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMacAddr {
    /// Not six pairs of hexadecimal digits.
    #[error("a MAC address is six pairs of hexadecimal digits with colons between, such as 52:54:00:12:34:56")]
    Form,
    /// `00:00:00:00:00:00`, which the loopback device has on every machine.
    #[error("all zeros is no card's address, every machine's loopback device has it")]
    Zero,
    /// The lowest bit of the first byte is set: a multicast group, or all cards.
    #[error("an odd first byte makes it the address of a group of cards, not of one")]
    Group,
}

impl MacAddr {
    /// The address of these six bytes.
    ///
    /// # Errors
    /// [`BadMacAddr::Zero`] and [`BadMacAddr::Group`].
    pub fn new(bytes: [u8; 6]) -> Result<Self, BadMacAddr> {
        match bytes {
            [0, 0, 0, 0, 0, 0] => Err(BadMacAddr::Zero),
            [first, ..] if first & 1 == 1 => Err(BadMacAddr::Group),
            _ => Ok(Self(bytes)),
        }
    }

    /// Its six bytes, in the order they are written.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddr {
    /// Lower case with colons, as in `/sys/class/net/*/address`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for MacAddr {
    type Err = BadMacAddr;

    /// Colons or hyphens between the pairs, upper or lower case.
    fn from_str(text: &str) -> Result<Self, BadMacAddr> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut pairs = text.split(separator);
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(BadMacAddr::Form)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(BadMacAddr::Form);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadMacAddr::Form)?;
        }
        if pairs.next().is_some() {
            return Err(BadMacAddr::Form);
        }
        Self::new(bytes)
    }
}

impl TryFrom<String> for MacAddr {
    type Error = BadMacAddr;

    fn try_from(text: String) -> Result<Self, BadMacAddr> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_address_has_several_spellings_and_is_written_as_the_kernel_does() {
        for text in ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01"] {
            assert_eq!(text.parse::<MacAddr>().map(|m| m.to_string()), Ok("52:54:00:ab:cd:01".to_owned()));
        }
        for bad in
            ["", "52:54:00:ab:cd", "52:54:00:ab:cd:01:02", "52:54:00:ab:cd:+1", "525400abcd01", "5:54:00:ab:cd:011"]
        {
            assert_eq!(bad.parse::<MacAddr>(), Err(BadMacAddr::Form), "{bad}");
        }
        assert_eq!("00:00:00:00:00:00".parse::<MacAddr>(), Err(BadMacAddr::Zero));
        assert_eq!("ff:ff:ff:ff:ff:ff".parse::<MacAddr>(), Err(BadMacAddr::Group));
    }
}
