//! The certificate authority of the stack: issues and rotates the certificates of all workloads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;
use testbed::{CertificateAuthority, Identity, SubjectAltName};

/// Interval between rotations: half of a certificate's lifetime.
const ROTATION_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// The folder of the authority's key, which is in this container only.
const AUTHORITY_FOLDER: &str = "/authority";

/// The workloads with their SPIFFE IDs without scheme; each has a volume of its own.
const WORKLOADS: [(&str, &str); 6] = [
    ("gateway", "cluster.local/ns/demo/sa/hello-gateway-istio"),
    ("app", "cluster.local/ns/demo/sa/hello-app"),
    ("postgres", "cluster.local/ns/demo/sa/postgres"),
    ("egress", "cluster.local/ns/demo/sa/egress-gateway"),
    ("outside", "outside.example/partner"),
    ("clients", "cluster.local/ns/demo/sa/clients"),
];

/// The hosts outside, which programs verify by their names.
const OUTSIDE_HOSTS: [&str; 2] = ["api.partner.example", "undeclared.example"];

/// The validity of a certificate.
#[derive(Clone, Copy)]
enum Validity {
    /// Issued by the stack's authority.
    Valid,
    /// Issued by the stack's authority, but expired.
    Expired,
    /// Issued by an authority that no workload trusts.
    Untrusted,
}

/// The certificates for probes: copies of workload identities, and invalid ones.
const PROBE_IDENTITIES: [(&str, &str, Validity); 6] = [
    ("gateway", "cluster.local/ns/demo/sa/hello-gateway-istio", Validity::Valid),
    ("app", "cluster.local/ns/demo/sa/hello-app", Validity::Valid),
    ("stranger", "cluster.local/ns/demo/sa/stranger", Validity::Valid),
    ("other-domain", "other.domain/ns/demo/sa/hello-gateway-istio", Validity::Valid),
    ("expired", "cluster.local/ns/demo/sa/hello-gateway-istio", Validity::Expired),
    ("forged", "cluster.local/ns/demo/sa/hello-gateway-istio", Validity::Untrusted),
];

/// Issues all certificates, marks itself ready, and rotates the certificates every half hour.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    write_tokens(&folder.join("tokens"))?;
    loop {
        rotate(folder)?;
        fs::write("/ready", "")?;
        thread::sleep(ROTATION_INTERVAL);
    }
}

/// True if all certificates have been issued.
pub(crate) fn are_ready(folder: &Path) -> bool {
    Path::new("/ready").exists() && folder.join("visitor/current").exists()
}

/// Issues new certificates to all workloads.
pub(crate) fn rotate(folder: &Path) -> Result<()> {
    let authority = load_or_create_authority("the stack's authority")?;
    let untrusted = CertificateAuthority::new("another authority")?;
    for (workload, principal) in WORKLOADS {
        let folder = NewFolder::create_in(folder.join(workload))?;
        let hosts: &[&str] = if workload == "outside" { &OUTSIDE_HOSTS } else { &[] };
        folder.write(&authority, "workload", &issue(&authority, principal, hosts, Validity::Valid)?)?;
        folder.activate()?;
    }
    let visitor = NewFolder::create_in(folder.join("visitor"))?;
    for (name, principal, validity) in PROBE_IDENTITIES {
        let issuer = if matches!(validity, Validity::Untrusted) { &untrusted } else { &authority };
        visitor.write(&authority, name, &issue(issuer, principal, &[], validity)?)?;
    }
    visitor.activate()
}

fn issue(authority: &CertificateAuthority, principal: &str, hosts: &[&str], validity: Validity) -> Result<Identity> {
    let mut names = vec![SubjectAltName::Uri(format!("spiffe://{principal}"))];
    names.extend(hosts.iter().map(|host| SubjectAltName::Dns((*host).to_owned())));
    match validity {
        Validity::Expired => authority.issue_expired(&names),
        Validity::Valid | Validity::Untrusted => authority.issue(&names),
    }
}

/// Loads the stored authority, or creates one.
fn load_or_create_authority(name: &str) -> Result<CertificateAuthority> {
    let folder = Path::new(AUTHORITY_FOLDER);
    fs::create_dir_all(folder)?;
    let (certificate, key) = (folder.join("authority.pem"), folder.join("authority.key"));
    if key.exists() {
        return CertificateAuthority::load(name, fs::read_to_string(certificate)?, &fs::read_to_string(key)?);
    }
    let authority = CertificateAuthority::new(name)?;
    fs::write(certificate, authority.pem())?;
    fs::write(key, authority.key())?;
    Ok(authority)
}

/// A folder of new files that atomically replaces `current`, so that no reader sees a key without its certificate. Envoy
/// watches for such a move.
struct NewFolder {
    parent: PathBuf,
    name: String,
}

impl NewFolder {
    fn create_in(parent: PathBuf) -> Result<Self> {
        let name = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().to_string();
        fs::create_dir_all(parent.join(&name))?;
        Ok(Self { parent, name })
    }

    fn write(&self, authority: &CertificateAuthority, name: &str, identity: &Identity) -> Result<()> {
        let folder = self.parent.join(&self.name);
        fs::write(folder.join("trusted.pem"), authority.pem())?;
        identity.write(&folder, name).map(|_| ())
    }

    fn activate(&self) -> Result<()> {
        let current = self.parent.join("current");
        let previous = fs::read_link(&current).ok();
        let new = self.parent.join("current.new");
        // A process that was killed before the rename leaves this link behind.
        let _absent = fs::remove_file(&new);
        symlink(&self.name, &new)?;
        fs::rename(new, current)?;
        if let Some(previous) = previous {
            fs::remove_dir_all(self.parent.join(previous))?;
        }
        Ok(())
    }
}

/// Generates a signing key; writes its public half as a JWKS for Envoy, valid tokens, and one signed by another key.
fn write_tokens(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    if folder.join("good.jwt").exists() {
        return Ok(());
    }
    let key = KeyPair::generate()?;
    let point = key.der_bytes();
    let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(32)).context("not a P-256 point")?;
    let [x, y] = [x, y].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
    let keys =
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "shop", "x": x, "y": y}]});
    fs::write(folder.join("keys.json"), keys.to_string())?;
    fs::write(folder.join("forged.jwt"), token(&KeyPair::generate()?, "alice")?)?;
    fs::write(folder.join("mallory.jwt"), token(&key, "mallory")?)?;
    Ok(fs::write(folder.join("good.jwt"), token(&key, "alice")?)?)
}

fn token(key: &KeyPair, subject: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({"iss": "https://login.shop.example", "sub": subject, "aud": "shop", "exp": now + 24 * 3600});
    let header = Header { kid: Some("shop".to_owned()), ..Header::new(Algorithm::ES256) };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(key.serialize_pem().as_bytes())?)?)
}
