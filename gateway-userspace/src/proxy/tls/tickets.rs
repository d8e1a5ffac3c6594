//! Session tickets (RFC 5077, section 4), by keys that can be handed to the next process: rustls' own cannot. With a secret that
//! instances share, they make the same keys from it at the same time, and any of them opens the others' tickets.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

use super::Policy;

/// A key makes tickets for so long …
const MAKES: Duration = Duration::from_secs(6 * 60 * 60);
/// … and opens them for so long: then even who has the key of today cannot read a session of yesterday.
const OPENS: Duration = Duration::from_secs(12 * 60 * 60);

const NAME: usize = 16;
const SECRET: usize = 32;

/// The keys of now. They rotate as tickets are made.
pub struct Tickets(RwLock<Keys>);

/// Tickets that only those open who ask the same of clients: a session of one who has shown no certificate is none where that is
/// required.
pub struct Bound {
    tickets: Arc<Tickets>,
    to: Policy,
}

/// A key as it is handed over: a secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    name: [u8; NAME],
    secret: [u8; SECRET],
    born: SystemTime,
}

struct Keys {
    /// The one that makes tickets first.
    list: Vec<Key>,
    /// From which keys are made, if instances share that.
    shared: Option<Prk>,
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
        Self::of(Vec::new())
    }

    /// With those of a predecessor, so that its sessions go on.
    ///
    /// # Errors
    /// No randomness for the next key.
    pub fn of(secrets: Vec<Secret>) -> Result<Self, Unspecified> {
        let mut list = secrets.into_iter().map(Key::of).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            list.push(Key::random(SystemTime::now())?);
        }
        Ok(Self(RwLock::new(Keys { list, shared: None })))
    }

    /// From now on keys are made from this secret, or at random again without one. Those of before open what they have made.
    ///
    /// # Errors
    /// No key can be made.
    pub fn share(&self, secret: Option<&[u8]>) -> Result<(), Unspecified> {
        let salt = Salt::new(HKDF_SHA256, b"gateway session tickets");
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let was_shared = keys.shared.is_some();
        keys.shared = secret.map(|secret| salt.extract(secret));
        if keys.shared.is_some() || was_shared { keys.rotate(SystemTime::now()) } else { Ok(()) }
    }

    /// For a successor.
    pub fn secrets(&self) -> Vec<Secret> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.list.iter().map(|key| key.handed.clone()).collect()
    }

    /// For endpoints with that policy.
    pub fn bound_to(self: &Arc<Self>, policy: Policy) -> Bound {
        Bound { tickets: Arc::clone(self), to: policy }
    }

    /// What `work` makes of the keys of `now`.
    fn with<T>(&self, now: SystemTime, work: impl Fn(&Keys) -> Option<T>) -> Option<T> {
        {
            let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if keys.are_of(now) {
                return work(&keys);
            }
        }
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !keys.are_of(now) {
            keys.rotate(now).ok()?;
        }
        work(&keys)
    }

    fn encrypt_at(&self, plain: &[u8], policy: &Policy, now: SystemTime) -> Option<Vec<u8>> {
        self.with(now, |keys| keys.list.first()?.seal(plain, policy))
    }

    fn decrypt_at(&self, ticket: &[u8], policy: &Policy, now: SystemTime) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_first_chunk::<NAME>()?;
        self.with(now, |keys| {
            let key = keys.list.iter().find(|key| key.handed.name == *name && key.age(now) < OPENS)?;
            key.open(sealed, policy)
        })
    }
}

impl Keys {
    /// Whether the first may make tickets.
    fn are_of(&self, now: SystemTime) -> bool {
        self.list.first().is_some_and(|key| match &self.shared {
            None => key.age(now) < MAKES,
            Some(_) => key.handed.born == begin(now),
        })
    }

    /// New keys come first, those that open nothing any more go.
    fn rotate(&mut self, now: SystemTime) -> Result<(), Unspecified> {
        let new = match &self.shared {
            None => vec![Key::random(now)?],
            Some(shared) => {
                let begin = begin(now);
                // The others' clocks may be ahead, and their tickets are of before too.
                let times = [begin, begin - MAKES, begin + MAKES];
                times.iter().map(|born| Key::derived(shared, *born)).collect::<Result<_, _>>()?
            }
        };
        self.list
            .retain(|old| old.age(now) < OPENS && !new.iter().any(|key| key.handed.name == old.handed.name));
        self.list.splice(..0, new);
        Ok(())
    }
}

/// When the key of a time began to make tickets, for all instances.
fn begin(now: SystemTime) -> SystemTime {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Not before the key of before it.
    let turns = (since.as_secs() / MAKES.as_secs()).max(1);
    SystemTime::UNIX_EPOCH + Duration::from_secs(turns * MAKES.as_secs())
}

/// A key's name and its secret.
struct Material;

impl KeyType for Material {
    fn len(&self) -> usize {
        NAME + SECRET
    }
}

impl Key {
    fn random(now: SystemTime) -> Result<Self, Unspecified> {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        rand::fill(&mut name)?;
        rand::fill(&mut secret)?;
        Self::of(Secret { name, secret, born: now })
    }

    /// The key of a time (RFC 5869).
    fn derived(shared: &Prk, born: SystemTime) -> Result<Self, Unspecified> {
        let since = born.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut material = [0; NAME + SECRET];
        shared.expand(&[&since.as_secs().to_be_bytes()], Material)?.fill(&mut material)?;
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        name.copy_from_slice(&material[..NAME]);
        secret.copy_from_slice(&material[NAME..]);
        Self::of(Secret { name, secret, born })
    }

    fn of(handed: Secret) -> Result<Self, Unspecified> {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &handed.secret)?;
        Ok(Self { handed, cipher })
    }

    /// A clock that was set back makes it as good as new.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.handed.born).unwrap_or_default()
    }

    /// What a ticket is bound to.
    fn bound(&self, policy: &Policy) -> Aad<Vec<u8>> {
        Aad::from([&self.handed.name[..], &policy.0].concat())
    }

    /// The key's name, the nonce, the text, the tag.
    fn seal(&self, plain: &[u8], policy: &Policy) -> Option<Vec<u8>> {
        let mut text = plain.to_vec();
        let nonce = self.cipher.seal_in_place_append_tag(self.bound(policy), &mut text).ok()?;
        Some([&self.handed.name[..], nonce.as_ref(), &text].concat())
    }

    fn open(&self, sealed: &[u8], policy: &Policy) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.cipher.open_in_place(nonce, self.bound(policy), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        OPENS.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt_at(plain, &self.to, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt_at(ticket, &self.to, SystemTime::now())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bound")
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

    const NONE: Policy = Policy([0; 32]);

    fn shared(secret: &[u8]) -> Tickets {
        let tickets = Tickets::new().unwrap();
        tickets.share(Some(secret)).unwrap();
        tickets
    }

    #[test]
    fn a_ticket_is_opened_by_its_key_and_by_a_successor_and_only_while_that_is_good() {
        let tickets = Tickets::new().unwrap();
        let start = SystemTime::now();
        let ticket = tickets.encrypt_at(b"session", &NONE, start).unwrap();
        assert_eq!(tickets.decrypt_at(&ticket, &NONE, start).as_deref(), Some(&b"session"[..]));
        assert_ne!(tickets.encrypt_at(b"session", &NONE, start).unwrap(), ticket, "a nonce of its own");
        // The next key makes tickets, the last one opens its own still.
        let later = start + MAKES + Duration::from_secs(60);
        let next = tickets.encrypt_at(b"next", &NONE, later).unwrap();
        assert_ne!(next[..NAME], ticket[..NAME]);
        let successor = Tickets::of(tickets.secrets()).unwrap();
        for (ticket, plain) in [(&ticket, &b"session"[..]), (&next, b"next")] {
            assert_eq!(successor.decrypt_at(ticket, &NONE, later).as_deref(), Some(plain));
        }
        assert_eq!(successor.decrypt_at(&ticket, &NONE, start + OPENS + Duration::from_secs(60)), None);
        assert_eq!(Tickets::new().unwrap().decrypt_at(&ticket, &NONE, start), None, "a stranger's");
    }

    #[test]
    fn instances_with_a_secret_open_each_others_tickets_though_clocks_differ() {
        let start = SystemTime::now();
        let (one, other, stranger) = (shared(&[1; 32]), shared(&[1; 32]), shared(&[2; 32]));
        let minute = Duration::from_secs(60);
        for later in [Duration::ZERO, MAKES, 3 * MAKES, 20 * OPENS] {
            let now = begin(start) + later + minute;
            let ticket = one.encrypt_at(b"session", &NONE, now).unwrap();
            for at in [now, now - 2 * minute, now + 2 * minute, now + MAKES] {
                assert_eq!(other.decrypt_at(&ticket, &NONE, at).as_deref(), Some(&b"session"[..]));
            }
            assert_eq!(other.decrypt_at(&ticket, &NONE, now + OPENS), None);
            assert_eq!(stranger.decrypt_at(&ticket, &NONE, now), None);
        }
    }

    #[test]
    fn sessions_go_on_when_a_secret_is_given_changed_and_taken_away() {
        let (tickets, now) = (Tickets::new().unwrap(), SystemTime::now());
        let mut made = vec![tickets.encrypt_at(b"session", &NONE, now).unwrap()];
        for secret in [Some([1; 32]), Some([2; 32]), None] {
            tickets.share(secret.as_ref().map(<[u8; 32]>::as_slice)).unwrap();
            made.push(tickets.encrypt_at(b"session", &NONE, now).unwrap());
            for ticket in &made {
                assert!(tickets.decrypt_at(ticket, &NONE, now).is_some());
            }
        }
        let names: std::collections::HashSet<_> = made.iter().map(|ticket| &ticket[..NAME]).collect();
        assert_eq!(names.len(), made.len());
        let successor = Tickets::of(tickets.secrets()).unwrap();
        assert!(made.iter().all(|ticket| successor.decrypt_at(ticket, &NONE, now).is_some()));
    }

    #[test]
    fn a_ticket_is_none_under_another_policy() {
        let (tickets, now, other) = (Tickets::new().unwrap(), SystemTime::now(), Policy([1; 32]));
        let ticket = tickets.encrypt_at(b"session", &NONE, now).unwrap();
        assert_eq!(tickets.decrypt_at(&ticket, &other, now), None);
        let ticket = tickets.encrypt_at(b"session", &other, now).unwrap();
        assert_eq!(tickets.decrypt_at(&ticket, &NONE, now), None);
        assert!(tickets.decrypt_at(&ticket, &other, now).is_some());
    }

    #[test]
    fn whatever_a_client_sends_is_no_ticket() {
        let tickets = Arc::new(Tickets::new().unwrap()).bound_to(NONE);
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
