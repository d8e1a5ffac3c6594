//! Puts words in the place of names and addresses: the same word for the same name within an archive, another one in the next.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use aws_lc_rs::{
    error::Unspecified,
    hmac,
    rand::{SystemRandom, generate},
};

/// Of a word: as many bytes of the hash, enough to tell a thousand names apart.
const BYTES: usize = 5;

/// Hides names and addresses.
pub(super) struct Veil {
    key: hmac::Key,
    /// The longest first, in lower case.
    names: Vec<String>,
    replaced: RefCell<HashMap<String, String>>,
}

impl Veil {
    /// With a salt of its own.
    pub(super) fn new(names: BTreeSet<String>) -> Result<Self, Unspecified> {
        let salt: [u8; 32] = generate(&SystemRandom::new())?.expose();
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &salt), names, replaced: RefCell::default() })
    }

    /// How many different ones were hidden.
    pub(super) fn replaced(&self) -> usize {
        self.replaced.borrow().len()
    }

    /// A text without them. Names go by words: `contoso` is hidden in `contoso.portal.azure-api.net` and in `/run/gateway/contoso.sock`,
    /// and not in the middle of another word.
    pub(super) fn over(&self, text: &str) -> String {
        self.addresses(&self.names(text))
    }

    fn names(&self, text: &str) -> String {
        let mut veiled = String::with_capacity(text.len());
        let lower = text.to_ascii_lowercase();
        let mut at = 0;
        while at < text.len() {
            let begins = at == 0 || !is_inner(lower[..at].chars().next_back());
            let found = self.names.iter().find(|name| {
                begins
                    && lower[at..].starts_with(name.as_str())
                    && !is_inner(lower[at + name.len()..].chars().next())
            });
            match found {
                Some(name) => {
                    veiled += &self.word("name", name);
                    at += name.len();
                }
                None => {
                    let Some(letter) = text[at..].chars().next() else { break };
                    veiled.push(letter);
                    at += letter.len_utf8();
                }
            }
        }
        veiled
    }

    /// IP addresses, in brackets and with prefix lengths and ports too, and MAC addresses.
    fn addresses(&self, text: &str) -> String {
        let mut veiled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_of_address) {
            veiled += &rest[..start];
            let before = rest[..start].chars().next_back();
            rest = &rest[start..];
            let end = rest.find(|c| !is_of_address(c)).unwrap_or(rest.len());
            let run = &rest[..end];
            // `e::a` of a path in the program's code.
            let is_in_word = is_inner(before) && !run.contains(|c: char| c.is_ascii_digit());
            veiled += &if is_in_word { run.to_owned() } else { self.run(run) };
            rest = &rest[end..];
        }
        veiled + rest
    }

    /// A run of hexadecimal digits, dots and colons: an address, perhaps with a port behind it or a sign after it.
    fn run(&self, run: &str) -> String {
        if let Some(word) = self.address(run) {
            return word;
        }
        // `10.0.0.5:443`, `10.0.0.5.`, `10.0.0.5:`, `fd00::5:`
        for at in run
            .char_indices()
            .filter(|(_, c)| matches!(c, ':' | '.'))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            if let Some(word) = self.address(&run[..at]) {
                return word + &run[at..];
            }
        }
        run.to_owned()
    }

    fn address(&self, text: &str) -> Option<String> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            // Neither says anything of anybody.
            let is_common = ip.is_loopback() || ip.is_unspecified();
            let kind = if ip.is_ipv4() { "ip4" } else { "ip6" };
            return Some(if is_common { text.to_owned() } else { self.word(kind, &ip.to_string()) });
        }
        let pairs: Vec<_> = text.split(':').collect();
        let is_mac = pairs.len() == 6
            && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()));
        is_mac.then(|| self.word("mac", &text.to_ascii_lowercase()))
    }

    fn word(&self, kind: &str, what: &str) -> String {
        let mut replaced = self.replaced.borrow_mut();
        let make = || {
            let tag = hmac::sign(&self.key, what.as_bytes());
            let hex: String = tag.as_ref().iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect();
            // The letter keeps it from looking like an address again.
            format!("{kind}-x{hex}")
        };
        replaced.entry(what.to_owned()).or_insert_with(make).clone()
    }
}

/// Of one word with what is beside it.
fn is_inner(letter: Option<char>) -> bool {
    letter.is_some_and(char::is_alphanumeric)
}

fn is_of_address(letter: char) -> bool {
    letter.is_ascii_hexdigit() || letter == ':' || letter == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veil(names: &[&str]) -> Veil {
        Veil::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
    }

    #[test]
    fn names_and_addresses_are_gone_and_stay_the_same_within_an_archive() {
        let veil = veil(&["contoso", "api.contoso.com", "contoso.com", "gw-1"]);
        let text = "gw-1 at 10.0.0.11 (02:00:00:00:00:0b): https://API.contoso.com:443/ by [fd00::5]:443, 10.0.0.0/24; gw-10, /run/gateway/contoso.sock";
        let veiled = veil.over(text);
        for gone in ["contoso", "10.0.0", "fd00", "02:00", "gw-1 ", "API"] {
            assert!(!veiled.contains(gone), "{gone} in {veiled}");
        }
        for kept in
            ["https://", ":443/ by [ip6-x", "]:443", "/24; gw-10, /run/gateway/name-x", ".sock", "(mac-x"]
        {
            assert!(veiled.contains(kept), "{kept} in {veiled}");
        }
        assert_eq!(veil.over(text), veiled);
        assert_eq!(veil.over("gw-1"), veil.over("GW-1"));
        assert_ne!(veil.over("10.0.0.11"), veil.over("10.0.0.12"));
    }

    #[test]
    fn another_archive_has_other_words() {
        assert_ne!(veil(&["contoso"]).over("contoso"), veil(&["contoso"]).over("contoso"));
    }

    #[test]
    fn what_is_no_name_stays() {
        let text = "2026-11-26T06:00:00Z dead beef 1.5 0.1.0 127.0.0.1:9180 ::1 0.0.0.0 face: état 12:30:45 space::api";
        assert_eq!(veil(&["contoso"]).over(text), text);
    }

    #[test]
    fn an_address_is_found_beside_whatever_stands_there() {
        let veil = veil(&[]);
        for text in [
            "10.0.0.5.",
            "10.0.0.5:",
            "[10.0.0.5]",
            "10.0.0.5:443",
            "10.0.0.5/32",
            "\"10.0.0.5\",",
            "fd00::5: x",
            "fd00:0:0:1::5/64",
            "::ffff:10.0.0.5",
        ] {
            let veiled = veil.over(text);
            assert!(!veiled.contains("0.5") && !veiled.contains("fd00"), "{text}: {veiled}");
        }
    }
}
