//! The authority of the stack: certificates for every workload, made fresh, and made again while all runs.

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

/// Half of a certificate's hour.
const ROTATION: Duration = Duration::from_secs(30 * 60);
/// Where the authority keeps its key: in this container alone.
const AUTHORITY: &str = "/authority";

/// The workloads with their service accounts; each has a volume of its own.
const WORKLOADS: [(&str, &str); 5] = [
    ("gateway", "cluster.local/ns/demo/sa/hello-gateway-istio"),
    ("app", "cluster.local/ns/demo/sa/hello-app"),
    ("postgres", "cluster.local/ns/demo/sa/postgres"),
    ("egress", "cluster.local/ns/demo/sa/egress-gateway"),
    ("outside", "outside.example/partner"),
];

/// Who issues a visitor's certificate.
#[derive(Clone, Copy)]
enum Issued {
    /// The stack's authority.
    Well,
    /// The same, but it has ended.
    Expired,
    /// An authority that nobody trusts.
    Elsewhere,
}

/// What the tour asks with: copies of good identities, and bad ones.
const VISITORS: [(&str, &str, Issued); 6] = [
    ("gateway", "cluster.local/ns/demo/sa/hello-gateway-istio", Issued::Well),
    ("app", "cluster.local/ns/demo/sa/hello-app", Issued::Well),
    ("stranger", "cluster.local/ns/demo/sa/stranger", Issued::Well),
    ("other-domain", "other.domain/ns/demo/sa/hello-gateway-istio", Issued::Well),
    ("expired", "cluster.local/ns/demo/sa/hello-gateway-istio", Issued::Expired),
    ("forged", "cluster.local/ns/demo/sa/hello-gateway-istio", Issued::Elsewhere),
];

/// Issues everything, says that it is ready, and issues anew every half hour.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    tokens(&folder.join("tokens"))?;
    loop {
        rotate(folder)?;
        fs::write("/ready", "")?;
        thread::sleep(ROTATION);
    }
}

/// Whether all has been issued.
pub(crate) fn are_ready(folder: &Path) -> bool {
    Path::new("/ready").exists() && folder.join("visitor/current").exists()
}

/// Issues a new certificate to everyone.
pub(crate) fn rotate(folder: &Path) -> Result<()> {
    let authority = authority("the stack's authority")?;
    let elsewhere = CertificateAuthority::new("another authority")?;
    for (workload, principal) in WORKLOADS {
        let folder = Fresh::below(folder.join(workload))?;
        folder.write(&authority, "workload", &issue(&authority, principal, Issued::Well)?)?;
        folder.put_in_place()?;
    }
    let visitor = Fresh::below(folder.join("visitor"))?;
    for (name, principal, issued) in VISITORS {
        let issuer = if matches!(issued, Issued::Elsewhere) { &elsewhere } else { &authority };
        visitor.write(&authority, name, &issue(issuer, principal, issued)?)?;
    }
    visitor.put_in_place()
}

fn issue(authority: &CertificateAuthority, principal: &str, issued: Issued) -> Result<Identity> {
    let names = [SubjectAltName::Uri(format!("spiffe://{principal}"))];
    match issued {
        Issued::Expired => authority.issue_expired(&names),
        Issued::Well | Issued::Elsewhere => authority.issue(&names),
    }
}

/// The authority of before, or a new one.
fn authority(name: &str) -> Result<CertificateAuthority> {
    let folder = Path::new(AUTHORITY);
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

/// A folder of new files that takes the place of `current` in one step, so that nobody sees a key without its
/// certificate. Envoy watches for such a move.
struct Fresh {
    parent: PathBuf,
    name: String,
}

impl Fresh {
    fn below(parent: PathBuf) -> Result<Self> {
        let name = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().to_string();
        fs::create_dir_all(parent.join(&name))?;
        Ok(Self { parent, name })
    }

    fn write(&self, authority: &CertificateAuthority, name: &str, identity: &Identity) -> Result<()> {
        let folder = self.parent.join(&self.name);
        fs::write(folder.join("trusted.pem"), authority.pem())?;
        identity.write(&folder, name).map(|_| ())
    }

    fn put_in_place(&self) -> Result<()> {
        let current = self.parent.join("current");
        let before = fs::read_link(&current).ok();
        let new = self.parent.join("current.new");
        // One that was killed before it came to rename leaves this behind.
        let _absent = fs::remove_file(&new);
        symlink(&self.name, &new)?;
        fs::rename(new, current)?;
        if let Some(before) = before {
            fs::remove_dir_all(self.parent.join(before))?;
        }
        Ok(())
    }
}

/// A key that signs tokens: the public half as a JWKS for Envoy, a good token and one of another key.
fn tokens(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    if folder.join("good.jwt").exists() {
        return Ok(());
    }
    let key = KeyPair::generate()?;
    let point = key.der_bytes();
    let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(32)).context("not a point of P-256")?;
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
