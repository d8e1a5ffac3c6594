//! What clients ask for: names by role, and how long their certificates are good for.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;
use crate::model::Model;

/// A role's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// `gateway`, `portal`, `developer`, `management` or `scm`.
    pub role: String,
    /// The default name first, if it is wanted; `*.` begins one that stands for any one label.
    pub hosts: Vec<String>,
    /// What its clients are shown.
    pub certificates: Vec<Certificate>,
    /// The first end of the certificates that instances show for it, as they say themselves. Absent: none has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_end: Option<FirstEnd>,
}

/// When a certificate that is shown to clients is good no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirstEnd {
    /// When.
    pub expires: Time,
    /// The instance that shows it: `gw-1`.
    pub instance: String,
}

/// A certificate, as its file on the balancer's host says. Instances read their own copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// The chain's file.
    pub file: String,
    /// When the first certificate of it expires. Absent: `reason` says why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Why it cannot be read here; a balancer has no need of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Endpoint {
    /// Of all roles; nothing is known of their certificates yet but where their files are.
    pub fn all(model: &Model) -> Vec<Self> {
        let endpoint = |one: &crate::model::Endpoint| Self {
            role: one.role.to_string(),
            hosts: one.hosts.iter().map(ToString::to_string).collect(),
            certificates: one.certificates.iter().map(|files| Certificate::of(&files.chain)).collect(),
            first_end: None,
        };
        model.endpoints.iter().map(endpoint).collect()
    }
}

impl Certificate {
    /// Not looked at.
    pub fn of(chain: &Path) -> Self {
        Self { file: chain.display().to_string(), expires: None, reason: None }
    }
}
