//! Certificates that are made for one run and forgotten.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// What a certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A URI SAN: a SPIFFE ID, or something that is not one.
    Uri(String),
    /// A DNS SAN.
    Dns(String),
}

/// A certificate authority of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    /// Makes an authority whose certificate carries this common name.
    pub fn new(common_name: &str) -> Result<Self> {
        let params = Self::parameters(common_name);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn parameters(common_name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(common_name);
        params
    }

    /// An authority that was made before under this common name, with its certificate and its key in PEM.
    pub fn load(common_name: &str, pem: String, key: &str) -> Result<Self> {
        Ok(Self { issuer: Issuer::new(Self::parameters(common_name), KeyPair::from_pem(key)?), pem })
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate that is good for an hour, for clients and servers.
    pub fn issue(&self, names: &[Name]) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::minutes(5), now + Duration::hours(1))
    }

    /// Issues a certificate that ended an hour ago.
    pub fn issue_expired(&self, names: &[Name]) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::hours(2), now - Duration::hours(1))
    }

    /// Issues a certificate that is good for this long from now on.
    pub fn issue_lasting(&self, names: &[Name], lifetime: std::time::Duration) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::minutes(5), now + lifetime)
    }

    fn issue_for(&self, names: &[Name], not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("workload");
        params.not_before = not_before;
        params.not_after = not_after;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(match name {
                Name::Uri(uri) => SanType::URI(uri.as_str().try_into().with_context(|| format!("the URI {uri}"))?),
                Name::Dns(host) => {
                    SanType::DnsName(host.as_str().try_into().with_context(|| format!("the host {host}"))?)
                }
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

impl Identity {
    /// A certificate with its key, both in PEM.
    pub fn from_pem(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    /// The certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key, in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Writes `<name>.pem` and `<name>.key` into a folder, and says where the certificate is.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let certificate = folder.join(format!("{name}.pem"));
        fs::write(&certificate, &self.certificate)?;
        fs::write(folder.join(format!("{name}.key")), &self.key)?;
        Ok(certificate)
    }
}

/// The certificates of a listener (`CommonTlsContext`): its own in `server.pem` and `server.key` of a folder, and whom it
/// trusts in `trusted.pem`.
pub fn common_tls_context(folder: &Path) -> Value {
    json!({
        "tls_certificates": [{
            "certificate_chain": {"filename": folder.join("server.pem")},
            "private_key": {"filename": folder.join("server.key")}
        }],
        "validation_context": {"trusted_ca": {"filename": folder.join("trusted.pem")}}
    })
}
