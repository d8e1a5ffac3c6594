//! The tables that fields are named by (RFC 7541, section 2.3).

use std::{collections::VecDeque, sync::LazyLock};

use super::field::{Field, Name};

/// What a client may have remembered, in the sense of RFC 7541, section 4.1: what is agreed on unless something else is said.
pub(super) const MOST: usize = 4096;

/// Appendix A; the first one has the number 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    STATIC.iter().map(|(name, value)| Field::new(Name::of(name.as_bytes()), value.as_bytes())).collect()
});

/// What a client has had remembered, and what it need not.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The newest one first.
    fields: VecDeque<Field>,
    size: usize,
    /// What the client has lowered [`MOST`] by.
    lowered: usize,
}

impl Table {
    /// By its number.
    pub(super) fn get(&self, number: usize) -> Option<&Field> {
        let place = number.checked_sub(1)?;
        FIELDS.get(place).or_else(|| self.fields.get(place - STATIC.len()))
    }

    /// Older ones are forgotten for it, or all of them.
    pub(super) fn remember(&mut self, field: Field) {
        self.size += field.size;
        self.fields.push_front(field);
        self.forget();
    }

    /// None: it may not be so large.
    pub(super) fn resize(&mut self, most: usize) -> Option<()> {
        self.lowered = MOST.checked_sub(most)?;
        self.forget();
        Some(())
    }

    fn forget(&mut self) {
        while self.size > MOST - self.lowered {
            self.size -= self.fields.pop_back().map_or(self.size, |field| field.size);
        }
    }
}

/// The number of a field's name in the static table; 0: it has none.
pub(super) fn number(name: &str) -> u8 {
    match name {
        "accept-charset" => 15,
        "accept-encoding" => 16,
        "accept-language" => 17,
        "accept-ranges" => 18,
        "accept" => 19,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "date" => 33,
        "etag" => 34,
        "expires" => 36,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "proxy-authenticate" => 48,
        "refresh" => 52,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names_are_those_of_the_table() {
        let mut found = 0;
        for (at, (name, _)) in STATIC.iter().enumerate() {
            let number = number(name);
            assert!(number == 0 || usize::from(number) == at + 1, "{name}");
            found += usize::from(number > 0);
        }
        assert_eq!((found, number("x-request-id")), (31, 0));
    }

    #[test]
    fn rfc7541_4_4_the_oldest_are_forgotten_and_one_that_does_not_fit_forgets_all() {
        let field = |value: &[u8]| Field::new(Name::of(b"a"), value);
        let mut table = Table::default();
        table.remember(field(b"1"));
        table.remember(field(&[b'2'; 4096 - 34 - 33]));
        assert_eq!(
            (table.get(62).unwrap().size, table.get(63), table.size),
            (4062, Some(&field(b"1")), 4096)
        );
        table.remember(field(b"3"));
        assert_eq!((table.get(62), table.get(64)), (Some(&field(b"3")), None));
        assert!(table.resize(34).is_some() && table.resize(4097).is_none());
        assert_eq!((table.get(62), table.get(63)), (Some(&field(b"3")), None));
        table.remember(field(b"44"));
        assert_eq!((table.get(62), table.size), (None, 0));
        assert_eq!(table.get(0), None);
    }
}
