//! Certificates for `gateway doctor`: all that `gateway check` finds in them, the order of chains, and when they end.

use std::{path::Path, time::SystemTime};

use x509_parser::parse_x509_certificate;

use super::{certificates, code::Code, fault::Fault, resolve::CertificateUse};

/// Of the certificates that a file names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certified {
    /// What is wrong with them.
    pub faults: Vec<CertificateFault>,
    /// Each chain that can be read, and when its leaf is good no more, in seconds since 1970.
    pub ends: Vec<(String, i64)>,
}

/// Something wrong with a certificate or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFault {
    /// As in `gateway check`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What helps, where that is known.
    pub help: Option<String>,
    /// The file cannot be read. Where certificates are not needed, that is no fault.
    pub is_unreadable: bool,
}

/// Reads the certificates that a file names. One that has faults itself names none.
pub fn certified(path: &Path, now: SystemTime) -> Certified {
    let (resolved, _) = super::read(path);
    let (mut faults, mut ends) = (Vec::new(), Vec::new());
    for one in &resolved.certificates {
        let (found, chain) = certificates::check_one(one, now);
        faults.extend(found.iter().map(fault));
        let Some(chain) = chain else { continue };
        let Some(Ok((_, leaf))) = chain.first().map(|leaf| parse_x509_certificate(leaf)) else { continue };
        ends.push((one.files.chain.display().to_string(), leaf.validity().not_after.timestamp()));
        faults.extend(out_of_order(one, &chain));
    }
    Certified { faults, ends }
}

fn fault(found: &Fault) -> CertificateFault {
    CertificateFault {
        code: found.code().to_string(),
        message: found.message().to_owned(),
        help: found.help().map(ToOwned::to_owned),
        is_unreadable: found.code() == Code::CertificateUnreadable,
    }
}

/// RFC 8446 §4.4.2: each one certifies the one before. Clients put other chains in order if they feel like it.
fn out_of_order(one: &CertificateUse, chain: &[impl AsRef<[u8]>]) -> Option<CertificateFault> {
    let parsed: Vec<_> =
        chain.iter().filter_map(|one| Some(parse_x509_certificate(one.as_ref()).ok()?.1)).collect();
    let break_at = parsed.windows(2).position(|pair| pair[0].issuer() != pair[1].subject())?;
    let [certificate, next] = [&parsed[break_at], &parsed[break_at + 1]];
    let path = one.files.chain.display();
    Some(CertificateFault {
        code: "chain".to_owned(),
        message: format!(
            "certificate {} of {path} was issued by {}, and the next one is {}",
            break_at + 1,
            certificate.issuer(),
            next.subject()
        ),
        help: Some(
            "put the leaf first and behind each certificate that of its issuer; the root may be left out"
                .to_owned(),
        ),
        is_unreadable: false,
    })
}
