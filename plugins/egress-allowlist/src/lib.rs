//! `egress-allowlist`: may this workload reach that outside host?
//!
//! Reads rules, ServiceEntry and CiliumNetworkPolicy resources and decides what leaves: plain HTTP requests and CONNECT
//! by their authority, the first bytes inside a tunnel by their server name, TLS that passes through by its own.
//! `sallyport-policy` reads, checks and compiles the rules; this crate evaluates them and carries the decision out.

use sallyport_policy::{
    AttributeError, ConfigErrors, Decision, DenyResponse, DynamicDestination, EgressAllowlist, EgressDenial,
    EgressRequest, EvalError, SourceMode, Tunnel, TunnelStep,
};
use sallyport_runtime::{
    Action, BodyPlugin, Bytes, ClientLimit, ConnectionPlugin, CurrentStream, DenialReport, Host, OpenConnection,
    PassthroughConnection, PeerCache, Plugin, ProxyHost, Reporter, StreamContext, log_loaded,
};

sallyport_runtime::filter!(EgressAllowlistPlugin<ProxyHost>, bodies);

struct EgressAllowlistPlugin<H> {
    host: H,
    configuration: EgressAllowlist,
    peers: PeerCache<H>,
    reporter: Reporter<H>,
    limit: Option<ClientLimit>,
}

/// Stream or connection that goes on.
struct EgressStream {
    tunnel: Inspection,
    /// Counts it among those of its client, until it ends.
    _open: Option<OpenConnection>,
}

/// Inspection of what a client sends.
enum Inspection {
    /// Its first bytes are held and inspected.
    Held(Box<Tunnel>),
    /// It is not, or no longer, inspected.
    Passed,
    /// It is denied, and not gone yet.
    Denied,
}

/// Carries a denial out, with the response to an HTTP client.
type Deny<'d> = &'d dyn Fn(&DenialReport<'_>, &DenyResponse) -> Action;

/// Counter of what is denied because its client has too many connections open.
const LIMITED: &str = "limited";

/// Filter state by which Envoy's dynamic forward proxy connects to another host and port than those of the authority.
const DYNAMIC_HOST: &str = "envoy.upstream.dynamic_host";
const DYNAMIC_PORT: &str = "envoy.upstream.dynamic_port";

/// The most bytes that are copied from the proxy at once: any usual ClientHello, whole.
const MOST_BYTES: usize = 4096;

impl<H: Host + 'static> Plugin for EgressAllowlistPlugin<H> {
    const NAME: &'static str = "egress_allowlist";

    type Host = H;

    type Stream = EgressStream;

    fn configure(host: H, configuration: Bytes) -> Result<Self, ConfigErrors> {
        let configuration = EgressAllowlist::parse(&configuration)?;
        log_loaded(host, Self::NAME, configuration.load_report());
        let reporter = Reporter::new(host, Self::NAME, configuration.policy().denying_rules()).with_unmatched();
        reporter.count_kind(LIMITED, 0);
        let peers = PeerCache::new(host, configuration.certificate_validation());
        let limit = configuration.policy().max_connections_per_client().map(ClientLimit::new);
        Ok(Self { host, configuration, peers, reporter, limit })
    }

    fn on_request_headers(&self) -> Action {
        self.on_request().0
    }

    fn on_tick(&self) {
        self.reporter.on_tick();
        self.peers.on_tick();
    }
}

impl<H: Host + 'static> ConnectionPlugin for EgressAllowlistPlugin<H> {
    fn on_new_connection(&self) -> (Action, Option<EgressStream>) {
        let policy = self.configuration.policy();
        let mut connection = PassthroughConnection::new(self.host, self.configuration.direct_remote_address());
        let mode = policy.source_mode(&mut connection);
        let decision = policy.decide(mode, &mut connection);
        let deny = |denial: &DenialReport<'_>, _: &DenyResponse| self.reporter.deny_connection(denial);
        match self.carry_out_within_limit(mode, decision, false, &mut connection, &deny) {
            Ok((action, open)) => {
                (action, open.map(|open| EgressStream { tunnel: Inspection::Passed, _open: Some(open) }))
            }
            Err(action) => (action, None),
        }
    }
}

impl<H: Host + 'static> BodyPlugin for EgressAllowlistPlugin<H> {
    fn on_request(&self) -> (Action, Option<EgressStream>) {
        let policy = self.configuration.policy();
        let mut request = self.current_request();
        let mode = policy.source_mode(&mut request);
        let decision = self.lead(mode, policy.decide(mode, &mut request), &mut request);
        let tunnel = policy.tunnel(mode, &decision, &mut request);
        let deny = |denial: &DenialReport<'_>, reply: &DenyResponse| self.reporter.deny(denial, reply);
        let (action, open) = match self.carry_out_within_limit(mode, decision, tunnel.is_some(), &mut request, &deny) {
            Ok((Action::Continue, open)) if tunnel.is_some() || open.is_some() => (Action::Continue, open),
            Ok((action, _)) | Err(action) => return (action, None),
        };
        let tunnel = tunnel.map_or(Inspection::Passed, |tunnel| Inspection::Held(Box::new(tunnel)));
        (action, Some(EgressStream { tunnel, _open: open }))
    }

    fn on_request_body(&self, stream: &mut EgressStream, held: usize, ended: bool) -> Action {
        let tunnel = match &mut stream.tunnel {
            Inspection::Passed => return Action::Continue,
            Inspection::Denied => return Action::Pause,
            Inspection::Held(tunnel) => tunnel,
        };
        let action = match self.inspect(tunnel, held, ended) {
            // Before the tunnel is open Envoy announces that there are no bytes; to pause then would hold the CONNECT.
            Ok(TunnelStep::Hold) if held == 0 => return Action::Continue,
            Ok(TunnelStep::Hold) => return Action::Pause,
            Ok(TunnelStep::Pass) => self.count_allowed(tunnel),
            Err(denial) => {
                let deny = |denial: &DenialReport<'_>, reply: &DenyResponse| self.reporter.deny(denial, reply);
                self.carry_out_fault(tunnel.mode(), denial, Some(tunnel), &mut self.current_request(), &deny)
            }
        };
        stream.tunnel = match action {
            Action::Continue => Inspection::Passed,
            Action::Pause => Inspection::Denied,
        };
        action
    }

    fn on_end(&self, stream: EgressStream) {
        // Its client sent nothing that could be denied.
        if let Inspection::Held(tunnel) = &stream.tunnel {
            self.count_allowed(tunnel);
        }
    }
}

impl<H: Host + 'static> EgressAllowlistPlugin<H> {
    fn current_request(&self) -> CurrentStream<'_, H> {
        let direct_remote_address = self.configuration.direct_remote_address();
        CurrentStream::request(StreamContext::of_connections(&self.peers, direct_remote_address))
    }

    /// Inspects the bytes of a tunnel that were not before.
    fn inspect(&self, tunnel: &mut Tunnel, held: usize, ended: bool) -> Result<TunnelStep, EgressDenial<'static>> {
        const ATTRIBUTE: &str = "the first bytes of the tunnel";
        while let Some(more) = held.checked_sub(tunnel.inspected()).filter(|more| *more > 0) {
            let bytes = self.host.request_body(tunnel.inspected(), more.min(MOST_BYTES));
            let bytes = bytes.map_err(|error| AttributeError { attribute: ATTRIBUTE, status: error.status() });
            let bytes = bytes.map_err(EvalError::from)?;
            if bytes.is_empty() {
                return Err(EvalError::from(AttributeError { attribute: ATTRIBUTE, status: "there are none" }).into());
            }
            if tunnel.inspect(&bytes).map_err(EgressDenial::Tunnel)? == TunnelStep::Pass {
                return Ok(TunnelStep::Pass);
            }
        }
        if ended {
            tunnel.end().map_err(EgressDenial::Tunnel)?;
        }
        Ok(TunnelStep::Hold)
    }

    /// Counts a tunnel whose inspection is over, once: one that is denied does not count as allowed before.
    fn count_allowed(&self, tunnel: &Tunnel) -> Action {
        match tunnel.is_reported() {
            true => Action::Continue,
            false => self.reporter.allow(),
        }
    }

    /// Has the proxy connect what goes on to the host that its address leads to, if it leads to one.
    fn lead<'d>(
        &'d self,
        mode: SourceMode,
        decision: Decision<EgressDenial<'d>>,
        request: &mut dyn EgressRequest,
    ) -> Decision<EgressDenial<'d>> {
        if matches!(decision, Decision::Deny(_)) {
            return decision;
        }
        let policy = self.configuration.policy();
        let Some(DynamicDestination { host, port }) = policy.dynamic_destination(request) else { return decision };
        let set = |key, value: &str| self.host.set_envoy_filter_state(key, value);
        match set(DYNAMIC_HOST, &host).and_then(|()| set(DYNAMIC_PORT, &port.to_string())) {
            Ok(()) => decision,
            Err(error) => policy.decide_fault(mode, EgressDenial::Unled(error.status())),
        }
    }

    /// Carries out a decision, and counts what goes on among the connections of its client. What is `inspected` is not
    /// allowed yet. Gives the action as an error where the client has too many connections open.
    fn carry_out_within_limit(
        &self,
        mode: SourceMode,
        decision: Decision<EgressDenial<'_>>,
        inspected: bool,
        request: &mut dyn EgressRequest,
        deny: Deny<'_>,
    ) -> Result<(Action, Option<OpenConnection>), Action> {
        let is_limited = mode != SourceMode::Open && !matches!(decision, Decision::Deny(_));
        let limit = self.limit.as_ref().filter(|_| is_limited);
        let denial = match limit.map(|limit| (limit.most(), limit.open(request))) {
            None => return Ok((self.carry_out(&decision, inspected, None, request, deny), None)),
            Some((_, Ok(Some(open)))) => {
                return Ok((self.carry_out(&decision, inspected, None, request, deny), Some(open)));
            }
            Some((most, Ok(None))) => {
                self.reporter.count_kind(LIMITED, 1);
                EgressDenial::TooManyConnections(most)
            }
            Some((_, Err(error))) => EvalError::from(error).into(),
        };
        Err(self.carry_out_fault(mode, denial, None, request, deny))
    }

    /// Ends what the rules allow, or reports it.
    fn carry_out_fault(
        &self,
        mode: SourceMode,
        denial: EgressDenial<'static>,
        tunnel: Option<&Tunnel>,
        request: &mut dyn EgressRequest,
        deny: Deny<'_>,
    ) -> Action {
        self.carry_out(&self.configuration.policy().decide_fault(mode, denial), false, tunnel, request, deny)
    }

    /// Lets a request or a connection go on, or passes the denial with its reason to `deny`.
    ///
    /// One instance serves all kinds, which keeps the module small.
    fn carry_out(
        &self,
        decision: &Decision<EgressDenial<'_>>,
        inspected: bool,
        tunnel: Option<&Tunnel>,
        request: &mut dyn EgressRequest,
        deny: Deny<'_>,
    ) -> Action {
        let (denial, enforced) = match decision {
            Decision::Allow => {
                self.tell_allowed(request);
                return if inspected { Action::Continue } else { self.reporter.allow() };
            }
            Decision::WouldDeny(denial) => (denial, false),
            Decision::Deny(denial) => (denial, true),
        };
        self.tell_destination(tunnel, request);
        let reason = self.configuration.policy().explain(denial, enforced, tunnel, request);
        let principal = request.peer().ok().and_then(|peer| peer.id()).map(|id| id.principal());
        let report = DenialReport {
            enforced,
            failure: denial.is_failure(),
            unmatched: denial.is_unmatched(),
            details: &denial.details(),
            policy: denial.policy(),
            pattern: None,
            principal,
            reason: &reason,
        };
        deny(&report, self.configuration.reply(denial))
    }

    /// Tells access logs by which rule a request is allowed, and to where, if the configuration asks for that.
    fn tell_allowed(&self, request: &mut dyn EgressRequest) {
        let policy = self.configuration.policy();
        if !policy.tells_allowed() {
            return;
        }
        if let Ok(Some(rule)) = policy.matching_allow_rule(request) {
            self.reporter.set_filter_state("policy", &rule.policy().to_string());
        }
        self.tell_destination(None, request);
    }

    fn tell_destination(&self, tunnel: Option<&Tunnel>, request: &mut dyn EgressRequest) {
        let Some(names) = self.configuration.policy().destination_names(tunnel, request) else { return };
        for (key, value) in [("host", names.host.as_str()), ("port", &names.port), ("way", names.way)] {
            self.reporter.set_filter_state(key, value);
        }
    }
}
