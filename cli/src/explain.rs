//! `sallyport explain`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sallyport_analysis::{Answer, Caller, Deciders, SimulatedRequest, formats, parse_curl, spiffe_id};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::arguments::{AnswerFormat, ExplainArguments};
use crate::files::read_project_for;
use crate::{FOUND, NOTHING_FOUND, faults, pretty};

/// Explains what happens to one request.
///
/// # Errors
///
/// Files that cannot be read, and values of flags that make no sense.
pub(crate) fn run(arguments: &ExplainArguments) -> Result<u8> {
    let project = read_project_for(&arguments.common, arguments.to.as_deref())?;
    let contents = project.contents();
    let request = request(arguments, &|name| spiffe_id(&project, name))?;
    let deciders = match Deciders::load(&project, &contents) {
        Ok(deciders) => deciders,
        Err(findings) => return Ok(faults::print(findings, &project, arguments.format == AnswerFormat::Json)),
    };
    let explanation = deciders.explain(&request);
    match arguments.format {
        AnswerFormat::Json => anstream::println!("{:#}", formats::json::explanation(&explanation, project.sources())),
        AnswerFormat::Pretty => anstream::print!("{}", pretty::explanation(&explanation, project.sources())),
    }
    Ok(if explanation.answer == Answer::Denied { FOUND } else { NOTHING_FOUND })
}

fn request(
    arguments: &ExplainArguments,
    identity: &dyn Fn(&str) -> Result<String, String>,
) -> Result<SimulatedRequest> {
    let mut request = SimulatedRequest {
        method: b"GET".to_vec(),
        path: b"/".to_vec(),
        time: Some(time_of(arguments.at.as_deref())?),
        source_ip: arguments.source_ip,
        remote_ip: arguments.remote_ip,
        ..SimulatedRequest::default()
    };
    if let Some(line) = &arguments.curl {
        let curl = parse_curl(line).map_err(|error| anyhow!("--curl: {error}"))?;
        request.method = curl.method.into_bytes();
        request.host = curl.host.into_bytes();
        request.path = curl.path.into_bytes();
        request.port = Some(curl.port);
        request.server_name = curl.server_name.map(String::into_bytes);
        request.headers.extend(curl.headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
    }
    let set = |value: &Option<String>, slot: &mut Vec<u8>| {
        if let Some(value) = value {
            *slot = value.clone().into_bytes();
        }
    };
    set(&arguments.method, &mut request.method);
    set(&arguments.host, &mut request.host);
    set(&arguments.path, &mut request.path);
    request.port = arguments.port.or(request.port);
    request.server_name = arguments.sni.clone().map(String::into_bytes).or(request.server_name);
    for header in &arguments.header {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("--header: `{header}` has no colon, write it as in --header 'x-tenant: blue'"))?;
        request.headers.push((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
    }
    if let Some(from) = &arguments.from {
        let uri = identity(from).map_err(|error| anyhow!("--from: {error}"))?;
        request.caller = Caller { certificate: Some(vec![uri]), is_forwarded: true, ..Caller::default() };
    }
    for claim in &arguments.claim {
        let Some((name, value)) = claim.split_once('=') else {
            bail!("--claim: `{claim}` has no equals sign, write it as in --claim group=admin");
        };
        request.add_claim(name, value);
    }
    Ok(request)
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
                .with_context(|| format!("--at: `{text}` is no time, write it as in 2026-11-28T10:00Z"))?
                .to_offset(UtcOffset::UTC)
        }
    };
    let seconds = u64::try_from(time.unix_timestamp()).context("--at: the time is before 1970")?;
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
