//! Paths of requests as routes understand them. Pure.

use std::borrow::Cow;

/// The path as an upstream will understand it: percent-encoded letters decoded, `.` and `..` resolved (RFC 3986, section 6.2.2).
pub(super) fn plain(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = decoded.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        let last = parts.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => {
                segments.push(other);
                continue;
            }
        }
        if last {
            segments.push("");
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

/// What a plain path has below a prefix, by whole segments: `/orders` has `/orders` (nothing) and `/orders/1` (`/1`) below it, not
/// `/ordersx`. `*` of OPTIONS is below `/` only.
pub(super) fn below<'p>(plain: &'p str, prefix: &str) -> Option<&'p str> {
    if plain == "*" && prefix == "/" {
        return Some("");
    }
    let rest = plain.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// What is below a prefix as a path of its own. One slash leads it, for `//name` is another host where a path is taken for a URL.
///
/// None if a server that takes `%2F`, `%5C`, `\` or `;` for the end of a segment could find `.` or `..` in it: below the prefix
/// it may have been harmless, below `/` it is not what the client asked for.
pub(super) fn rooted(rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches('/');
    (!hides_dots(rest)).then(|| format!("/{rest}"))
}

fn hides_dots(path: &str) -> bool {
    // Most paths have neither.
    if !path.contains(['.', '%']) {
        return false;
    }
    // `%2%65` has become `%2e`, so dots may be encoded still.
    let separated = [("%2f", "/"), ("%5c", "/"), ("%3b", "/"), ("\\", "/"), (";", "/"), ("%2e", ".")]
        .iter()
        .fold(path.to_ascii_lowercase(), |path, (encoded, decoded)| path.replace(encoded, decoded));
    separated.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        decoded.push_str(plain);
        let byte = encoded.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        match byte.filter(|c| c.is_ascii_alphanumeric() || "-._~".contains(*c)) {
            Some(character) => {
                decoded.push(character);
                rest = &encoded[2..];
            }
            None => {
                decoded.push('%');
                rest = encoded;
            }
        }
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a route of `prefix` that strips it has its upstream see `path`.
    fn stripped(path: &str, prefix: &str) -> Option<String> {
        rooted(below(&plain(path), prefix)?)
    }

    #[test]
    fn what_is_below_a_prefix_becomes_a_path_of_its_own() {
        for (path, seen) in [
            ("/orders", Some("/")),
            ("/orders/", Some("/")),
            ("/orders/1", Some("/1")),
            ("/orders/1/", Some("/1/")),
            ("/orders//1", Some("/1")),
            ("/orders///evil.example/x", Some("/evil.example/x")),
            ("/orders/a//b", Some("/a//b")),
            ("/orders/./1", Some("/1")),
            ("/orders/%2e/1", Some("/1")),
            ("/orders/a/../1", Some("/1")),
            ("/orders/a/%2E%2e/1", Some("/1")),
            ("/%6frders/%31", Some("/1")),
            ("/x/../orders/1", Some("/1")),
            ("/orders/..", None),
            ("/orders/../admin", None),
            ("/orders/%2e%2e/admin", None),
            ("/orders/../../admin", None),
            ("/ordersx", None),
            ("/orders%2F1", None),
            ("/orders/..%2fadmin", None),
            ("/orders/..%2Fadmin", None),
            ("/orders/a%2f..%2f..%2fadmin", None),
            ("/orders/..%5cadmin", None),
            ("/orders/..\\admin", None),
            ("/orders/..;/admin", None),
            ("/orders/..;x=1/admin", None),
            ("/orders/.;/admin", None),
            ("/orders/..%3b/admin", None),
            ("/orders/%2%65%2%65/admin", None),
            ("/orders/...", Some("/...")),
            ("/orders/.hidden/a..b", Some("/.hidden/a..b")),
            ("/orders/a%20b%2Fc", Some("/a%20b%2Fc")),
            ("/orders/%zz%", Some("/%zz%")),
            ("*", None),
        ] {
            assert_eq!(stripped(path, "/orders").as_deref(), seen, "{path}");
        }
    }

    #[test]
    fn a_star_is_below_the_root_only() {
        assert_eq!((below("*", "/"), below("*", "/orders")), (Some(""), None));
    }

    /// A server at its most lenient: everything is decoded, backslashes are slashes, parameters are left off. None: it would leave
    /// its root.
    fn lenient(path: &str) -> Option<Vec<String>> {
        let decoded = decode_all(path).replace('\\', "/");
        let mut segments = Vec::new();
        for segment in decoded.split('/') {
            match segment.split(';').next().unwrap_or_default() {
                ".." => drop(segments.pop()?),
                "." | "" => {}
                other => segments.push(other.to_owned()),
            }
        }
        Some(segments)
    }

    fn decode_all(path: &str) -> String {
        let mut decoded = Vec::new();
        let mut rest = path.as_bytes();
        while let [byte, after @ ..] = rest {
            let digits =
                after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
            match u8::from_str_radix(digits, 16) {
                Ok(value) if *byte == b'%' => {
                    decoded.push(value);
                    rest = &after[2..];
                }
                _ => {
                    decoded.push(*byte);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&decoded).into_owned()
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(
            &[
                "/", "//", "..", ".", "%2e", "%2E", "%2f", "%5C", "\\", ";", "%3b", "a", "orders", "%6f",
                "%", "%25", "%2", "%65", "%252e", "x=1",
            ][..],
        )
    }

    proptest! {
        /// Whatever was asked for: the upstream gets a path below `/` that no reading takes out of it or to another host.
        #[test]
        fn nobody_climbs_out(pieces in prop::collection::vec(piece(), 0..12)) {
            let path = format!("/orders/{}", pieces.concat());
            if let Some(seen) = stripped(&path, "/orders") {
                prop_assert!(seen.starts_with('/') && !seen.starts_with("//"), "{path} became {seen}");
                prop_assert!(lenient(&seen).is_some(), "{path} became {seen}");
                prop_assert!(!lenient(&seen).unwrap_or_default().iter().any(|s| s == ".."), "{path} became {seen}");
                prop_assert!(seen.parse::<http::uri::PathAndQuery>().is_ok() || path.parse::<http::uri::PathAndQuery>().is_err());
            }
        }
    }
}
