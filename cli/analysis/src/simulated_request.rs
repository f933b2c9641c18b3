//! A request that is described, and not received.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use sallyport_policy::{
    AttributeError, CertificateValidation, DynamicMetadata, HeaderValues, IdentityAuthz, IdentitySource, Peer, Request,
    RequestMemo, SpiffeId, UnauthenticatedReason, forwarded_peer,
};

use crate::project::Project;
use crate::settings::Filter;

/// A client, as its connection shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// URIs of the client's certificate; `None` without a certificate.
    pub certificate: Option<Vec<String>>,
    /// True if the proxy could not validate the certificate.
    pub untrusted: bool,
    /// True if the certificate has expired.
    pub expired: bool,
    /// True if the certificate stands for the identity wherever the filter finds it: with `identity.source:
    /// forwardedClientCert`, in the header.
    pub is_forwarded: bool,
}

/// HTTP request or TCP connection with the attributes that its description names.
#[derive(Clone, Debug, Default)]
pub struct SimulatedRequest {
    /// Client.
    pub caller: Caller,
    /// True for a TCP connection.
    pub is_connection: bool,
    /// Address of the connection's other end.
    pub source_ip: Option<IpAddr>,
    /// Address of the client, if it differs.
    pub remote_ip: Option<IpAddr>,
    /// Address that the connection is for.
    pub destination_ip: Option<IpAddr>,
    /// Port that the connection is for.
    pub port: Option<u16>,
    /// SNI.
    pub server_name: Option<Vec<u8>>,
    /// Time of the decision, since the Unix epoch.
    pub time: Option<Duration>,
    /// Dynamic metadata by filter: the claims of a token among it.
    pub metadata: Map<String, Value>,
    /// Method.
    pub method: Vec<u8>,
    /// Host with its port, if it names one.
    pub host: Vec<u8>,
    /// True if the description says nothing about the host, which every request has.
    pub is_host_unknown: bool,
    /// Path with its query.
    pub path: Vec<u8>,
    /// Headers, by names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Mark of an instance with `stage: custom`.
    pub mark: Option<Vec<u8>>,
}

/// Metadata namespace of Envoy's JWT filter.
pub(crate) const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";

impl SimulatedRequest {
    /// Adds a header as Envoy shows it to filters: Host is the authority, and the last address of X-Forwarded-For the
    /// client's, where none is set.
    pub fn add_header(&mut self, name: &str, value: &str) {
        match name {
            "host" => self.host = value.as_bytes().to_vec(),
            _ => {
                if name == "x-forwarded-for" {
                    let last = value.rsplit(',').next().and_then(|address| address.trim().parse().ok());
                    self.remote_ip = self.remote_ip.or(last);
                }
                self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
            }
        }
    }

    /// Adds a claim of the request's token; `realm[roles]` is the claim `roles` of `realm`. A value that is given again
    /// becomes a list, and one in brackets is read as JSON.
    pub fn add_claim(&mut self, name: &str, value: &str) {
        let value = match value.starts_with(['[', '{']) {
            true => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
            false => Value::from(value),
        };
        let names: Vec<&str> =
            ["payload"].into_iter().chain(name.split(['[', ']']).filter(|key| !key.is_empty())).collect();
        let of_filter = self.metadata.entry(JWT_FILTER).or_insert(Value::Null);
        add_value(of_filter, &names, value);
    }
}

/// Adds a value below names; what stands there already becomes a list.
fn add_value(slot: &mut Value, names: &[&str], value: Value) {
    let before = std::mem::take(slot);
    *slot = match (names, before) {
        ([name, rest @ ..], before) => {
            let mut fields = match before {
                Value::Object(fields) => fields,
                _ => Map::new(),
            };
            add_value(fields.entry(*name).or_insert(Value::Null), rest, value);
            Value::Object(fields)
        }
        ([], Value::Null) => value,
        ([], Value::Array(mut items)) => {
            items.push(value);
            Value::Array(items)
        }
        ([], first) => Value::Array(vec![first, value]),
    };
}

/// The request before a filter, which says how the client's identity is found.
pub(crate) struct Received<'r> {
    request: &'r SimulatedRequest,
    peer: Result<Peer, AttributeError>,
    metadata: DynamicMetadata,
    memo: RequestMemo,
    /// True if what the description does not say counts as absent, and not as unknown.
    is_complete: bool,
}

impl<'r> Received<'r> {
    /// Takes a request to a proxy with `identity-authz`.
    pub(crate) fn new(request: &'r SimulatedRequest, filter: &IdentityAuthz) -> Self {
        Self::with_peer(request, peer(request, filter.identity_source(), filter.certificate_validation()))
    }

    /// Takes a request or a connection to an outside host, to a proxy with `egress-allowlist`.
    #[cfg(feature = "whole")]
    pub(crate) fn outbound(request: &'r SimulatedRequest, filter: &sallyport_policy::EgressAllowlist) -> Self {
        let source = IdentitySource::PeerCertificate;
        Self::with_peer(
            request,
            match request.is_connection {
                // The proxy sees no certificate of TLS that passes through.
                true => Ok(Peer::Unauthenticated(UnauthenticatedReason::TlsPassthrough)),
                false => peer(request, &source, filter.certificate_validation()),
            },
        )
    }

    /// Takes a request to a filter that knows no identities.
    pub(crate) fn without_identity(request: &'r SimulatedRequest) -> Self {
        Self::with_peer(request, Ok(Peer::Unauthenticated(UnauthenticatedReason::NoCertificate)))
    }

    fn with_peer(request: &'r SimulatedRequest, peer: Result<Peer, AttributeError>) -> Self {
        let metadata = DynamicMetadata::new(crate::protobuf::metadata(&request.metadata));
        Self { request, peer, metadata, memo: RequestMemo::default(), is_complete: false }
    }

    /// Takes what the description does not say for absent. What decides may not, and what a rule lacks is told.
    pub(crate) fn complete(self) -> Self {
        Self { is_complete: true, memo: RequestMemo::default(), ..self }
    }

    /// Fails where a request has a host that the description does not say.
    fn known_host(&self) -> Result<(), AttributeError> {
        match self.request.is_host_unknown && !self.is_complete && !self.request.is_connection {
            true => unknown("request.host", "it is not given (--host)"),
            false => Ok(()),
        }
    }

    fn unknown<T>(&self, attribute: &'static str, status: &'static str) -> Result<Option<T>, AttributeError> {
        if self.is_complete { Ok(None) } else { unknown(attribute, status) }
    }
}

/// Header with forwarded certificates.
const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

fn peer(
    request: &SimulatedRequest,
    source: &IdentitySource,
    validation: CertificateValidation,
) -> Result<Peer, AttributeError> {
    let caller = &request.caller;
    if *source == IdentitySource::ForwardedClientCert && !(caller.is_forwarded && caller.certificate.is_some()) {
        if request.is_connection {
            return unknown(FORWARDED_CLIENT_CERT, "a connection has no headers");
        }
        let is_named = |(name, _): &&(String, Vec<u8>)| name == FORWARDED_CLIENT_CERT;
        let values: Vec<&[u8]> = request.headers.iter().filter(is_named).map(|(_, value)| value.as_slice()).collect();
        return Ok(forwarded_peer(&values));
    }
    let Some(uris) = &caller.certificate else {
        return Ok(Peer::Unauthenticated(match source {
            IdentitySource::PeerCertificate => UnauthenticatedReason::NoCertificate,
            IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert => {
                UnauthenticatedReason::NoForwardedIdentity
            }
        }));
    };
    let trusts_listener = validation == CertificateValidation::Listener;
    let peer = match uris.first().map(|uri| SpiffeId::parse(uri.as_bytes())) {
        // Envoy validates no certificate that has expired.
        _ if (caller.untrusted || caller.expired) && !trusts_listener => {
            Peer::Unauthenticated(UnauthenticatedReason::NotValidated)
        }
        None => Peer::Unauthenticated(UnauthenticatedReason::NoUri),
        Some(Ok(id)) => Peer::Authenticated(id),
        Some(Err(error)) => Peer::Unauthenticated(UnauthenticatedReason::InvalidSpiffeId(error)),
    };
    Ok(match caller.expired && peer.is_validated() {
        true => Peer::Unauthenticated(UnauthenticatedReason::CertificateExpired),
        false => peer,
    })
}

fn unknown<T>(attribute: &'static str, status: &'static str) -> Result<T, AttributeError> {
    Err(AttributeError { attribute, status })
}

impl Request for Received<'_> {
    fn is_connection(&self) -> bool {
        self.request.is_connection
    }

    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        self.peer.as_ref().map_err(|error| *error)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        match self.request.source_ip {
            Some(address) => Ok(Some(address)),
            None => self.unknown("source.ip", "it is not given (--source-ip)"),
        }
    }

    fn remote_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        match self.request.remote_ip.or(self.request.source_ip) {
            Some(address) => Ok(Some(address)),
            None => self.unknown("remote.ip", "it is not given (--remote-ip)"),
        }
    }

    fn destination_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        match self.request.destination_ip {
            Some(address) => Ok(Some(address)),
            None => self.unknown("destination.ip", "it is not given"),
        }
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        match self.request.port {
            Some(port) => Ok(Some(port)),
            None => self.unknown("destination.port", "it is not given (--port)"),
        }
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        // Envoy has the attribute where there is no name, too, and it is empty.
        Ok(self.request.server_name.as_deref().filter(|name| !name.is_empty()))
    }

    fn time(&mut self) -> Result<Duration, AttributeError> {
        match self.request.time {
            Some(time) => Ok(time),
            None => unknown("request.time", "it is not given (--at)"),
        }
    }

    fn metadata(&mut self) -> Result<&DynamicMetadata, AttributeError> {
        Ok(&self.metadata)
    }

    fn custom_mark(&mut self) -> Result<Option<Vec<u8>>, AttributeError> {
        Ok(self.request.mark.clone())
    }

    fn memo(&mut self) -> Option<&mut RequestMemo> {
        Some(&mut self.memo)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(present(&self.request.method, self.request.is_connection))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.known_host()?;
        Ok(present(&self.request.host, self.request.is_connection))
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(present(&self.request.path, self.request.is_connection))
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        let pseudo = match name {
            ":method" => Some(&self.request.method),
            ":authority" => Some(&self.request.host),
            ":path" => Some(&self.request.path),
            _ => None,
        };
        if name == ":authority" {
            self.known_host()?;
        }
        if let Some(value) = pseudo {
            return Ok(std::iter::once(value.as_slice()).collect());
        }
        let is_named = |(key, _): &&(String, Vec<u8>)| key == name;
        Ok(self.request.headers.iter().filter(is_named).map(|(_, value)| value.as_slice()).collect())
    }
}

#[cfg(feature = "whole")]
impl sallyport_policy::EgressRequest for Received<'_> {
    fn is_tls_passthrough(&self) -> bool {
        self.request.is_connection
    }
}

fn present(value: &[u8], is_connection: bool) -> Option<&[u8]> {
    (!is_connection && !value.is_empty()).then_some(value)
}

/// Returns the trust domain that `NAMESPACE/SERVICE-ACCOUNT` is taken to be of, where neither a flag nor a configuration
/// says it; `None` for another name.
pub fn assumed_trust_domain(project: &Project, name: &str) -> Option<&'static str> {
    let is_short = !name.contains("://") && name.split('/').count() == 2;
    (is_short && said_trust_domain(project).is_none()).then_some(TRUST_DOMAIN)
}

/// The trust domain where none is set.
const TRUST_DOMAIN: &str = "cluster.local";

fn said_trust_domain(project: &Project) -> Option<String> {
    let contents = project.contents();
    let configured = |filter| {
        let section = project.filter_settings(&contents, filter).section?;
        section.text_at(&["trustDomain"]).map(str::to_owned)
    };
    let of_egress = || contents.carried(Filter::EgressAllowlist).and_then(|_| configured(Filter::EgressAllowlist));
    project.settings().trust_domain.clone().or_else(|| configured(Filter::IdentityAuthz)).or_else(of_egress)
}

/// Returns the SPIFFE ID that `NAMESPACE/SERVICE-ACCOUNT`, a principal or a SPIFFE ID stands for.
///
/// # Errors
///
/// A text that is none of these.
pub fn spiffe_id(project: &Project, name: &str) -> Result<String, String> {
    let said = said_trust_domain(project);
    let domain = said.as_deref().unwrap_or(TRUST_DOMAIN);
    let uri = match (name.contains("://"), name.split('/').count()) {
        (true, _) => name.to_owned(),
        (false, 2) => match name.split_once('/') {
            Some((namespace, account)) => format!("spiffe://{domain}/ns/{namespace}/sa/{account}"),
            None => name.to_owned(),
        },
        (false, _) => format!("spiffe://{name}"),
    };
    match SpiffeId::parse(uri.as_bytes()) {
        Ok(_) => Ok(uri),
        Err(_) => Err(format!(
            "`{name}` is no caller: write NAMESPACE/SERVICE-ACCOUNT as in shop/frontend, a principal as in \
             {domain}/ns/shop/sa/frontend, or a SPIFFE ID"
        )),
    }
}
