//! What Envoy's own filter does not do: bring a value into one spelling, and read it in every way that an upstream may.

use super::question::Question;
use super::stage::Answers;

impl Question {
    /// The same request with its path as `identity-authz` compares it: what is encoded without need is decoded, hex digits
    /// are capitals (RFC 3986, section 6.2.2).
    pub(super) fn in_one_spelling(&self) -> Self {
        let (path, query) = self.path.split_at(self.path.find('?').unwrap_or(self.path.len()));
        let mut pieces = path.split('%');
        let mut spelled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from) {
                Some(decoded) if decoded.is_ascii_alphanumeric() || "-._~".contains(decoded) => spelled.push(decoded),
                Some(_) => spelled
                    .extend(['%'].into_iter().chain(piece.chars().take(2)).map(|digit| digit.to_ascii_uppercase())),
                None => spelled.push('%'),
            }
            spelled.push_str(piece.get(digits.map_or(0, str::len)..).unwrap_or_default());
        }
        Self { path: spelled + query, ..self.clone() }
    }

    /// Whether a value of it can be read in another way than it came in.
    fn has_several_readings(&self) -> bool {
        let spelled = self.in_one_spelling().path;
        let path = spelled.split('?').next().unwrap_or_default();
        let is_path_read = ["//", "%2F", "%5C", ";", "\\"].iter().any(|text| path.contains(text))
            || path.split('/').any(|segment| matches!(segment, "." | ".."));
        let is_list = |(name, value): &(String, String)| name.starts_with("x-") && value.contains(',');
        is_path_read
            || self.host.contains(':')
            || self.host.ends_with('.')
            || self.method.bytes().any(|byte| byte.is_ascii_lowercase())
            || self.headers.iter().any(is_list)
    }
}

impl Answers {
    /// Whether both are the same, or the request has a value with several readings and `identity-authz`, which compares
    /// all of them, lets in no more and marks no less.
    pub fn agree_on(&self, question: &Question) -> bool {
        let (istio, sallyport) = (&self.istio, &self.sallyport);
        istio == sallyport
            || question.has_several_readings()
                && (istio.allowed || !sallyport.allowed)
                && (sallyport.audited || !istio.audited)
    }
}
