//! A call of curl as a request.

use shlex::Shlex;

/// Request of a call of curl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurlRequest {
    /// Method.
    pub method: String,
    /// Host, with the port if the URL or a header names one.
    pub host: String,
    /// Port of the URL, or that of its scheme.
    pub port: u16,
    /// True if the URL is of `https`.
    pub is_tls: bool,
    /// Host and port of the URL, as a CONNECT has them.
    pub authority: String,
    /// Host of the URL if it is a name and of `https`.
    pub server_name: Option<String>,
    /// Path and query, without dot segments unless `--path-as-is` is given.
    pub path: String,
    /// Headers in order, by names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Options with a value that say nothing about the request.
const WITH_VALUE: [&str; 61] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "--retry-max-time",
    "-w",
    "--write-out",
    "-E",
    "--cert",
    "--cert-type",
    "--key",
    "--key-type",
    "--pass",
    "--cacert",
    "--capath",
    "--ciphers",
    "--tls-max",
    "--pinnedpubkey",
    "--resolve",
    "--connect-to",
    "-x",
    "--proxy",
    "-U",
    "--proxy-user",
    "--noproxy",
    "--interface",
    "--local-port",
    "--dns-servers",
    "--unix-socket",
    "-D",
    "--dump-header",
    "--limit-rate",
    "--max-redirs",
    "--max-filesize",
    "-c",
    "--cookie-jar",
    "-K",
    "--config",
    "--trace",
    "--trace-ascii",
    "--stderr",
    "-C",
    "--continue-at",
    "-z",
    "--time-cond",
    "-y",
    "-Y",
    "--speed-limit",
    "--speed-time",
    "-Q",
    "--quote",
    "-P",
    "--ftp-port",
    "-t",
    "--telnet-option",
    "--output-dir",
    "--create-file-mode",
    "--aws-sigv4",
];

/// Options for data, which make the method POST.
const DATA: [&str; 9] =
    ["-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--data-urlencode", "--json", "-F", "--form"];

/// Short options with a value.
const SHORT_WITH_VALUE: &str = "XHdFAebomwExDTcKurUCzyYQPt";

/// Reads a call of curl, as it is typed in a shell.
///
/// # Errors
///
/// A call without a URL, with an open quote or with an option that this does not know.
pub fn parse_curl(line: &str) -> Result<CurlRequest, String> {
    let mut call = Call::default();
    // A backslash at the end of a line continues it.
    let line = line.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut splitter = Shlex::new(&line);
    let words: Vec<String> = splitter.by_ref().collect();
    if splitter.had_error {
        return Err("a quote or an escape of the curl line is open".to_owned());
    }
    let mut words = words.into_iter().skip_while(|word| word.trim().is_empty()).peekable();
    if words.peek().map(String::as_str) == Some("curl") {
        words.next();
    }
    while let Some(word) = words.next() {
        if word.trim().is_empty() {
            continue;
        }
        let (option, attached) = split_option(&word);
        let mut value = || attached.clone().or_else(|| words.next()).ok_or(format!("{option} of curl lacks its value"));
        call.take(&option, &mut value)?;
    }
    call.finish()
}

/// Splits `--option=value`, `-Xvalue` and `-sSXvalue`, of which the flags before say nothing but `I` and `G`.
fn split_option(word: &str) -> (String, Option<String>) {
    if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        return (option.to_owned(), Some(value.to_owned()));
    }
    let shorts = word.strip_prefix('-').filter(|shorts| !shorts.starts_with('-')).unwrap_or_default();
    let with_value = shorts.char_indices().find(|(_, short)| SHORT_WITH_VALUE.contains(*short));
    let flags = shorts.get(..with_value.map_or(shorts.len(), |(at, _)| at)).unwrap_or_default();
    match with_value {
        Some((at, short)) => {
            let value = shorts.get(at + short.len_utf8()..).unwrap_or_default();
            (format!("-{short}"), (!value.is_empty()).then(|| value.to_owned()))
        }
        None if flags.contains('I') => ("-I".to_owned(), None),
        None if flags.contains('G') => ("-G".to_owned(), None),
        None => (word.to_owned(), None),
    }
}

/// Request that the words read so far describe.
#[derive(Debug, Default)]
struct Call {
    method: Option<String>,
    url: Option<String>,
    /// Headers of `-H`.
    headers: Vec<(String, String)>,
    /// Headers of other options, which those of `-H` replace.
    of_options: Vec<(String, String)>,
    /// Headers that are not sent, as by `-H 'Accept:'`.
    removed: Vec<String>,
    has_data: bool,
    is_json: bool,
    data_in_query: bool,
    data: Vec<String>,
    is_head: bool,
    is_upload: bool,
    path_as_is: bool,
}

impl Call {
    fn take(&mut self, option: &str, value: &mut dyn FnMut() -> Result<String, String>) -> Result<(), String> {
        match option {
            "-X" | "--request" => self.method = Some(value()?),
            "-H" | "--header" => self.header(&value()?),
            "-A" | "--user-agent" => self.set("user-agent", value()?),
            "-e" | "--referer" => self.set("referer", value()?),
            "-b" | "--cookie" => self.of_options.push(("cookie".to_owned(), value()?)),
            "-u" | "--user" => {
                value()?;
                self.set("authorization", "Basic".to_owned());
            }
            "--oauth2-bearer" => {
                let token = value()?;
                self.set("authorization", format!("Bearer {token}"));
            }
            "--url" => self.url(value()?)?,
            "-T" | "--upload-file" => {
                value()?;
                self.is_upload = true;
            }
            "-r" | "--range" => {
                let range = value()?;
                self.set("range", format!("bytes={range}"));
            }
            "-I" | "--head" => self.is_head = true,
            "-G" | "--get" => self.data_in_query = true,
            "--path-as-is" => self.path_as_is = true,
            _ if DATA.contains(&option) => {
                self.has_data = true;
                self.is_json |= option == "--json";
                self.data.push(value()?);
            }
            _ if WITH_VALUE.contains(&option) => {
                value()?;
            }
            // Flags that say nothing about the request: -k, -sS, --http2, --fail.
            _ if option.starts_with('-') => {}
            url => self.url(url.to_owned())?,
        }
        Ok(())
    }

    fn url(&mut self, url: String) -> Result<(), String> {
        match self.url.replace(url.clone()) {
            None => Ok(()),
            Some(first) => Err(format!(
                "the curl line has two URLs, `{first}` and `{url}`; if one is the value of an option, write --option=value"
            )),
        }
    }

    fn header(&mut self, line: &str) {
        if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            match value.trim() {
                "" => self.removed.push(name),
                value => self.headers.push((name, value.to_owned())),
            }
        } else if let Some(name) = line.strip_suffix(';') {
            self.headers.push((name.trim().to_ascii_lowercase(), String::new()));
        }
    }

    /// Sets a header as an option does: the last one counts, and an empty one is not sent.
    fn set(&mut self, name: &str, value: String) {
        self.of_options.retain(|(known, _)| known != name);
        match value.is_empty() {
            true => self.removed.push(name.to_owned()),
            false => self.of_options.push((name.to_owned(), value)),
        }
    }

    /// Adds the headers that curl sends where `-H` gives none of the name.
    fn add_headers_of_options(&mut self) {
        for (name, value) in [("user-agent", "curl/8.0"), ("accept", "*/*")] {
            if self.of_options.iter().all(|(known, _)| known != name) {
                self.of_options.push((name.to_owned(), value.to_owned()));
            }
        }
        let Self { headers, of_options, removed, .. } = self;
        let is_given: Vec<String> = headers.iter().map(|(name, _)| name.clone()).collect();
        of_options.retain(|(name, _)| !is_given.contains(name) && !removed.contains(name));
        headers.append(of_options);
    }

    fn finish(mut self) -> Result<CurlRequest, String> {
        let url = self.url.take().ok_or("the curl line has no URL")?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(format!("the URL of the curl line is of {scheme}, write http or https")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                let number = port.parse().ok().filter(|number| *number > 0);
                (name, number.ok_or(format!("the URL of the curl line has a bad port `{port}`"))?)
            }
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut path = if self.path_as_is { path } else { without_dot_segments(&path) };
        if self.data_in_query && self.has_data {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&self.data.join("&"));
        }
        let sends_body = self.has_data && !self.data_in_query;
        let implied = if self.is_head {
            "HEAD"
        } else if self.is_upload {
            "PUT"
        } else if sends_body {
            "POST"
        } else {
            "GET"
        };
        if sends_body {
            let form = "application/x-www-form-urlencoded";
            self.set("content-type", if self.is_json { "application/json" } else { form }.to_owned());
        }
        self.add_headers_of_options();
        // TLS names no address.
        let is_address = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
        let default_port = port == if is_tls { 443 } else { 80 };
        let of_url = if default_port { name.to_owned() } else { format!("{name}:{port}") };
        let of_header = self.headers.iter().find(|(key, _)| key == "host").map(|(_, value)| value.clone());
        self.headers.retain(|(key, _)| key != "host");
        Ok(CurlRequest {
            method: self.method.unwrap_or_else(|| implied.to_owned()),
            host: of_header.unwrap_or(of_url),
            port,
            is_tls,
            authority: format!("{name}:{port}"),
            server_name: is_tls.then(|| name.to_ascii_lowercase()).filter(|_| !is_address),
            path,
            headers: self.headers,
        })
    }
}

/// Removes `.` and `..` segments as curl does (RFC 3986, 5.2.4), before the query.
fn without_dot_segments(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.split('/').skip(1) {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let slash = if ends_in_folder && !segments.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{slash}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_curl_sends_them() {
        let rows = [
            ("curl https://orders.shop/a?b=1", "GET orders.shop/a?b=1 443"),
            ("curl -X DELETE http://orders.shop:8080/a/../b/.", "DELETE orders.shop:8080/b/ 8080"),
            ("curl --path-as-is http://x//a/../b", "GET x//a/../b 80"),
            ("curl -sSk -XPUT 'https://user:pw@x/a b'", "PUT x/a b 443"),
            ("curl -d a=1 -d b=2 x", "POST x/ 80"),
            ("curl -G -d a=1 -d b=2 x/y", "GET x/y?a=1&b=2 80"),
            ("curl -I https://[::1]:8443/", "HEAD [::1]:8443/ 8443"),
            ("curl -sSX POST x", "POST x/ 80"),
            ("curl -sXPATCH x -kI", "PATCH x/ 80"),
            ("curl -sI x", "HEAD x/ 80"),
            ("curl -T file x", "PUT x/ 80"),
            ("curl https://x/a \\\n  -H 'Host: other.shop' --max-time 3", "GET other.shop/a 443"),
        ];
        for (line, expected) in rows {
            let read = parse_curl(line).map(|read| format!("{} {}{} {}", read.method, read.host, read.path, read.port));
            assert_eq!(read.as_deref(), Ok(expected), "{line}");
        }
        let read = parse_curl("curl https://x -H 'X-A:  b ' -A me --json '{}'").unwrap_or_default();
        let header = |name: &str| read.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(
            (header("x-a"), header("user-agent"), header("content-type")),
            (Some("b"), Some("me"), Some("application/json"))
        );
        assert_eq!(read.server_name.as_deref(), Some("x"));
        for (line, agents) in [
            ("curl x", &["curl/8.0"][..]),
            ("curl -H 'User-Agent:' x", &[]),
            ("curl -A '' x", &[]),
            ("curl x -A ''", &[]),
            ("curl --user-agent= x", &[]),
            ("curl -A a -H 'user-agent:' x", &[]),
            ("curl -A a -A b x", &["b"]),
            ("curl -A a -H 'User-Agent: c' x", &["c"]),
            ("curl -H 'User-Agent;' x", &[""]),
        ] {
            let read = parse_curl(line).unwrap_or_default();
            let named = read.headers.iter().filter(|(name, _)| name == "user-agent");
            assert_eq!(named.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), agents, "{line}");
            assert_eq!(read.host, "x", "{line}");
        }
        let of_address = parse_curl("curl https://[::1]:8443/").unwrap_or_default();
        assert_eq!((of_address.server_name, of_address.authority.as_str()), (None, "[::1]:8443"));
    }

    #[test]
    fn what_is_no_call_says_so() {
        for (line, expected) in [
            ("curl -k", "the curl line has no URL"),
            ("curl 'x", "a quote or an escape of the curl line is open"),
            ("curl x -H", "-H of curl lacks its value"),
            ("curl ftp://x", "the URL of the curl line is of ftp, write http or https"),
            ("curl x:0/", "the URL of the curl line has a bad port `0`"),
            (
                "curl --novel a x",
                "the curl line has two URLs, `a` and `x`; if one is the value of an option, write --option=value",
            ),
            ("curl x:y/", "the URL of the curl line has a bad port `y`"),
        ] {
            assert_eq!(parse_curl(line), Err(expected.to_owned()), "{line}");
        }
    }
}
