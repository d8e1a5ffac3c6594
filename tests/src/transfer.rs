//! A body there and back through a VIP, byte for byte the same.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context, bail};

use crate::{
    config::default_host,
    curl::Curl,
    host::Host,
    lab::Lab,
    service::{self, Sunk},
};

/// Far more than any of it should take, and less than a lab's command may.
const SECONDS: &str = "50";

/// Bytes that a service has, and expects.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    sunk: Sunk,
    file: PathBuf,
}

impl Body {
    /// Of so many bytes.
    ///
    /// # Errors
    /// The lab's folder cannot be written.
    pub fn new(lab: &Lab, size: u64) -> anyhow::Result<Self> {
        let bytes = (0..size).map(service::pattern).collect::<Vec<_>>();
        let file = lab.folder().join(format!("body-{size}"));
        fs::write(&file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
        let sunk = Sunk { bytes: size, fingerprint: service::fingerprint(&bytes) };
        Ok(Self { bytes, sunk, file })
    }

    /// GET and POST through a VIP, at the gateway role.
    ///
    /// # Errors
    /// Another status, or bytes that are not those sent.
    pub fn there_and_back(&self, lab: &Lab, from: &Host, vip: IpAddr) -> anyhow::Result<()> {
        self.download(lab, from, vip)?;
        self.upload(lab, from, vip)
    }

    /// GET
    ///
    /// # Errors
    /// Another status, or bytes that are not those sent.
    pub fn download(&self, lab: &Lab, from: &Host, vip: IpAddr) -> anyhow::Result<()> {
        let path = format!("/bytes/{}", self.sunk.bytes);
        let curl = Curl::https(lab, &default_host("gateway"), vip, &path).with(["--max-time", SECONDS]);
        let answer = curl.send(from)?;
        if answer.status != 200 || answer.body != self.bytes {
            let (got, all) = (answer.body.len(), self.bytes.len());
            let astray = answer.body.iter().zip(&self.bytes).position(|(got, sent)| got != sent);
            bail!(
                "GET from {} at {vip}: status {}, {got} of {all} bytes, the first wrong one at {astray:?}: {}",
                from.name(),
                answer.status,
                answer.error
            );
        }
        Ok(())
    }

    /// POST
    ///
    /// # Errors
    /// Another status, or bytes that are not those sent.
    pub fn upload(&self, lab: &Lab, from: &Host, vip: IpAddr) -> anyhow::Result<()> {
        let body = format!("@{}", self.file.display());
        let curl = Curl::https(lab, &default_host("gateway"), vip, "/sink");
        let answer = curl.with(["--max-time", SECONDS, "--data-binary", &body]).send(from)?;
        let sunk = serde_json::from_slice::<Sunk>(&answer.body).ok();
        if answer.status != 200 || sunk != Some(self.sunk) {
            bail!(
                "POST from {} at {vip}: status {}, {sunk:?} for {:?}: {}",
                from.name(),
                answer.status,
                self.sunk,
                answer.error
            );
        }
        Ok(())
    }
}
