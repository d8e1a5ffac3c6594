//! What the files of certificates say. They are read when asked for, since another program writes them; and here, for the owner task
//! waits for no disk.

use std::path::Path;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::status::{Certificate, Endpoint, Time};

/// Says of each when it ends, or why that is not known.
pub(super) fn read(endpoints: &mut [Endpoint]) {
    for certificate in endpoints.iter_mut().flat_map(|one| &mut one.certificates) {
        look(certificate);
    }
}

fn look(certificate: &mut Certificate) {
    match expiry(Path::new(&certificate.file)) {
        Ok(time) => certificate.expires = Some(time),
        Err(reason) => certificate.reason = Some(reason),
    }
}

/// Of the first certificate, which is the leaf.
fn expiry(chain: &Path) -> Result<Time, String> {
    let pem = std::fs::read(chain).map_err(|error| format!("it cannot be read on this host: {error}"))?;
    let leaf = CertificateDer::from_pem_slice(&pem).map_err(|error| format!("it is not PEM: {error}"))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).map_err(|error| error.to_string())?;
    Ok(Time::of_unix(leaf.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_leafs_end_is_told_or_why_it_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        let certificate = |path: &Path| {
            let mut certificate = Certificate::of(path);
            look(&mut certificate);
            certificate
        };
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
