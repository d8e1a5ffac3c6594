//! The lab's own certificate authority.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Of a leaf, as public authorities have it.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A root that signs leaves; everything is written below one folder.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A leaf's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate as PEM.
    pub chain: PathBuf,
    /// Its key, PKCS#8 as PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new root, whose certificate is `folder/root.pem`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "gateway lab root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let authority = Self { root, folder: folder.to_owned() };
        fs::write(authority.root(), authority.root.pem()).context("cannot write the root certificate")?;
        Ok(authority)
    }

    /// The root certificate, for `curl --cacert`.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// A leaf for these names: `folder/NAME.pem` and `folder/NAME.key`, replaced if they are there.
    ///
    /// # Errors
    /// A name that no certificate can have, or the files cannot be written.
    pub fn leaf(&self, name: &str, hosts: &[String]) -> anyhow::Result<Leaf> {
        self.leaf_until(name, hosts, SystemTime::now() + LIFE)
    }

    /// The same, good until then.
    ///
    /// # Errors
    /// As [`Self::leaf`].
    pub fn leaf_until(&self, name: &str, hosts: &[String], until: SystemTime) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = until.into();
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.root)?;
        let leaf = Leaf {
            chain: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        fs::write(&leaf.chain, certificate.pem()).context("cannot write a certificate")?;
        fs::write(&leaf.key, key.serialize_pem()).context("cannot write a key")?;
        Ok(leaf)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}
