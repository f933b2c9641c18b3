//! Each row is a test of its own, named after the technique that it stands for.

use super::*;
use fastrand::Rng;

fn parsed(bytes: &[u8]) -> Result<(String, Option<u16>), InvalidAuthority> {
    Authority::parse(bytes).map(|destination| (destination.host.to_string(), destination.port))
}

macro_rules! taken {
    ($($name:ident: $bytes:expr => $host:expr, $port:expr;)*) => {
        mod taken {
            $(#[test] fn $name() { assert_eq!(super::parsed(&$bytes[..]), Ok(($host.to_owned(), $port))); })*
        }
    };
}

macro_rules! refused {
    ($($name:ident: $bytes:expr => $error:ident;)*) => {
        mod refused {
            $(#[test] fn $name() { assert_eq!(super::parsed(&$bytes[..]), Err(super::InvalidAuthority::$error)); })*
        }
    };
}

taken! {
    a_name: b"api.stripe.com" => "api.stripe.com", None;
    a_name_with_a_port: b"api.stripe.com:443" => "api.stripe.com", Some(443);
    capitals_are_lowered: b"API.Stripe.COM" => "api.stripe.com", None;
    one_final_dot_is_stripped: b"api.stripe.com." => "api.stripe.com", None;
    one_final_dot_before_a_port: b"api.stripe.com.:443" => "api.stripe.com", Some(443);
    a_single_label: b"postgres" => "postgres", None;
    an_underscore: b"_sip._tcp.x.com" => "_sip._tcp.x.com", None;
    an_international_name: b"xn--bcher-kva.example" => "xn--bcher-kva.example", None;
    digits_in_front: b"3com.com" => "3com.com", None;
    a_number_as_first_label: b"1.2.3.com" => "1.2.3.com", None;
    a_long_label: [b"a".repeat(63), b".com".to_vec()].concat() => format!("{}.com", "a".repeat(63)), None;
    an_ipv4_address: b"192.0.2.1" => "192.0.2.1", None;
    an_ipv4_address_with_a_port: b"192.0.2.1:8443" => "192.0.2.1", Some(8443);
    an_ipv6_address: b"[2001:db8::1]" => "[2001:db8::1]", None;
    an_ipv6_address_with_a_port: b"[2001:DB8:0:0::1]:443" => "[2001:db8::1]", Some(443);
    an_ipv4_mapped_address_is_the_ipv4_address: b"[::ffff:192.0.2.1]:443" => "192.0.2.1", Some(443);
    an_ipv4_mapped_address_in_hexadecimal: b"[::ffff:c000:201]" => "192.0.2.1", None;
    the_highest_port: b"a.com:65535" => "a.com", Some(65_535);
    the_lowest_port: b"a.com:1" => "a.com", Some(1);
}

refused! {
    nothing: b"" => NoHost;
    a_port_alone: b":443" => NoHost;
    a_dot_alone: b"." => NoHost;
    two_final_dots: b"good.com.." => FinalDots;
    a_leading_dot: b".good.com" => EmptyLabel;
    an_empty_label: b"a..b" => EmptyLabel;
    brackets_around_a_name: b"[good.com]" => Brackets;
    brackets_around_a_name_with_a_port: b"[good.com]:443" => Brackets;
    brackets_around_ipv4: b"[127.0.0.1]" => Brackets;
    brackets_that_do_not_close: b"[::1" => Brackets;
    brackets_that_do_not_open: b"::1]" => Brackets;
    brackets_and_a_name_behind: b"[::1].good.com" => Brackets;
    brackets_in_the_middle: b"good[.]com" => Brackets;
    brackets_in_brackets: b"[[::1]]" => Brackets;
    empty_brackets: b"[]" => Brackets;
    userinfo_is_the_good_host: b"good.com@evil.com" => UserInfo;
    userinfo_before_the_good_host: b"user@good.com" => UserInfo;
    userinfo_with_a_password: b"good.com:80@evil.com" => UserInfo;
    an_empty_port: b"good.com:" => BadPort;
    a_port_with_a_plus: b"good.com:+80" => BadPort;
    a_port_with_a_minus: b"good.com:-80" => BadPort;
    a_port_with_a_leading_zero: b"good.com:080" => BadPort;
    a_long_port_with_zeros: b"good.com:0000443" => BadPort;
    port_zero: b"good.com:0" => BadPort;
    a_port_too_high: b"good.com:65536" => BadPort;
    a_port_far_too_high: b"good.com:99999999999999999999" => BadPort;
    a_port_that_wraps_around: b"good.com:65979" => BadPort;
    a_port_in_letters: b"good.com:abc" => BadPort;
    a_port_in_hexadecimal: b"good.com:0x50" => BadPort;
    a_port_with_a_blank: b"good.com: 80" => BadPort;
    two_ports: b"good.com:80:80" => BadPort;
    two_colons: b"good.com::80" => BadPort;
    two_ports_behind_ipv6: b"[::1]:80:80" => BadPort;
    an_empty_port_behind_ipv6: b"[::1]:" => BadPort;
    a_zone_id: b"[fe80::1%eth0]" => ZoneId;
    a_zone_id_that_is_a_name: b"[::1%25.good.com]:80" => ZoneId;
    ipv6_without_brackets: b"::1" => BareIpv6;
    ipv6_without_brackets_and_a_port: b"2001:db8::1:443" => BareIpv6;
    ipv4_as_one_number: b"2130706433" => BadIpv4;
    ipv4_as_one_hexadecimal_number: b"0x7f000001" => BadIpv4;
    ipv4_in_hexadecimal: b"0x7f.1" => BadIpv4;
    ipv4_with_a_hexadecimal_end: b"127.0.0.0x1" => BadIpv4;
    ipv4_with_a_capital_hexadecimal_end: b"127.0.0.0X1" => BadIpv4;
    ipv4_in_octal: b"0177.0.0.1" => BadIpv4;
    ipv4_with_zeros: b"127.000.000.001" => BadIpv4;
    ipv4_cut_short: b"127.1" => BadIpv4;
    ipv4_of_five_parts: b"1.2.3.4.5" => BadIpv4;
    ipv4_out_of_range: b"256.0.0.1" => BadIpv4;
    ipv4_with_a_final_dot: b"127.0.0.1." => BadIpv4;
    a_name_that_ends_in_a_number: b"good.com.1" => BadIpv4;
    a_single_zero: b"0" => BadIpv4;
    a_null_byte: b"good.com\0.evil.com" => BadByte;
    a_control_byte: b"good.com\r\nx" => BadByte;
    a_tab: b"good.com\t" => BadByte;
    a_blank: b"good com" => BadByte;
    a_slash: b"good.com/x" => BadByte;
    a_backslash: b"good.com\\x" => BadByte;
    a_question_mark: b"good.com?x" => BadByte;
    a_fragment: b"good.com#x" => BadByte;
    a_semicolon: b"good.com;x" => BadByte;
    a_star: b"*.good.com" => BadByte;
    a_percent_escape: b"good%2ecom" => Escape;
    a_percent_escaped_null: b"good.com%00.evil.com" => Escape;
    a_byte_beyond_ascii: b"g\xc3\xb6\xc3\xb6d.com" => NotAscii;
    an_ideographic_full_stop: b"good\xe3\x80\x82com" => NotAscii;
    a_lone_obs_text_byte: b"good.com\xff" => NotAscii;
    a_fullwidth_letter: "\u{ff47}ood.com".as_bytes() => NotAscii;
    two_hosts_joined: b"good.com,evil.com" => Several;
    two_equal_hosts_joined: b"good.com,good.com" => Several;
    two_hosts_joined_with_ports: b"good.com:443,evil.com:443" => Several;
    a_label_too_long: [b"a".repeat(64), b".com".to_vec()].concat() => LongLabel;
    a_name_too_long: [b"aaaaaaa.".repeat(32), b"com".to_vec()].concat() => LongName;
    a_leading_hyphen: b"-good.com" => Hyphen;
    a_trailing_hyphen: b"good-.com" => Hyphen;
}

#[test]
fn every_reason_is_told_apart() {
    use InvalidAuthority::*;
    let all = [
        NoHost, LongName, LongLabel, EmptyLabel, FinalDots, Hyphen, UserInfo, Escape, Several, Brackets, ZoneId,
        BareIpv6, BadIpv4, NotAscii, BadByte, BadPort,
    ];
    let texts: std::collections::HashSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
}

/// An accepted authority has one spelling, which is accepted as the same authority.
#[test]
fn what_is_taken_has_one_spelling() {
    let alphabet = b"a0A1.-:[]x_%@,\xff9 f";
    let mut rng = Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    let mut taken = 0;
    for _ in 0..400_000 {
        let mut bytes = Vec::new();
        for _ in 0..12 {
            let at = rng.usize(..alphabet.len() + 8);
            bytes.extend(alphabet.get(at));
        }
        let Ok((host, port)) = parsed(&bytes) else { continue };
        taken += 1;
        let written = port.map_or(host.clone(), |port| format!("{host}:{port}"));
        assert_eq!(parsed(written.as_bytes()), Ok((host.clone(), port)), "{}", bytes.escape_ascii());
        assert!(!host.ends_with('.') && !host.bytes().any(|byte| byte.is_ascii_uppercase()), "{host}");
    }
    assert!(taken > 500, "{taken} were taken only");
}
