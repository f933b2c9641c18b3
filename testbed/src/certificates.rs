//! A certificate authority and the certificates that it issues, generated for each run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// A subject alternative name of a certificate (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectAltName {
    /// A URI SAN; a valid SPIFFE ID or any other URI.
    Uri(String),
    /// A DNS SAN.
    Dns(String),
}

/// A self-signed certificate authority.
#[derive(Debug)]
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: String,
    key: String,
}

impl CertificateAuthority {
    /// Generates an authority with this common name.
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
        params.distinguished_name = distinguished_name(common_name);
        params
    }

    /// Loads an authority that was generated before with this common name from its certificate and key in PEM.
    pub fn load(common_name: &str, pem: String, key: &str) -> Result<Self> {
        Ok(Self { issuer: Issuer::new(Self::parameters(common_name), KeyPair::from_pem(key)?), pem })
    }

    /// The private key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for client and server authentication, valid for one hour.
    pub fn issue(&self, names: &[SubjectAltName]) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::minutes(5), now + Duration::hours(1))
    }

    /// Issues a certificate that expired one hour ago.
    pub fn issue_expired(&self, names: &[SubjectAltName]) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::hours(2), now - Duration::hours(1))
    }

    /// Issues a certificate that is valid for this long from now on.
    pub fn issue_lasting(&self, names: &[SubjectAltName], lifetime: std::time::Duration) -> Result<Identity> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(names, now - Duration::minutes(5), now + lifetime)
    }

    fn issue_for(
        &self,
        names: &[SubjectAltName],
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("workload");
        params.not_before = not_before;
        params.not_after = not_after;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Python from 3.13 on refuses a certificate without.
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(match name {
                SubjectAltName::Uri(uri) => {
                    SanType::URI(uri.as_str().try_into().with_context(|| format!("invalid URI SAN {uri}"))?)
                }
                SubjectAltName::Dns(host) => {
                    SanType::DnsName(host.as_str().try_into().with_context(|| format!("invalid DNS SAN {host}"))?)
                }
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

impl Identity {
    /// Takes a certificate and its key, both in PEM, without parsing them.
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

    /// Writes `<name>.pem` and `<name>.key` into a folder, and returns the path of the certificate.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let certificate = folder.join(format!("{name}.pem"));
        fs::write(&certificate, &self.certificate)?;
        fs::write(folder.join(format!("{name}.key")), &self.key)?;
        Ok(certificate)
    }
}

/// A listener's `CommonTlsContext`: its certificate and key in `server.pem` and `server.key` of `folder`, its trusted CA in
/// `trusted.pem`.
pub fn common_tls_context(folder: &Path) -> Value {
    json!({
        "tls_certificates": [{
            "certificate_chain": {"filename": folder.join("server.pem")},
            "private_key": {"filename": folder.join("server.key")}
        }],
        "validation_context": {"trusted_ca": {"filename": folder.join("trusted.pem")}}
    })
}
