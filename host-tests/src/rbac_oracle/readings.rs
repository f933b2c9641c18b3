//! Values with several spellings or readings, which Envoy's own filter compares only as they come.

use super::envoy_pair::Answers;
use super::probe::Probe;

impl Probe {
    /// Returns the request with its path in the spelling that `identity-authz` compares: unreserved characters are
    /// decoded and hex digits are capitals (RFC 3986, section 6.2.2).
    pub(super) fn normalized(&self) -> Self {
        let (path, query) = self.path.split_at(self.path.find('?').unwrap_or(self.path.len()));
        let mut pieces = path.split('%');
        let mut normalized = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from) {
                Some(decoded) if decoded.is_ascii_alphanumeric() || "-._~".contains(decoded) => {
                    normalized.push(decoded);
                }
                Some(_) => {
                    normalized.push('%');
                    normalized.push_str(&digits.unwrap_or_default().to_ascii_uppercase());
                }
                None => normalized.push('%'),
            }
            normalized.push_str(piece.get(digits.map_or(0, str::len)..).unwrap_or_default());
        }
        Self { path: normalized + query, ..self.clone() }
    }

    /// Returns true if a value of the request can be read in another way than as it comes.
    fn has_several_readings(&self) -> bool {
        let normalized = self.normalized().path;
        let path = normalized.split('?').next().unwrap_or_default();
        let is_list = |(name, value): &(String, String)| name.starts_with("x-") && value.contains(',');
        ["//", "%2F", "%5C", ";", "\\"].iter().any(|text| path.contains(text))
            || path.split('/').any(|segment| matches!(segment, "." | ".."))
            || self.host.contains(':')
            || self.host.ends_with('.')
            || self.method.bytes().any(|byte| byte.is_ascii_lowercase())
            || self.headers.iter().any(is_list)
    }
}

impl Answers {
    /// Returns true if both filters answer `probe` the same. If it has a value with several readings, of which
    /// `identity-authz` compares all, that may allow less and audit more.
    pub fn agree_on(&self, probe: &Probe) -> bool {
        let (istio, sallyport) = (&self.istio, &self.sallyport);
        istio == sallyport
            || probe.has_several_readings()
                && (istio.allowed || !sallyport.allowed)
                && (sallyport.audited || !istio.audited)
    }
}
