//! Names of request attributes: headers, claims and dynamic metadata.

use std::fmt;

/// The name of the header by which a client names itself (RFC 9110, section 10.1.5).
pub(crate) const USER_AGENT: &str = "user-agent";

/// The name of a header in lower case (RFC 9110, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeaderName(String);

impl HeaderName {
    /// Fails on what no header is called. Pseudo-headers have fields of their own.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let field = match text.to_ascii_lowercase().as_str() {
            ":method" => Some("operation.methods"),
            ":path" => Some("operation.paths"),
            ":authority" | "host" => Some("operation.hosts"),
            _ => None,
        };
        if let Some(field) = field {
            return Err(format!("bad header `{text}`: use {field}"));
        }
        if text.is_empty()
            || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            return Err(format!("bad header `{text}`: expected a name as in request.headers[user-agent]"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    pub(crate) fn user_agent() -> Self {
        Self(USER_AGENT.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Path of the value that is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MetadataKey {
    /// Claim of the validated token, by its path of names.
    Claim(Box<[Box<str>]>),
    /// A value of the dynamic metadata that a filter has set.
    Filter {
        /// The filter's name, as in `envoy.filters.network.mysql_proxy`.
        filter: Box<str>,
        /// The key within its metadata.
        key: Box<str>,
    },
}

impl MetadataKey {
    pub(crate) fn claim(name: &str) -> Self {
        Self::Claim([name.into()].into())
    }

    /// Parses a key of `when`; `None` where it is none of these.
    pub(crate) fn parse(key: &str) -> Option<Result<Self, String>> {
        if let Some(bracketed) = key.strip_prefix("request.auth.claims") {
            let names = bracketed.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
            let names: Vec<Box<str>> = names.into_iter().flat_map(|names| names.split("][")).map(Box::from).collect();
            let good = !names.is_empty() && names.iter().all(|name| !name.is_empty() && !name.contains(['[', ']']));
            return Some(match good {
                true => Ok(Self::Claim(names.into())),
                false => Err(format!(
                    "bad key `{key}`: expected request.auth.claims[group] or request.auth.claims[realm][roles]"
                )),
            });
        }
        let bracketed = key.strip_prefix("experimental.").filter(|rest| rest.starts_with("envoy.filters."))?;
        let parts = bracketed.split_once('[').and_then(|(filter, rest)| Some((filter, rest.strip_suffix(']')?)));
        Some(match parts {
            Some((filter, key)) if !key.is_empty() && !key.contains(['[', ']']) && !filter.ends_with('.') => {
                Ok(Self::Filter { filter: filter.into(), key: key.into() })
            }
            _ => Err(format!("bad key `{key}`: expected experimental.envoy.filters.network.mysql_proxy[orders.items]")),
        })
    }
}

impl fmt::Display for MetadataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(names) => {
                f.write_str("claim ")?;
                names.iter().enumerate().try_for_each(|(at, name)| match at {
                    0 => f.write_str(name),
                    _ => write!(f, "[{name}]"),
                })
            }
            Self::Filter { filter, key } => write!(f, "metadata {filter}[{key}]"),
        }
    }
}
