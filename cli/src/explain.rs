//! `sallyport explain`.

use std::mem::ManuallyDrop;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use sallyport_analysis::{
    Answer, Asked, Caller, CurlRequest, Deciders, Layer, Project, SimulatedRequest, assumed_trust_domain, formats,
    parse_curl, spiffe_id,
};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::arguments::{AnswerFormat, ExplainArguments};
use crate::choice::choose;
use crate::files::read_project_for;
use crate::{FOUND, NOTHING_FOUND, faults, pretty};

/// Explains what happens to one request.
///
/// # Errors
///
/// Files that cannot be read, and values of flags that make no sense.
pub(crate) fn run(arguments: &ExplainArguments) -> Result<u8> {
    // To free thousands of policies takes longer than to decide about a request, and the process ends anyway.
    let mut project = ManuallyDrop::new(read_project_for(&arguments.common, arguments.to.as_deref())?);
    let asked = if arguments.egress { Asked::Egress } else { Asked::Request };
    let layer = arguments.layer.map(Layer::from);
    project.set_layer(layer.unwrap_or_default());
    if let Some(findings) = choose(&mut project, &arguments.choice, asked, layer)? {
        return Ok(faults::print(findings, &project, arguments.format == AnswerFormat::Json));
    }
    let contents = project.contents();
    let layer = project.layer(&contents);
    if layer == Layer::Tcp {
        refuse_request(arguments)?;
    }
    let loaded = match arguments.egress {
        true => Deciders::for_egress(&project, &contents),
        false => Deciders::load(&project, &contents),
    };
    let deciders = match loaded {
        Ok(deciders) => deciders,
        Err(findings) => return Ok(faults::print(findings, &project, arguments.format == AnswerFormat::Json)),
    };
    let request = request(arguments, layer, deciders.is_egress(), &|name| spiffe_id(&project, name))?;
    if deciders.applies_all(&project, &contents) {
        anstream::eprintln!("no workload is set, so every policy applies; say --to NAMESPACE/KEY=VALUE");
    }
    if arguments.claim.is_empty() && layer == Layer::Http && !deciders.is_egress() && has_bearer_token(&request) {
        anstream::eprintln!(
            "the token in authorization is not read: rules see the claims of a token that jwt_authn has validated; say \
             them by --claim NAME=VALUE, such as --claim iss=https://login.example --claim sub=anna"
        );
    }
    let explanation = deciders.explain(&request);
    if let Some(note) = other_trust_domain(arguments, &project, &deciders, &request, explanation.answer) {
        anstream::eprintln!("{note}");
    }
    match arguments.format {
        AnswerFormat::Json => anstream::println!("{:#}", formats::json::explanation(&explanation, project.sources())),
        AnswerFormat::Pretty => anstream::print!("{}", pretty::explanation(&explanation, project.sources())),
    }
    Ok(if explanation.answer == Answer::Denied { FOUND } else { NOTHING_FOUND })
}

/// Says of which trust domain a caller is taken to be, where the answer is another one for a caller of a trust domain that
/// the policies name.
fn other_trust_domain(
    arguments: &ExplainArguments,
    project: &Project,
    deciders: &Deciders<'_>,
    request: &SimulatedRequest,
    answer: Answer,
) -> Option<String> {
    let name = arguments.from.as_deref()?;
    let assumed = assumed_trust_domain(project, name)?;
    let (namespace, account) = name.split_once('/')?;
    let of = |domain: &str| format!("{domain}/ns/{namespace}/sa/{account}");
    deciders.trust_domains().iter().filter(|domain| *domain != assumed).find_map(|domain| {
        let caller = Caller { certificate: Some(vec![format!("spiffe://{}", of(domain))]), ..request.caller.clone() };
        let other = deciders.explain(&SimulatedRequest { caller, ..request.clone() }).answer;
        (other != answer).then(|| {
            format!(
                "--from {name} is taken for {}; for {} the answer is {}: write that, or say --trust-domain",
                of(assumed),
                of(domain),
                other.as_str()
            )
        })
    })
}

/// Fails if a question about a connection says what only a request has. Of a call of curl, port and server name count.
fn refuse_request(arguments: &ExplainArguments) -> Result<()> {
    let flags = [
        ("--method", arguments.method.is_some()),
        ("--path", arguments.path.is_some()),
        ("--host", arguments.host.is_some()),
        ("--header", !arguments.header.is_empty()),
        ("--claim", !arguments.claim.is_empty()),
    ];
    let given: Vec<&str> = flags.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect();
    ensure!(
        given.is_empty(),
        "{}: a connection has no method, path, host, header or token; leave out what only a request has{}",
        given.join(", "),
        match arguments.layer {
            Some(_) => ", or --layer tcp",
            None => ", since the filter of these files decides connections",
        }
    );
    Ok(())
}

fn request(
    arguments: &ExplainArguments,
    layer: Layer,
    is_egress: bool,
    identity: &dyn Fn(&str) -> Result<String, String>,
) -> Result<SimulatedRequest> {
    let mut request = SimulatedRequest {
        method: b"GET".to_vec(),
        path: b"/".to_vec(),
        time: Some(time_of(arguments.at.as_deref())?),
        source_ip: arguments.source_ip,
        remote_ip: arguments.remote_ip,
        is_connection: layer == Layer::Tcp,
        ..SimulatedRequest::default()
    };
    if let Some(line) = &arguments.curl {
        let curl = parse_curl(line).map_err(|error| anyhow!("--curl: {error}"))?;
        take_curl(&mut request, curl, is_egress);
    }
    let set = |flag: &str, value: &Option<String>, slot: &mut Vec<u8>| match value {
        Some(value) if value.is_empty() => bail!("{flag} is empty, leave it out or write a value"),
        Some(value) => {
            *slot = value.clone().into_bytes();
            Ok(())
        }
        None => Ok(()),
    };
    set("--method", &arguments.method, &mut request.method)?;
    set("--host", &arguments.host, &mut request.host)?;
    set("--path", &arguments.path, &mut request.path)?;
    if let Some(path) = arguments.path.as_deref().filter(|path| !path.starts_with('/') && *path != "*") {
        bail!("--path: `{path}` does not begin with a slash, write --path /{path}");
    }
    request.port = arguments.port.or(request.port);
    request.server_name =
        arguments.sni.as_ref().map(|name| name.to_ascii_lowercase().into_bytes()).or(request.server_name);
    for header in &arguments.header {
        add_header(&mut request, header)?;
    }
    if let Some(from) = &arguments.from {
        let uri = identity(from).map_err(|error| anyhow!("--from: {error}"))?;
        request.caller = Caller { certificate: Some(vec![uri]), is_forwarded: true, ..Caller::default() };
    }
    request.is_host_unknown = request.host.is_empty();
    for claim in &arguments.claim {
        match claim.split_once('=') {
            Some((name, value)) if !name.is_empty() => request.add_claim(name, value),
            _ => bail!("--claim: `{claim}` is no NAME=VALUE, write it as in --claim group=admin"),
        }
    }
    Ok(request)
}

fn has_bearer_token(request: &SimulatedRequest) -> bool {
    let is_bearer = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    request.headers.iter().any(|(name, value)| name == "authorization" && is_bearer(value))
}

/// Takes a request from a call of curl. To an outside host a proxy sees `https` as a CONNECT.
fn take_curl(request: &mut SimulatedRequest, curl: CurlRequest, is_egress: bool) {
    let scheme = if curl.is_tls { "https" } else { "http" };
    request.port = Some(curl.port);
    if is_egress && curl.is_tls && !request.is_connection {
        request.method = b"CONNECT".to_vec();
        request.host = curl.authority.into_bytes();
        return;
    }
    request.method = curl.method.into_bytes();
    request.host = curl.host.into_bytes();
    request.path = curl.path.into_bytes();
    request.server_name = curl.server_name.map(String::into_bytes);
    request.headers.extend(curl.headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
    request.headers.push((":scheme".to_owned(), scheme.into()));
}

/// Adds a header, which is written `NAME: VALUE`.
fn add_header(request: &mut SimulatedRequest, header: &str) -> Result<()> {
    let Some((name, value)) = header.split_once(':') else {
        bail!("--header: `{header}` has no colon, write it as in --header 'x-tenant: blue'");
    };
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    if name.is_empty() || name.contains(|one: char| one.is_whitespace() || one.is_control()) {
        bail!(
            "--header: `{header}` has no name, write it as in --header 'x-tenant: blue'; --method, --path and --host \
               are flags of their own"
        );
    }
    request.add_header(&name, value);
    Ok(())
}

/// Reads a time as in `2026-11-28T10:00Z`; the present one if it is absent.
pub(crate) fn time_of(text: Option<&str>) -> Result<Duration> {
    let time = match text {
        None => OffsetDateTime::now_utc(),
        Some(text) => {
            // Seconds may be left out.
            let zone =
                text.rfind(['Z', 'z', '+']).or_else(|| text.rfind('-').filter(|at| *at > 10)).unwrap_or(text.len());
            let (clock, zone) = text.split_at(zone);
            let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
            let zone = if zone.is_empty() { "Z" } else { zone };
            OffsetDateTime::parse(&format!("{clock}{seconds}{zone}"), &Rfc3339)
                .map_err(|_| anyhow!("--at: `{text}` is no time, write it as in 2026-11-28T10:00Z"))?
                .to_offset(UtcOffset::UTC)
        }
    };
    let seconds = u64::try_from(time.unix_timestamp());
    let seconds = seconds.map_err(|_| anyhow!("--at: the time is before 1970, when no request was"))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_seconds() {
        for (text, expected) in [
            ("2026-11-28T10:00Z", 1_795_860_000),
            ("2026-11-28T10:00:30Z", 1_795_860_030),
            ("2026-11-28T12:00+02:00", 1_795_860_000),
            ("2026-11-28T08:00-02:00", 1_795_860_000),
            ("2026-11-28T10:00", 1_795_860_000),
        ] {
            assert_eq!(time_of(Some(text)).ok(), Some(Duration::from_secs(expected)), "{text}");
        }
        assert!(time_of(Some("ten")).is_err());
    }
}
