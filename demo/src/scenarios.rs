//! The ingress scenarios: requests of each client with the expected outcome.

/// A request of a client, with the expected outcome.
pub(crate) struct Scenario {
    /// The client, one of the shop's.
    pub(crate) client: &'static str,
    /// The value of the header `user-agent`.
    pub(crate) user_agent: &'static str,
    /// The HTTP method.
    pub(crate) method: &'static str,
    /// The request path.
    pub(crate) path: &'static str,
    /// The expected outcome.
    pub(crate) expected: Expected,
}

impl Scenario {
    /// A unique name, by which the request is found in the access log.
    pub(crate) fn name(&self) -> String {
        format!("{}: {} {}", self.client, self.method, self.path)
    }
}

/// The expected outcome of a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The request reaches the service.
    Allowed,
    /// A filter denies the request.
    Denied,
    /// The TLS handshake fails, so no request is sent.
    NoConnection,
}

/// The requests that the demo sends to the shop, in the order of the table.
pub(crate) const SCENARIOS: [Scenario; 11] = [
    Scenario {
        client: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Allowed,
    },
    Scenario {
        client: "frontend",
        user_agent: "shop/1.0",
        method: "POST",
        path: "/orders",
        expected: Expected::Allowed,
    },
    Scenario {
        client: "frontend",
        user_agent: "shop/1.0",
        method: "DELETE",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Scenario {
        client: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/../admin",
        expected: Expected::Denied,
    },
    Scenario {
        client: "frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17/refund",
        expected: Expected::Denied,
    },
    Scenario {
        client: "prometheus",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/metrics",
        expected: Expected::Allowed,
    },
    Scenario {
        client: "frontend, with sqlmap",
        user_agent: "sqlmap/1.8.4#stable (https://sqlmap.org)",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Scenario {
        client: "intruder in the shop",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Scenario {
        client: "intruder next door",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::Denied,
    },
    Scenario {
        client: "intruder, no certificate",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::NoConnection,
    },
    Scenario {
        client: "intruder, forged frontend",
        user_agent: "shop/1.0",
        method: "GET",
        path: "/orders/17",
        expected: Expected::NoConnection,
    },
];
