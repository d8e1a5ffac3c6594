//! Who is logged in: a cookie with 256 random bits stands for a token until the session ends. Sessions are this process's
//! alone, and time is an argument.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::constant_time;

use crate::api::tokens::{self, Entry};

/// From the last request on.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// In all.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Beyond that many, the one that was longest without a request ends.
const MOST: usize = 64;
/// How long what came of a change is shown.
const NOTICE: Duration = Duration::from_secs(60);

/// All of them, by what the cookie says.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    seen: Seen,
    began: Instant,
    used: Instant,
    notice: Option<(Instant, Notice)>,
}

/// What a session is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// The token's line: the session ends with it.
    pub(super) entry: Entry,
    /// Has to be in every form: a page from elsewhere cannot know it.
    pub(super) csrf: String,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) good: bool,
    pub(super) text: String,
}

impl Sessions {
    /// A new one; what its cookie says.
    pub(super) fn begin(&self, entry: Entry, now: Instant) -> io::Result<String> {
        let (id, csrf) = (tokens::secret()?, tokens::secret()?);
        let mut all = self.lock(now);
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, one)| one.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| all.remove(&id));
        }
        let session = Session { seen: Seen { entry, csrf }, began: now, used: now, notice: None };
        all.insert(id.clone(), session);
        Ok(id)
    }

    /// The one of that cookie, if its token is still among these.
    pub(super) fn find(&self, id: &str, tokens: &[Entry], now: Instant) -> Option<Seen> {
        let mut all = self.lock(now);
        let session = all.get_mut(id)?;
        if !tokens.contains(&session.seen.entry) {
            all.remove(id);
            return None;
        }
        session.used = now;
        Some(session.seen.clone())
    }

    pub(super) fn end(&self, id: &str, now: Instant) {
        self.lock(now).remove(id);
    }

    /// Says what came of a change to those who look next.
    pub(super) fn note(&self, id: &str, notice: Notice, now: Instant) {
        if let Some(session) = self.lock(now).get_mut(id) {
            session.notice = Some((now, notice));
        }
    }

    pub(super) fn notice(&self, id: &str, now: Instant) -> Option<Notice> {
        let all = self.lock(now);
        let (since, notice) = all.get(id)?.notice.as_ref()?;
        (now.saturating_duration_since(*since) < NOTICE).then(|| notice.clone())
    }

    /// Those that have not ended.
    fn lock(&self, now: Instant) -> MutexGuard<'_, HashMap<String, Session>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = |one: &Session| {
            now.saturating_duration_since(one.used) < IDLE
                && now.saturating_duration_since(one.began) < LONGEST
        };
        all.retain(|_, one| lives(one));
        all
    }
}

impl Seen {
    /// Whether a form is one of this session's pages.
    pub(super) fn is_known(&self, csrf: &str) -> bool {
        constant_time::verify_slices_are_equal(self.csrf.as_bytes(), csrf.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tokens::Role;

    fn entries() -> Vec<Entry> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let lines = ["graphs", "deploy"].map(|name| tokens::make(name, Role::Write).unwrap().1);
        std::fs::write(&path, lines.join("\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        tokens::read(&path).unwrap()
    }

    #[test]
    fn a_session_ends_when_nobody_asks_and_at_last_all_the_same() {
        let (sessions, tokens, start) = (Sessions::default(), entries(), Instant::now());
        let id = sessions.begin(tokens[0].clone(), start).unwrap();
        let at = |after| sessions.find(&id, &tokens, start + after);
        let mut passed = Duration::ZERO;
        while passed < LONGEST {
            assert!(at(passed).is_some(), "{passed:?}");
            passed += IDLE - Duration::from_secs(1);
        }
        assert_eq!(at(LONGEST), None);
        let id = sessions.begin(tokens[0].clone(), start).unwrap();
        assert_eq!(sessions.find(&id, &tokens, start + IDLE), None);
    }

    #[test]
    fn it_ends_with_its_token_and_by_logging_out() {
        let (sessions, tokens, now) = (Sessions::default(), entries(), Instant::now());
        let [one, other] = [0, 1].map(|at: usize| sessions.begin(tokens[at].clone(), now).unwrap());
        assert_eq!(sessions.find(&one, &tokens[1..], now), None);
        assert_eq!(sessions.find(&one, &tokens, now), None, "for good");
        assert_eq!(sessions.find(&other, &tokens, now).unwrap().entry, tokens[1]);
        sessions.end(&other, now);
        assert_eq!(sessions.find(&other, &tokens, now), None);
        assert_eq!(sessions.find("", &tokens, now), None);
    }

    #[test]
    fn there_are_only_so_many() {
        let (sessions, tokens, start) = (Sessions::default(), entries(), Instant::now());
        let begin = |after| sessions.begin(tokens[0].clone(), start + Duration::from_secs(after)).unwrap();
        let ids: Vec<_> = (0..=MOST as u64).map(begin).collect();
        let now = start + Duration::from_secs(100);
        assert_eq!(sessions.find(&ids[0], &tokens, now), None);
        assert!(sessions.find(&ids[1], &tokens, now).is_some());
    }

    #[test]
    fn what_came_of_a_change_is_shown_for_a_while() {
        let (sessions, tokens, now) = (Sessions::default(), entries(), Instant::now());
        let id = sessions.begin(tokens[0].clone(), now).unwrap();
        let notice = Notice { good: true, text: "gw-1 is down".into() };
        sessions.note(&id, notice.clone(), now);
        assert_eq!(sessions.notice(&id, now), Some(notice));
        assert_eq!(sessions.notice(&id, now + NOTICE), None);
    }

    #[test]
    fn a_form_has_to_have_the_sessions_own_secret() {
        let (sessions, tokens, now) = (Sessions::default(), entries(), Instant::now());
        let [one, other] = [0; 2].map(|_| {
            let id = sessions.begin(tokens[0].clone(), now).unwrap();
            sessions.find(&id, &tokens, now).unwrap()
        });
        assert!(one.is_known(&one.csrf) && !one.is_known(&other.csrf) && !one.is_known(""));
    }
}
