//! The dynamic metadata of a request or connection: what other filters have found out about it.

use crate::config::document::protobuf_struct;
use crate::config::value::Value;
use crate::identity::error::AttributeError;

const MALFORMED: AttributeError = AttributeError { attribute: "metadata", status: "it is malformed" };

/// Dynamic metadata: the wire form of `envoy.config.core.v3.Metadata`, from Envoy's attribute `metadata`. Attributes of
/// single values are not used, because they do not distinguish a string from a list, so a client could forge a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicMetadata(Vec<u8>);

impl DynamicMetadata {
    /// Takes the attribute's bytes; none are no metadata.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the value that `filter` set under `key`. Fails if the bytes are not a valid message.
    pub(crate) fn value(&self, filter: &str, key: &str) -> Result<Option<Value>, AttributeError> {
        protobuf_struct::find_metadata(&self.0, filter, key).ok_or(MALFORMED)
    }

    /// Returns the wire form of the Struct of everything that `filter` set. Fails if the bytes are not a valid message.
    pub(crate) fn of_filter(&self, filter: &str) -> Result<Option<&[u8]>, AttributeError> {
        protobuf_struct::find_filter_metadata(&self.0, filter).ok_or(MALFORMED)
    }
}

#[cfg(any(test, feature = "linear-reading"))]
impl DynamicMetadata {
    /// Returns the value that `filter` set under `key` as JSON with sorted keys, of which the last of repeated ones counts.
    /// A number with a fraction is `0.5`, one that is not known exactly `inf`.
    pub fn linear_value(&self, filter: &str, key: &str) -> Result<Option<String>, AttributeError> {
        Ok(self.value(filter, key)?.map(|value| crate::linear_reading::sorted_json::sorted_json(&value)))
    }
}
