use fastrand::Rng;

use super::*;
use crate::test_support::client_hello_writer::{
    client_hello, extension, fields_before_extensions, hello_for, message, prefixed, record, records, server_names,
};

/// Reads bytes that come in pieces of `size`. Returns the name as text, `Ok(None)` if the ClientHello is not complete.
fn read_in(size: usize, bytes: &[u8]) -> Result<Option<Option<String>>, ClientHelloError> {
    let mut reader = ClientHelloReader::default();
    for piece in bytes.chunks(size) {
        if let Some(name) = reader.read(piece)? {
            return Ok(Some(name.map(|name| String::from_utf8_lossy(&name).into_owned())));
        }
    }
    Ok(None)
}

fn name(text: &str) -> Result<Option<Option<String>>, ClientHelloError> {
    Ok(Some(Some(text.to_owned())))
}

/// One test a row: bytes, in one piece and byte by byte, and what is read from them.
macro_rules! rows {
    ($($name:ident: $bytes:expr => $expected:expr;)*) => {
        mod rows {
            use super::*;

            $(
                #[test]
                fn $name() {
                    let bytes: Vec<u8> = $bytes;
                    for size in [usize::MAX, 1, 7] {
                        assert_eq!(read_in(size, &bytes), $expected, "in pieces of {size}");
                    }
                }
            )*
        }
    };
}

rows! {
    one_record: hello_for("good.com") => name("good.com");
    other_bytes_behind_it: [hello_for("good.com"), record(20, &[1]), b"\0\xff".to_vec()].concat() => name("good.com");
    more_of_the_record_behind_it: records(&[client_hello(&[server_names(&["good.com"])]), vec![0; 9]].concat(), 99) =>
        name("good.com");
    no_server_name: records(&client_hello(&[extension(10, &[0, 2, 0, 29])]), 50) => Ok(Some(None));
    an_empty_list_of_extensions: records(&client_hello(&[]), 50) => Ok(Some(None));
    no_extensions_as_before_tls_1_3: records(&message(1, &fields_before_extensions()), 50) => Ok(Some(None));
    ech_shows_its_outer_name: records(&client_hello(&[extension(0xfe0d, &[0; 40]), server_names(&["outer.com"])]), 99) =>
        name("outer.com");
    the_longest_message: records(&client_hello(&[extension(21, &vec![0; 16_384 - 79])]), 16_384) => Ok(Some(None));
    half_a_header: hello_for("good.com")[..3].to_vec() => Ok(None);
    all_but_the_last_byte: hello_for("good.com").split_last().map(|(_, most)| most.to_vec()).unwrap() => Ok(None);

    a_message_too_long: records(&client_hello(&[extension(21, &vec![0; 16_385 - 79])]), 16_384) =>
        Err(ClientHelloError::LongMessage);
    another_message: record(22, &message(2, &[0; 40])) => Err(ClientHelloError::Message);
    an_empty_message_before_it: record(22, &[message(0, &[]), client_hello(&[])].concat()) =>
        Err(ClientHelloError::Message);
    an_empty_message: record(22, &message(1, &[])) => Err(ClientHelloError::Field);
    an_alert_before_it: [record(21, &[1, 0]), hello_for("good.com")].concat() => Err(ClientHelloError::Record);
    another_record_within_it: [
        record(22, &client_hello(&[])[..9]), record(20, &[1]), record(22, &client_hello(&[])[9..])
    ].concat() => Err(ClientHelloError::Record);
    an_empty_record: [record(22, &[]), hello_for("good.com")].concat() => Err(ClientHelloError::Record);
    an_empty_record_within_it: [
        record(22, &client_hello(&[])[..9]), record(22, &[]), record(22, &client_hello(&[])[9..])
    ].concat() => Err(ClientHelloError::Record);
    a_record_too_long: record(22, &[1; 16_385]) => Err(ClientHelloError::Record);
    a_record_of_another_version: [vec![22, 2], hello_for("good.com")[2..].to_vec()].concat() =>
        Err(ClientHelloError::Record);
    a_hello_of_another_version: record(22, &message(1, &[vec![2], fields_before_extensions()[1..].to_vec()].concat())) =>
        Err(ClientHelloError::Field);
    a_session_id_too_long: record(22, &message(1, &[&[3; 34][..], &prefixed(1, &[9; 33]), &[0, 2, 1, 1, 1, 0]].concat())) =>
        Err(ClientHelloError::Field);
    no_cipher_suites: record(22, &message(1, &[&[3; 34][..], &[0, 0, 0, 1, 0]].concat())) => Err(ClientHelloError::Field);
    half_a_cipher_suite: record(22, &message(1, &[&[3; 34][..], &[0, 0, 3, 1, 1, 1, 1, 0]].concat())) =>
        Err(ClientHelloError::Field);
    no_compression_methods: record(22, &message(1, &[&[3; 34][..], &[0, 0, 2, 1, 1, 0]].concat())) =>
        Err(ClientHelloError::Field);
    extensions_shorter_than_the_message: record(22, &message(1, &[fields_before_extensions(), vec![0, 0, 0]].concat())) =>
        Err(ClientHelloError::Field);
    extensions_longer_than_the_message: record(22, &message(1, &[fields_before_extensions(), vec![0, 1]].concat())) =>
        Err(ClientHelloError::Field);
    an_extension_longer_than_the_others: record(22, &client_hello(&[vec![0, 0, 0, 9, 0]])) => Err(ClientHelloError::Field);
    half_an_extension: record(22, &client_hello(&[vec![0, 0, 0]])) => Err(ClientHelloError::Field);
    an_empty_name: record(22, &client_hello(&[server_names(&[""])])) => Err(ClientHelloError::Field);
    an_empty_list_of_names: record(22, &client_hello(&[server_names(&[])])) => Err(ClientHelloError::Field);
    no_list_of_names: record(22, &client_hello(&[extension(0, &[])])) => Err(ClientHelloError::Field);
    a_list_shorter_than_the_extension: record(22, &client_hello(&[extension(0, &[0, 4, 0, 0, 1, b'a', 0])])) =>
        Err(ClientHelloError::Field);
    a_name_of_another_kind: record(22, &client_hello(&[extension(0, &[0, 4, 1, 0, 1, b'a'])])) =>
        Err(ClientHelloError::Field);
    two_names: record(22, &client_hello(&[server_names(&["good.com", "evil.com"])])) =>
        Err(ClientHelloError::SeveralNames);
    the_extension_twice: record(22, &client_hello(&[server_names(&["good.com"]), server_names(&["good.com"])])) =>
        Err(ClientHelloError::SeveralNames);
}

#[test]
fn the_name_is_read_however_records_and_pieces_are_split() {
    let hello = client_hello(&[extension(10, &[0, 2, 0, 29]), server_names(&["good.com"]), extension(43, &[2, 3, 4])]);
    for split in 1..hello.len() {
        let bytes = [record(22, &hello[..split]), record(22, &hello[split..])].concat();
        assert_eq!(read_in(usize::MAX, &bytes), name("good.com"), "records split at {split}");
    }
    for size in 1..40 {
        assert_eq!(read_in(size, &records(&hello, size)), name("good.com"), "records and pieces of {size}");
        assert_eq!(read_in(3, &records(&hello, size)), name("good.com"), "records of {size}");
    }
}

#[test]
fn any_change_and_any_split_gives_one_answer_and_keeps_little() {
    let mut random = Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut bytes =
            records(&client_hello(&[server_names(&["good.com"]), extension(43, &[2, 3, 4])]), random.usize(1..200));
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let whole = read_in(usize::MAX, &bytes);
        assert_eq!(read_in(random.usize(1..20), &bytes), whole, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let endless = records(&[&[1, 0, 0x40, 0][..], &[0; 40_000]].concat(), 1);
    let mut reader = ClientHelloReader::default();
    let read = endless.iter().take_while(|byte| reader.read(&[**byte]) == Ok(None)).count();
    // Six bytes for each byte of the message and of its header.
    assert_eq!(read, 6 * (16_384 + 4) - 1);
    assert!(reader.message.len() <= 16_388);
}
