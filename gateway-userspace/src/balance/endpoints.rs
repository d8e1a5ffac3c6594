//! The names by role, and what the certificates' files say. They are read when asked for: there are few, and another program
//! writes them.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    model::Model,
    status::{Certificate, Endpoint, Time},
};

/// Of all roles.
pub(super) fn of(model: &Model) -> Vec<Endpoint> {
    let endpoint = |one: &crate::model::Endpoint| Endpoint {
        role: one.role.to_string(),
        hosts: one.hosts.iter().map(ToString::to_string).collect(),
        certificates: one.certificates.iter().map(|files| certificate(&files.chain)).collect(),
    };
    model.endpoints.iter().map(endpoint).collect()
}

fn certificate(chain: &Path) -> Certificate {
    let (expires, reason) = match expiry(chain) {
        Ok(time) => (Some(time), None),
        Err(reason) => (None, Some(reason)),
    };
    Certificate { file: chain.display().to_string(), expires, reason }
}

/// Of the first certificate, which is the leaf.
fn expiry(chain: &Path) -> Result<Time, String> {
    let pem = std::fs::read(chain).map_err(|error| format!("it cannot be read on this host: {error}"))?;
    let leaf = CertificateDer::from_pem_slice(&pem).map_err(|error| format!("it is not PEM: {error}"))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
    Ok((UNIX_EPOCH + Duration::from_secs(seconds)).into())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_leafs_end_is_told_or_why_it_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        assert!(certificate(&path).reason.unwrap().contains("cannot be read"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(certificate(&path).reason.unwrap().contains("not PEM"));
        let mut params = rcgen::CertificateParams::new(vec!["api.contoso.com".to_owned()]).unwrap();
        params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        let found = certificate(&path);
        assert_eq!(found.expires.unwrap().to_string(), "2027-01-15T08:00:00.000Z");
        assert_eq!((found.reason, found.file), (None, path.display().to_string()));
    }
}
