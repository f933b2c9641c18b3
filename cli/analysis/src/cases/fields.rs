//! Objects of case files, whose keys are all known.

use std::cell::RefCell;
use std::net::IpAddr;

use crate::finding::{Finding, Severity};
use crate::source::Span;
use crate::tree::{Node, Value};

/// Findings that reading collects.
pub(super) type Findings = RefCell<Vec<Finding>>;

/// Object that is read key by key.
pub(super) struct Fields<'n, 'f> {
    node: &'n Node,
    findings: &'f Findings,
    known: RefCell<Vec<&'static str>>,
}

/// Adds a fault of a case file.
pub(super) fn fault(findings: &Findings, code: &str, span: Span, message: String, help: String) {
    let severity = Severity::Error;
    findings.borrow_mut().push(Finding { severity, code: code.to_owned(), message, help, span: Some(span) });
}

impl<'n, 'f> Fields<'n, 'f> {
    /// Takes an object; anything else is a fault.
    pub(super) fn of(node: &'n Node, findings: &'f Findings) -> Option<Self> {
        match node.value {
            Value::Object(_) => Some(Self { node, findings, known: RefCell::default() }),
            _ => {
                let message = "expected an object".to_owned();
                fault(findings, "wrong-type", node.first_span(), message, "write keys and values".to_owned());
                None
            }
        }
    }

    pub(super) fn span(&self) -> Span {
        self.node.first_span()
    }

    /// Returns the value of a key that may be absent.
    pub(super) fn get(&self, key: &'static str) -> Option<&'n Node> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.node.get(key)
    }

    /// Returns a string that is one of these words.
    pub(super) fn word(&self, key: &'static str, words: &[&str]) -> Option<String> {
        let text = self.text(key)?;
        let node = self.get(key).filter(|_| !words.contains(&text.as_str()));
        if let Some(node) = node {
            let help = format!("expected {}", words.join(" or "));
            fault(
                self.findings,
                "unknown-value",
                node.first_span(),
                format!("unknown value `{text}` of `{key}`"),
                help,
            );
        }
        Some(text)
    }

    /// Returns a string.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        let text = node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(node, key, "a string");
        }
        text
    }

    /// Returns true or false; false if it is absent.
    pub(super) fn truth(&self, key: &'static str) -> bool {
        match self.get(key).map(|node| (&node.value, node)) {
            None => false,
            Some((Value::Bool(truth), _)) => *truth,
            Some((_, node)) => {
                self.wrong(node, key, "true or false");
                false
            }
        }
    }

    /// Returns a port.
    pub(super) fn port(&self, key: &'static str) -> Option<u16> {
        let node = self.get(key)?;
        let port = match node.value {
            Value::Whole(number) => u16::try_from(number).ok().filter(|port| *port > 0),
            _ => None,
        };
        if port.is_none() {
            self.wrong(node, key, "a port, a number of 1 to 65535");
        }
        port
    }

    /// Returns an address.
    pub(super) fn address(&self, key: &'static str) -> Option<IpAddr> {
        let node = self.get(key)?;
        let address = node.as_str().and_then(|text| text.parse().ok());
        if address.is_none() {
            self.wrong(node, key, "an IP address");
        }
        address
    }

    /// Returns a list of strings.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        let texts: Option<Vec<String>> = match &node.value {
            Value::List(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.wrong(node, key, "a list of strings");
        }
        texts
    }

    /// Reports a value that is of another form.
    pub(super) fn wrong(&self, node: &Node, key: &str, wanted: &str) {
        let message = format!("`{key}` is not {wanted}");
        fault(self.findings, "wrong-type", node.first_span(), message, format!("write {wanted}"));
    }

    /// Reports every key that was not read.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for entry in self.node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let message = format!("unknown field `{}`", entry.key);
            let help = format!("expected {}", known.join(", "));
            fault(self.findings, "unknown-field", entry.key_span, message, help);
        }
    }
}
