//! The shop: its people, its Envoy, and what happens when they ask.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sallyport_policy::{AttributeError, HeaderValues, IdentityAuthz, Peer, Request, SpiffeId};
use serde_json::{Value, json};
use testbed::{Authority, Client, Configuration, Envoy, Identity, Name, Options, access_log};

use crate::running;

/// Where the filter's configuration stands in `envoy-config/ingress.yaml`.
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/2/typed_config/config/configuration/value";

/// Someone who comes to the shop.
struct Visitor {
    name: &'static str,
    identity: Option<Identity>,
    principal: Option<&'static str>,
}

/// What a visitor asks for, and what the policies say to that.
struct Errand {
    visitor: &'static str,
    user_agent: &'static str,
    method: &'static str,
    path: &'static str,
    expected: Expected,
}

impl Errand {
    fn name(&self) -> String {
        format!("{}: {} {}", self.visitor, self.method, self.path)
    }
}

/// What has to come of an errand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The request reaches the service.
    Allowed,
    /// The filter turns it away.
    Denied,
    /// The handshake fails, and no request is made.
    NoConnection,
}

/// What came of an errand.
pub(crate) struct Visit {
    /// Who asked.
    pub(crate) who: &'static str,
    /// For what.
    pub(crate) request: String,
    /// The status, or that there was none.
    pub(crate) answer: String,
    /// The policy that decided.
    pub(crate) policy: String,
    /// Why.
    pub(crate) why: String,
    /// Whether it is what the policies say.
    pub(crate) as_expected: bool,
}

/// A running shop.
pub(crate) struct Shop {
    envoy: Envoy,
    ingress: SocketAddr,
    folder: PathBuf,
    visitors: Vec<Visitor>,
    policies: IdentityAuthz,
}

const ERRANDS: [Errand; 11] = [
    Errand {
        visitor: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Allowed,
    },
    Errand {
        visitor: "frontend",
        user_agent: "shop/1.0",
        method: "POST",
        path: "/orders",
        expected: Expected::Allowed,
    },
    Errand {
        visitor: "frontend",
        user_agent: "shop/1.0",
        method: "DELETE",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/../admin",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17/refund",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "prometheus",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/metrics",
        expected: Expected::Allowed,
    },
    Errand {
        visitor: "frontend, with sqlmap",
        user_agent: "sqlmap/1.8.4#stable (https://sqlmap.org)",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "intruder in the shop",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "intruder next door",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Errand {
        visitor: "intruder, no certificate",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::NoConnection,
    },
    Errand {
        visitor: "intruder, forged frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::NoConnection,
    },
];

impl Shop {
    /// Makes certificates, starts Envoy and waits until it is ready.
    pub(crate) fn open(outlives: bool) -> Result<Self> {
        testbed::build_filters()?;
        let binary = testbed::envoy_binary()?;
        let folder = running::folder();
        fs::create_dir_all(&folder)?;

        let authority = Authority::new("shop authority")?;
        let impostor = Authority::new("impostor")?;
        fs::write(folder.join("trusted.pem"), authority.pem())?;
        let orders =
            [Name::Uri("spiffe://cluster.local/ns/shop/sa/orders".to_owned()), Name::Dns("localhost".to_owned())];
        authority.issue(&orders)?.write(&folder, "workload")?;
        for filter in ["baseline-deny", "identity-authz"] {
            fs::copy(testbed::filter_path(filter), folder.join(format!("{filter}.wasm")))?;
        }

        let visitor = |name, authority: Option<&Authority>, principal: Option<&'static str>| -> Result<Visitor> {
            let uri = principal.map(|principal| Name::Uri(format!("spiffe://{principal}")));
            let identity = authority.zip(uri).map(|(authority, uri)| authority.issue(&[uri])).transpose()?;
            Ok(Visitor { name, identity, principal })
        };
        let visitors = vec![
            visitor("frontend", Some(&authority), Some("cluster.local/ns/shop/sa/frontend"))?,
            visitor("frontend, with sqlmap", Some(&authority), Some("cluster.local/ns/shop/sa/frontend"))?,
            visitor("prometheus", Some(&authority), Some("cluster.local/ns/monitoring/sa/prometheus"))?,
            visitor("intruder in the shop", Some(&authority), Some("cluster.local/ns/shop/sa/intruder"))?,
            visitor("intruder next door", Some(&authority), Some("cluster.local/ns/dev/sa/intruder"))?,
            visitor("intruder, no certificate", None, None)?,
            visitor("intruder, forged frontend", Some(&impostor), Some("cluster.local/ns/shop/sa/frontend"))?,
        ];
        for visitor in &visitors {
            if let Some(identity) = &visitor.identity {
                identity.write(&folder, &visitor.name.replace(", ", "-").replace(' ', "-"))?;
            }
        }

        let mut configuration = configuration(&folder)?;
        let policies = serde_json::to_vec(configuration.at(FILTER)?)?;
        let policies = IdentityAuthz::parse(&policies)?;
        let envoy = Envoy::start(&configuration, &Options { binary, folder: folder.clone(), workers: 1, outlives })?;
        let ingress = envoy.listener("ingress")?;
        Ok(Self { envoy, ingress, folder, visitors, policies })
    }

    /// Makes every errand.
    pub(crate) fn visits(&self) -> Result<Vec<Visit>> {
        ERRANDS.iter().map(|errand| self.visit(errand)).collect()
    }

    /// Ends Envoy.
    pub(crate) fn close(self) {
        drop(self.envoy);
    }

    /// Leaves Envoy running, and says how to reach it.
    pub(crate) fn leave_open(self) {
        let (folder, ingress, admin) = (self.folder.display(), self.ingress, self.envoy.admin());
        println!("\nEnvoy is running. To try it by hand, as any of the visitors in {folder}:\n");
        for visitor in ["frontend", "intruder-in-the-shop"] {
            println!(
                "  curl -k --cert {folder}/{visitor}.pem --key {folder}/{visitor}.key https://{ingress}/orders/17"
            );
        }
        println!(
            "\nThe access log is {folder}/envoy.out, the metrics are at http://{admin}/stats/prometheus?filter=sallyport"
        );
        println!("To end it: make down");
        self.envoy.keep_running();
    }

    fn visit(&self, errand: &Errand) -> Result<Visit> {
        let visitor =
            self.visitors.iter().find(|visitor| visitor.name == errand.visitor).context("nobody of that name")?;
        let client = Client::tls(self.ingress, visitor.identity.as_ref())?;
        let Errand { method, path, .. } = errand;
        let host = self.ingress;
        let request = format!("{method} {path}");
        let head = format!(
            "{request} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {}\r\nx-errand: {}\r\n",
            errand.user_agent,
            errand.name()
        );
        let answer = client.send(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // A handshake that was turned away, not an Envoy that is gone.
                self.envoy.admin_get("/ready").with_context(|| format!("{error:#}, and Envoy does not answer"))?;
                return Ok(Visit {
                    who: errand.visitor,
                    request,
                    answer: "no connection".to_owned(),
                    policy: "mTLS".to_owned(),
                    why: "the listener requires a certificate of a trusted authority".to_owned(),
                    as_expected: errand.expected == Expected::NoConnection,
                });
            }
        };
        let (policy, why, came) = match answer.status {
            200 => {
                let rule = self.allowing_rule(visitor, errand)?;
                (rule, "an ALLOW policy names this principal for this".to_owned(), Expected::Allowed)
            }
            403 => {
                let entry = self.log_entry(errand)?;
                let text = |key: &str| {
                    let by_identity = entry.get(key).and_then(Value::as_str);
                    let as_hostile =
                        || entry.get("baseline").and_then(|baseline| baseline.get(key)).and_then(Value::as_str);
                    by_identity.or_else(as_hostile).map(str::to_owned)
                };
                (
                    text("policy").unwrap_or_else(|| "none".to_owned()),
                    text("reason").unwrap_or_default(),
                    Expected::Denied,
                )
            }
            status => bail!("{} got {status} for {request}, which is no answer of a policy", errand.visitor),
        };
        let as_expected = errand.expected == came;
        Ok(Visit { who: errand.visitor, request, answer: answer.status.to_string(), policy, why, as_expected })
    }

    /// The access log's line about an errand.
    fn log_entry(&self, errand: &Errand) -> Result<Value> {
        let name = errand.name();
        access_log::find(&self.folder.join("envoy.out"), |entry| {
            entry.get("errand").and_then(Value::as_str) == Some(&name)
        })
    }

    /// The filter does not tell which policy has let a request in; the same code decides here.
    fn allowing_rule(&self, visitor: &Visitor, errand: &Errand) -> Result<String> {
        let principal = visitor.principal.context("a visitor without a certificate was let in")?;
        let peer = SpiffeId::parse(format!("spiffe://{principal}").as_bytes()).map(Peer::Authenticated);
        let mut asked = Asked { peer: peer.ok().context("not a SPIFFE ID")?, errand };
        match self.policies.policy().matching_allow_rule(&mut asked) {
            Ok(Some(rule)) => Ok(rule.policy().to_string()),
            Ok(None) => bail!("{} was let in, and no policy allows it", errand.path),
            Err(failure) => bail!("{failure}"),
        }
    }
}

/// `envoy-config/ingress.yaml` with its folder and ports moved, and a stand-in for the orders service beside it.
fn configuration(folder: &std::path::Path) -> Result<Configuration> {
    let mut configuration = Configuration::read(&testbed::root().join("envoy-config/ingress.yaml"))?;
    configuration.move_paths("/etc/sallyport", folder);
    *configuration.at("/static_resources/listeners/0/address/socket_address")? =
        json!({"address": "127.0.0.1", "port_value": 0});
    let log = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/log_format/json_format";
    // Which line of the log belongs to which errand.
    if let Value::Object(format) = configuration.at(log)? {
        format.insert("errand".to_owned(), json!("%REQ(X-ERRAND)%"));
    }
    *configuration.at("/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address")? =
        json!({"pipe": {"path": folder.join("orders.socket")}});
    let orders = json!({
        "name": "orders",
        "address": {"pipe": {"path": folder.join("orders.socket")}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "orders",
                "route_config": {"virtual_hosts": [{"name": "orders", "domains": ["*"], "routes": [{
                    "match": {"prefix": "/"},
                    "direct_response": {"status": 200, "body": {"inline_string": "this is the orders service\n"}}
                }]}]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
                }]
            }
        }]}]
    });
    if let Value::Array(listeners) = configuration.at("/static_resources/listeners")? {
        listeners.push(orders);
    }
    Ok(configuration)
}

/// An errand as the policies see it.
struct Asked<'e> {
    peer: Peer,
    errand: &'e Errand,
}

impl Request for Asked<'_> {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.peer)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        Ok(None)
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(None)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.errand.method.as_bytes()))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(self.errand.path.as_bytes()))
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}
