//! Host functions on metrics. As in Envoy, the last two bits of an ID tell the kind.

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{Metric, MetricKind, State, Status};

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(linker, "proxy_define_metric", |guest, kind: u32, name: u32, length: u32, id_out: u32| {
        define_metric(guest, kind, [name, length], id_out)
    });
    host_function!(linker, "proxy_increment_metric", |guest, id: u32, offset: i64| {
        increment_metric(guest, id, offset)
    });
    host_function!(linker, "proxy_record_metric", |guest, id: u32, value: u64| {
        record(guest, "proxy_record_metric", b"")?;
        let metric = metric(guest.state(), id).ok_or(Status::NotFound)?;
        match metric.kind {
            MetricKind::Counter => metric.value += value,
            MetricKind::Gauge => metric.value = value,
            MetricKind::Histogram => {}
        }
        Ok(())
    });
    host_function!(linker, "proxy_get_metric", |guest, id: u32, value_out: u32| {
        record(guest, "proxy_get_metric", b"")?;
        if !matches!(kind(id), Some(MetricKind::Counter | MetricKind::Gauge)) {
            return Err(Status::BadArgument.into());
        }
        let value = metric(guest.state(), id).ok_or(Status::NotFound)?.value;
        Ok(guest.write(value_out, &value.to_le_bytes())?)
    });
    Ok(())
}

/// Returns the kind of a metric by its ID or by `proxy_metric_type_t`.
fn kind(id: u32) -> Option<MetricKind> {
    match id & 3 {
        0 => Some(MetricKind::Counter),
        1 => Some(MetricKind::Gauge),
        2 => Some(MetricKind::Histogram),
        _ => None,
    }
}

fn metric(state: &mut State, id: u32) -> Option<&mut Metric> {
    let metric = state.metrics.get_mut(usize::try_from(id >> 2).ok()?)?;
    (Some(metric.kind) == kind(id)).then_some(metric)
}

/// Returns BadArgument for a kind that there is not.
fn define_metric(guest: &mut Guest<'_, '_>, number: u32, [name, length]: [u32; 2], id_out: u32) -> CallResult {
    let name = guest.read(name, length)?;
    record(guest, "proxy_define_metric", &name)?;
    let name = String::from_utf8(name).map_err(|_| Status::BadArgument)?;
    let kind = kind(number).filter(|_| number <= 2).ok_or(Status::BadArgument)?;
    let index = u32::try_from(guest.state().metric(&name, kind)).map_err(|_| Status::InternalFailure)?;
    Ok(guest.write_u32(id_out, index << 2 | number)?)
}

/// Returns BadArgument for a counter that does not go up, and for a histogram.
fn increment_metric(guest: &mut Guest<'_, '_>, id: u32, offset: i64) -> CallResult {
    record(guest, "proxy_increment_metric", b"")?;
    if !matches!(kind(id), Some(MetricKind::Counter | MetricKind::Gauge)) {
        return Err(Status::BadArgument.into());
    }
    let metric = metric(guest.state(), id).ok_or(Status::NotFound)?;
    if metric.kind == MetricKind::Counter && offset <= 0 {
        return Err(Status::BadArgument.into());
    }
    metric.value = metric.value.wrapping_add_signed(offset);
    Ok(())
}
