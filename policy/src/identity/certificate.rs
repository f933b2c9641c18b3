//! End of a certificate's validity.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Reads `notAfter` (RFC 5280, 4.1.2.5) of the first certificate of a PEM text (RFC 7468), as time since the Unix epoch.
///
/// `None` if the text holds no certificate. Nothing else of the certificate is checked: the proxy has done that. A
/// library for X.509 or DER takes 15 KB of each filter for it, so the few elements before it are skipped here.
pub fn certificate_end(pem: &[u8]) -> Option<Duration> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let (body, _) = str::from_utf8(pem).ok()?.split_once(BEGIN)?.1.split_once(END)?;
    let base64: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    not_after(&STANDARD.decode(base64).ok()?)
}

/// Reads `notAfter` of a certificate in DER:
///
/// ```text
/// Certificate    ::= SEQUENCE { tbsCertificate TBSCertificate, ... }
/// TBSCertificate ::= SEQUENCE { version [0] OPTIONAL, serialNumber, signature, issuer, validity Validity, ... }
/// Validity       ::= SEQUENCE { notBefore Time, notAfter Time }
/// ```
fn not_after(der: &[u8]) -> Option<Duration> {
    let mut certificate = Elements(der).sequence()?;
    let mut fields = certificate.sequence()?;
    let (tag, _) = fields.next()?;
    let skipped = if tag == VERSION { 3 } else { 2 };
    for _ in 0..skipped {
        fields.next()?;
    }
    let mut validity = fields.sequence()?;
    validity.next()?;
    match validity.next()? {
        // Two digits of the year stand for 1950 to 2049.
        (UTC_TIME, [a, b, rest @ ..]) => {
            let year = number(&[*a, *b])?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => seconds(number(&[*a, *b, *c, *d])?, rest),
        _ => None,
    }
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Elements of DER (X.690, 8.1) that stand one after the other: a tag of one byte, a length, the contents.
struct Elements<'d>(&'d [u8]);

impl<'d> Elements<'d> {
    /// Tag and contents of the next element.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let ([tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // The long form: the number of bytes that the length has. No certificate has one of more than 4 GiB.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?, rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }

    /// Elements of the next sequence.
    fn sequence(&mut self) -> Option<Self> {
        self.next().filter(|(tag, _)| *tag == SEQUENCE).map(|(_, contents)| Self(contents))
    }
}

/// Reads `MMDDHHMMSSZ` of a year, the one form that RFC 5280 allows.
fn seconds(year: u64, rest: &[u8]) -> Option<Duration> {
    let (digits, b"Z") = rest.split_at_checked(10)? else { return None };
    let mut pairs = digits.chunks(2).map(number);
    let (month, day) = (pairs.next()??, pairs.next()??);
    let (hour, minute, second) = (pairs.next()??, pairs.next()??, pairs.next()??);
    if !((1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61) {
        return None;
    }
    let days = days_since_epoch(year, month, day)?;
    Some(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 10 + u64::from((*digit as char).to_digit(10)?)))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; one before it counts as the first.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March have their leap day last, and 153 days in each five months from there.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    // Those from the start of March of year 0 to the epoch.
    Some(days.saturating_sub(719_468))
}

#[cfg(test)]
mod tests;
