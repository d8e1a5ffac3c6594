//! Session tickets (RFC 5077, section 4), by keys that can be handed to the next process: rustls' own cannot.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    rand,
};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

/// A key makes tickets for so long …
const MAKES: Duration = Duration::from_secs(6 * 60 * 60);
/// … and opens them for so long: then even who has the key of today cannot read a session of yesterday.
const OPENS: Duration = Duration::from_secs(12 * 60 * 60);

const NAME: usize = 16;
const SECRET: usize = 32;

/// The keys of now, the newest first. They rotate as tickets are made.
pub struct Tickets(RwLock<Vec<Key>>);

/// A key as it is handed over: a secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    name: [u8; NAME],
    secret: [u8; SECRET],
    born: SystemTime,
}

struct Key {
    handed: Secret,
    cipher: RandomizedNonceKey,
}

impl Tickets {
    /// With a key of its own.
    ///
    /// # Errors
    /// No randomness.
    pub fn new() -> Result<Self, Unspecified> {
        Ok(Self(RwLock::new(vec![Key::random(SystemTime::now())?])))
    }

    /// With those of a predecessor, so that its sessions go on.
    ///
    /// # Errors
    /// No randomness for the next key.
    pub fn of(secrets: Vec<Secret>) -> Result<Self, Unspecified> {
        let keys = secrets.into_iter().map(Key::of).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Self::new() } else { Ok(Self(RwLock::new(keys))) }
    }

    /// For a successor.
    pub fn secrets(&self) -> Vec<Secret> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| key.handed.clone()).collect()
    }

    fn encrypt_at(&self, plain: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        {
            let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = keys.first()
                && key.age(now) < MAKES
            {
                return key.seal(plain);
            }
        }
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.first().is_none_or(|key| key.age(now) >= MAKES) {
            keys.insert(0, Key::random(now).ok()?);
            keys.retain(|key| key.age(now) < OPENS);
        }
        keys.first()?.seal(plain)
    }

    fn decrypt_at(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_first_chunk::<NAME>()?;
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.handed.name == *name && key.age(now) < OPENS)?;
        key.open(sealed)
    }
}

impl Key {
    fn random(now: SystemTime) -> Result<Self, Unspecified> {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        rand::fill(&mut name)?;
        rand::fill(&mut secret)?;
        Self::of(Secret { name, secret, born: now })
    }

    fn of(handed: Secret) -> Result<Self, Unspecified> {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &handed.secret)?;
        Ok(Self { handed, cipher })
    }

    /// A clock that was set back makes it as good as new.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.handed.born).unwrap_or_default()
    }

    /// The key's name, the nonce, the text, the tag.
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut text = plain.to_vec();
        let nonce = self.cipher.seal_in_place_append_tag(Aad::from(self.handed.name), &mut text).ok()?;
        Some([&self.handed.name[..], nonce.as_ref(), &text].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.cipher.open_in_place(nonce, Aad::from(self.handed.name), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        OPENS.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(plain, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(ticket, SystemTime::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_opened_by_its_key_and_by_a_successor_and_only_while_that_is_good() {
        let tickets = Tickets::new().unwrap();
        let start = SystemTime::now();
        let ticket = tickets.encrypt_at(b"session", start).unwrap();
        assert_eq!(tickets.decrypt_at(&ticket, start).as_deref(), Some(&b"session"[..]));
        assert_ne!(tickets.encrypt_at(b"session", start).unwrap(), ticket, "a nonce of its own");
        // The next key makes tickets, the last one opens its own still.
        let later = start + MAKES + Duration::from_secs(60);
        let next = tickets.encrypt_at(b"next", later).unwrap();
        assert_ne!(next[..NAME], ticket[..NAME]);
        let successor = Tickets::of(tickets.secrets()).unwrap();
        for (ticket, plain) in [(&ticket, &b"session"[..]), (&next, b"next")] {
            assert_eq!(successor.decrypt_at(ticket, later).as_deref(), Some(plain));
        }
        assert_eq!(successor.decrypt_at(&ticket, start + OPENS + Duration::from_secs(60)), None);
        assert_eq!(Tickets::new().unwrap().decrypt_at(&ticket, start), None, "a stranger's");
    }

    #[test]
    fn whatever_a_client_sends_is_no_ticket() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None, "{length}");
        }
        for place in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[place] ^= 1;
            assert_eq!(tickets.decrypt(&forged), None, "{place}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets = Tickets::new().unwrap().secrets();
        assert_eq!(format!("{secrets:?}"), "[Secret]");
    }
}
