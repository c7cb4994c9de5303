//! Fetching files from a server on this machine: the right bytes are kept, all else leaves no file.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use pocketnn_models::mnist::{Error, File, Progress, download_files};

/// The alphabet, and its SHA-256 as `sha256sum` prints it.
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const ALPHABET_FILE: File<'static> =
    File { name: "letters.gz", bytes: 26, sha256: "71c480df93d6ae2f1efad1447c66c9525e316218cf51fc8d9ed832f2daf18b73" };

/// Answers each path with its raw response; everything else with 404. Ends with the process.
fn serve(responses: &[(&str, Vec<u8>)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let responses: HashMap<String, Vec<u8>> = responses.iter().map(|(p, r)| ((*p).to_string(), r.clone())).collect();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &responses);
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, responses: &HashMap<String, Vec<u8>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    let _ = stream.write_all(responses.get(path).unwrap_or(&missing));
}

/// A response that announces `length` bytes and sends `body`.
fn response(length: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn fetch(mirrors: &[&str], target: &Path) -> Result<(), Error> {
    download_files(mirrors, &[ALPHABET_FILE], target, &mut |_| {})
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_right_file_is_kept_and_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/mnist");
    let server = serve(&[("/mnist/letters.gz", response(26, ALPHABET))]);
    let mut seen = Vec::new();
    let mut note = |p: Progress<'_>| seen.push((p.received, p.total));
    download_files(&[&format!("{server}/mnist/")], &[ALPHABET_FILE], &target, &mut note).unwrap();
    assert_eq!(seen.last(), Some(&(26, 26)));
    assert_eq!(fs::read(target.join("letters.gz")).unwrap(), ALPHABET);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);

    fetch(&["http://127.0.0.1:1/"], &target).unwrap();
}

#[test]
fn a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letters.gz"), [b'x'; 26]).unwrap();
    let server = serve(&[("/letters.gz", response(26, ALPHABET))]);
    fetch(&[&server], folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("letters.gz")).unwrap(), ALPHABET);
}

#[test]
fn a_wrong_checksum_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&[("/letters.gz", response(26, &[b'x'; 26]))]);
    match fetch(&[&server], folder.path()) {
        Err(Error::Checksum { name, expected, found }) => {
            assert_eq!((name.as_str(), expected.as_str()), ("letters.gz", ALPHABET_FILE.sha256));
            assert_ne!(found, expected);
        }
        other => panic!("{other:?}"),
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn a_body_cut_off_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    for announced in [26, 10] {
        let server = serve(&[("/letters.gz", response(announced, &ALPHABET[..10]))]);
        match fetch(&[&server], folder.path()) {
            Err(Error::Length { expected, found, .. }) => assert_eq!((expected, found), (26, 10)),
            other => panic!("announced {announced}: {other:?}"),
        }
        assert!(is_empty(folder.path()));
    }
}

#[test]
fn a_body_too_long_is_given_up_one_byte_after_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let body = vec![b'a'; 1 << 20];
    let server = serve(&[("/letters.gz", response(body.len(), &body))]);
    match fetch(&[&server], folder.path()) {
        Err(Error::Length { expected, found, .. }) => assert_eq!((expected, found), (26, 27)),
        other => panic!("{other:?}"),
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn a_missing_file_names_the_address_and_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&[]);
    match fetch(&[&server], folder.path()) {
        Err(Error::Network { url, reason }) => {
            assert_eq!(url, format!("{server}/letters.gz"));
            assert!(reason.contains("404"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn the_next_mirror_is_asked_when_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, good) = (serve(&[]), serve(&[("/letters.gz", response(26, ALPHABET))]));
    fetch(&[&broken, &good], folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("letters.gz")).unwrap(), ALPHABET);
}

#[test]
fn without_a_mirror_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(fetch(&[], folder.path()), Err(Error::Network { .. })));
}
