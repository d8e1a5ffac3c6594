//! Clients' certificates: who has to show one, by whom it has to be issued, and what upstreams are told of it.

use std::{fmt::Write as _, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    x509::X509Name,
};

use super::{CertificateError, pair::certificates};
use crate::model::{ClientCertificates, Demand, Endpoint};

/// What clients of a name have to show, as a number: equal where the demand and the authorities are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy(pub(super) [u8; 32]);

/// A client's certificate, verified, as upstreams are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject's distinguished name (RFC 4514).
    pub subject: HeaderValue,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: HeaderValue,
}

/// A certificate that was good once: a ticket resumes its session without another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

impl Policy {
    fn of(demand: Demand, authorities: &[CertificateDer<'_>]) -> Self {
        let mut authorities: Vec<_> = authorities.iter().map(|one| digest(&SHA256, one)).collect();
        authorities.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        let mut text = vec![u8::from(demand == Demand::Required)];
        for one in authorities {
            text.extend(one.as_ref());
        }
        let mut policy = Self::default();
        policy.0.copy_from_slice(digest(&SHA256, &text).as_ref());
        policy
    }
}

/// Who verifies clients of an endpoint.
pub(super) fn verifier(
    endpoint: &Endpoint,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Policy), CertificateError> {
    let Some(ClientCertificates { authorities: path, demand }) = &endpoint.clients else {
        return Ok((Arc::new(NoClientAuth), Policy::default()));
    };
    let authorities = certificates(endpoint.role, path)?;
    let policy = Policy::of(*demand, &authorities);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = match demand {
        Demand::Required => builder.build(),
        Demand::Optional => builder.allow_unauthenticated().build(),
    };
    let verifier = verifier.map_err(|source| CertificateError::Authority {
        role: endpoint.role,
        path: path.clone(),
        source,
    })?;
    Ok((verifier, policy))
}

impl Identity {
    /// Of the certificates that a client has shown and that were verified.
    ///
    /// # Errors
    /// [`Expired`], where they were verified in an earlier session.
    pub fn of(shown: &[CertificateDer<'_>]) -> Result<Option<Self>, Expired> {
        let Some(leaf) = shown.first() else { return Ok(None) };
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Err(Expired) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if certificate.validity().not_after.timestamp() < i64::try_from(now).unwrap_or(i64::MAX) {
            return Err(Expired);
        }
        let fingerprint = digest(&SHA256, leaf).as_ref().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _written = write!(text, "{byte:02x}").is_ok();
            text
        });
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Expired);
        Ok(Some(Self {
            subject: value(&distinguished_name(certificate.subject()))?,
            fingerprint: value(&fingerprint)?,
        }))
    }
}

/// RFC 4514: the last part first, so the most telling one; what has a meaning in it, or is not visible ASCII, is escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for set in name.iter() {
        let pairs = set.iter().map(|attribute| {
            let oid = attribute.attr_type();
            let short = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry());
            let kind = short.map_or_else(|_| oid.to_id_string(), str::to_owned);
            let value = attribute.as_str().map_or_else(|_| hexadecimal(attribute.as_slice()), escaped);
            format!("{kind}={value}")
        });
        parts.push(pairs.collect::<Vec<_>>().join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("#"), |mut text, byte| {
        let _written = write!(text, "{byte:02x}").is_ok();
        text
    })
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (place, byte) in value.bytes().enumerate() {
        let first_or_last = place == 0 || place + 1 == value.len();
        let written = match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\' => write!(text, "\\{}", char::from(byte)),
            b'#' if place == 0 => write!(text, "\\#"),
            b' ' if first_or_last => write!(text, "\\ "),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            _ => write!(text, "\\{byte:02x}"),
        };
        let _written = written.is_ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(parts: &[(DnType, &str)]) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params
    }

    fn subject(parts: &[(DnType, &str)]) -> String {
        let signed = certificate(parts).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = Identity::of(&[signed.der().clone()]).unwrap().unwrap();
        identity.subject.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_subject_cannot_pretend_to_be_another_one() {
        for (parts, text) in [
            (
                &[(DnType::OrganizationName, "Contoso"), (DnType::CommonName, "alice")][..],
                "CN=alice,O=Contoso",
            ),
            (&[(DnType::CommonName, "alice,O=Contoso")], "CN=alice\\,O\\=Contoso"),
            (&[(DnType::CommonName, " #a\\\"b; ")], "CN=\\ #a\\\\\\\"b\\;\\ "),
            (&[(DnType::CommonName, "#a\r\nX-Admin: 1")], "CN=\\#a\\0d\\0aX-Admin: 1"),
            (&[(DnType::CommonName, "J\u{fc}rgen")], "CN=J\\c3\\bcrgen"),
            (&[], ""),
        ] {
            assert_eq!(subject(parts), text);
        }
    }

    #[test]
    fn a_fingerprint_is_that_of_the_certificate() {
        let signed = certificate(&[]).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = Identity::of(&[signed.der().clone()]).unwrap().unwrap();
        let digest = digest(&SHA256, signed.der());
        assert_eq!(format!("#{}", identity.fingerprint.to_str().unwrap()), hexadecimal(digest.as_ref()));
        assert_eq!(Identity::of(&[]), Ok(None));
    }

    #[test]
    fn who_has_expired_since_is_nobody() {
        let mut params = certificate(&[(DnType::CommonName, "alice")]);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Identity::of(&[signed.der().clone()]), Err(Expired));
    }

    #[test]
    fn policies_are_equal_where_the_demand_and_the_authorities_are() {
        let authorities: Vec<_> = (0..2)
            .map(|_| certificate(&[]).self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone())
            .collect();
        let [one, other] = &authorities[..] else { unreachable!() };
        let both = Policy::of(Demand::Required, &[one.clone(), other.clone()]);
        assert_eq!(both, Policy::of(Demand::Required, &[other.clone(), one.clone()]));
        for another in [
            Policy::of(Demand::Optional, &[one.clone(), other.clone()]),
            Policy::of(Demand::Required, std::slice::from_ref(one)),
            Policy::default(),
        ] {
            assert_ne!(both, another);
        }
    }
}
