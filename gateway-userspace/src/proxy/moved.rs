//! Routes that lead elsewhere.

use http::{HeaderValue, StatusCode, header::LOCATION};

use super::{answers, body::ResponseBody, message::Response};
use crate::model::{FieldChanges, Redirect, Rest};

/// Another place to ask.
#[derive(Debug)]
pub struct Moved {
    status: StatusCode,
    to: To,
    fields: FieldChanges,
}

#[derive(Debug)]
enum To {
    /// That place, whatever was asked for.
    Whole(String),
    /// What was asked for, there: without a trailing slash, so nothing of a request can become a part of the host's name.
    Below(String),
}

impl Moved {
    /// As a route says.
    pub fn new(redirect: &Redirect, fields: &FieldChanges) -> Self {
        let to = match redirect.rest {
            Rest::Drop => To::Whole(redirect.to.clone()),
            Rest::Append => To::Below(redirect.to.trim_end_matches('/').to_owned()),
        };
        Self { status: redirect.status, to, fields: fields.clone() }
    }

    /// The answer to who asked for `rest`, which begins with `/`, below the route.
    pub fn answer(&self, rest: &str) -> Response<ResponseBody> {
        let location = match &self.to {
            To::Whole(url) => HeaderValue::from_str(url),
            To::Below(url) => HeaderValue::from_str(&format!("{url}{rest}")),
        };
        let Ok(location) = location else { return answers::last(StatusCode::BAD_REQUEST) };
        let mut response = answers::empty(self.status);
        response.head.headers.append(LOCATION, location);
        response.head.headers.change(&self.fields);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_where_it_is_asked_for() {
        for (to, rest, asked, location) in [
            ("https://new.contoso.com/a", Rest::Drop, "/b?c", "https://new.contoso.com/a"),
            ("https://new.contoso.com", Rest::Append, "/b?c", "https://new.contoso.com/b?c"),
            ("https://new.contoso.com/a/", Rest::Append, "/b", "https://new.contoso.com/a/b"),
            (
                "https://new.contoso.com",
                Rest::Append,
                "/.evil.example",
                "https://new.contoso.com/.evil.example",
            ),
            (
                "https://new.contoso.com",
                Rest::Append,
                "/@evil.example",
                "https://new.contoso.com/@evil.example",
            ),
        ] {
            let redirect = Redirect { to: to.into(), status: StatusCode::FOUND, rest };
            let fields =
                FieldChanges { set: vec![(LOCATION, HeaderValue::from_static("x"))], remove: vec![] };
            let answer = Moved::new(&redirect, &FieldChanges::default()).answer(asked);
            assert_eq!(
                (answer.head.status, answer.head.headers.only(&LOCATION).unwrap().as_bytes()),
                (StatusCode::FOUND, location.as_bytes())
            );
            let answer = Moved::new(&redirect, &fields).answer(asked);
            assert_eq!(answer.head.headers.only(&LOCATION).unwrap(), "x");
        }
    }
}
