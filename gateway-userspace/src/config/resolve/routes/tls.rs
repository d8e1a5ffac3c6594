//! `tls = { … }`

use std::{path::Path, sync::Arc};

use toml::Spanned;

use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file,
        resolve::{UpstreamTlsUse, required},
    },
    model::{CertificateFiles, Upstream, UpstreamTls},
};

/// What is said of these upstreams' TLS, and the files that this names. None where nothing is said, or where there is a fault in it.
pub(super) fn resolve(
    written: &file::UpstreamTls,
    upstream: &[Spanned<Upstream>],
    folder: &Path,
    faults: &mut Vec<Fault>,
) -> Option<(Arc<UpstreamTls>, UpstreamTlsUse)> {
    if let Some(plain) = upstream.iter().find(|one| !one.get_ref().scheme.is_tls()) {
        let message = format!("`tls` means nothing to `{}`", plain.get_ref());
        let problem = Problem::new(Code::UpstreamTls, message)
            .label("expected upstreams with `https` or `h2` only")
            .help("write `https`, or remove `tls`; give the others a route of their own");
        faults.push(problem.at(written.at.clone()).also(plain.span(), "this one is spoken to without TLS"));
    }
    let ca = written.ca.given().map(|ca| (folder.join(ca.get_ref()), ca.span()));
    let certificate = written.certificate.as_ref().and_then(|certificate| {
        let name = |key: &str| format!("endpoint.routes.tls.certificate.{key}");
        let chain = required(&certificate.chain, &name("chain"), &certificate.at, faults);
        let key = required(&certificate.key, &name("key"), &certificate.at, faults);
        let files = CertificateFiles { chain: folder.join(chain?), key: folder.join(key?) };
        Some((files, certificate.chain.span()?, certificate.key.span()?))
    });
    let tls = UpstreamTls {
        ca: ca.as_ref().map(|(path, _)| path.clone()),
        server_name: written.server_name.value().cloned(),
        certificate: certificate.as_ref().map(|(files, ..)| files.clone()),
    };
    (tls != UpstreamTls::default()).then(|| (Arc::new(tls), UpstreamTlsUse { ca, certificate }))
}
