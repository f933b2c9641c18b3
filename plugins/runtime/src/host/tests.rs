//! The numbers and names of the ABI, compared with those of the crate `proxy-wasm`.

use proxy_wasm::types;

use super::*;
use crate::vm::Action;

#[test]
fn abi_numbers_match_the_sdk() {
    let rows = [
        (Status::OK.0, types::Status::Ok as u32, "Ok"),
        (Status::NOT_FOUND.0, types::Status::NotFound as u32, "NotFound"),
        (Status::BAD_ARGUMENT.0, types::Status::BadArgument as u32, "BadArgument"),
        (Status::PARSE_FAILURE.0, types::Status::ParseFailure as u32, "ParseFailure"),
        (REQUEST_HEADERS, types::MapType::HttpRequestHeaders as u32, "request headers"),
        (PLUGIN_CONFIGURATION, types::BufferType::PluginConfiguration as u32, "plugin configuration"),
        (DOWNSTREAM, types::StreamType::Downstream as u32, "downstream"),
        (COUNTER, types::MetricType::Counter as u32, "counter"),
        (GRPC_PERMISSION_DENIED.unsigned_abs(), types::GrpcStatusCode::PermissionDenied as u32, "PERMISSION_DENIED"),
        (Level::Info as u32, types::LogLevel::Info as u32, "info"),
        (Level::Warn as u32, types::LogLevel::Warn as u32, "warn"),
        (Level::Error as u32, types::LogLevel::Error as u32, "error"),
        (Level::Critical as u32, types::LogLevel::Critical as u32, "critical"),
        (Action::Continue as u32, types::Action::Continue as u32, "continue"),
        (Action::Pause as u32, types::Action::Pause as u32, "pause"),
    ];
    for (own, sdk, name) in rows {
        assert_eq!(own, sdk, "{name}");
    }
}

#[test]
fn a_text_of_a_message_has_its_length_in_sevens_of_bits() {
    assert_eq!(text_field(1, "ab"), [0x0a, 2, b'a', b'b']);
    let long = text_field(2, &"a".repeat(300));
    assert_eq!(long.get(..3), Some(&[0x12, 0xac, 0x02][..]));
    assert_eq!(long.len(), 303);
}

#[test]
fn status_names_match_the_sdk() {
    use types::Status as Sdk;
    for status in [
        Sdk::NotFound,
        Sdk::BadArgument,
        Sdk::SerializationFailure,
        Sdk::ParseFailure,
        Sdk::Empty,
        Sdk::CasMismatch,
        Sdk::InternalFailure,
    ] {
        assert_eq!(HostError(Status(status as u32)).status(), format!("{status:?}"));
    }
}
