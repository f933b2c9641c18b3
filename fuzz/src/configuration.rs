//! Inputs of the targets that read a whole configuration: its JSON in the first line, then requests as lines of text
//! with blank lines between them.

use sallyport_policy::ConfigErrors;

use crate::json::Json;
use crate::request::TextRequest;

/// The most requests that are decided under one configuration.
const MAX_REQUESTS: usize = 8;

/// A configuration with requests.
pub struct ConfigurationInput<'d> {
    /// The configuration as JSON, or what a fuzzer made of it.
    pub json: &'d [u8],
    /// The requests, at least one.
    pub requests: Vec<TextRequest>,
}

impl<'d> ConfigurationInput<'d> {
    /// Splits an input into its parts. Every input is one.
    pub fn parse(data: &'d [u8]) -> Self {
        let mut lines = data.split(|byte| *byte == b'\n');
        let json = lines.next().unwrap_or_default();
        let lines: Vec<&[u8]> = lines.collect();
        let requests = lines.split(|line| line.is_empty()).take(MAX_REQUESTS).map(TextRequest::parse).collect();
        Self { json, requests }
    }

    /// Reads the configuration as JSON, and as a Struct where that can mean the same. Both are refused in the same words,
    /// or neither is.
    pub fn read<C>(&self, read: impl Fn(&[u8]) -> Result<C, ConfigErrors>) -> Result<Vec<C>, ConfigErrors> {
        let of_json = read(self.json);
        let json = Json::parse(self.json).filter(Json::is_exact);
        // Without a key a Struct is no bytes, which are no configuration.
        let structure = json.as_ref().and_then(Json::to_struct).filter(|bytes| !bytes.is_empty());
        let Some(structure) = structure else { return of_json.map(|one| vec![one]) };
        match (of_json, read(&structure)) {
            (Ok(one), Ok(other)) => Ok(vec![one, other]),
            (Err(one), other) => {
                assert_eq!(Some(&one), other.err().as_ref(), "the Struct is read in another way than the JSON");
                Err(one)
            }
            (Ok(_), Err(errors)) => {
                assert_eq!("", errors.to_string(), "the Struct is refused and the JSON is not");
                Err(errors)
            }
        }
    }
}

/// Reports a text for logs that holds what could end a line or hide in one.
pub fn assert_printable(text: &str) {
    assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
}
