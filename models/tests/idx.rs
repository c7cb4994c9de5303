//! IDX files: good ones are read, bad ones get an error that names the place.

use std::fs;
use std::io::Write;
use std::path::Path;

use pocketnn_models::mnist::{Dataset, Error, FILES, Split, locate, parse_images, parse_labels};

fn idx(magic: u32, dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let header = std::iter::once(&magic).chain(dims).flat_map(|n| n.to_be_bytes());
    header.chain(elements.iter().copied()).collect()
}

fn images(count: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..count as usize * 784).map(|i| (i % 251) as u8).collect();
    idx(2051, &[count, 28, 28], &pixels)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Offset, expected, found of a format error.
fn format_error<T: std::fmt::Debug>(result: Result<T, Error>) -> (usize, String, String) {
    match result {
        Err(Error::Format { offset, expected, found, .. }) => (offset, expected, found),
        other => panic!("expected a format error, got {other:?}"),
    }
}

#[test]
fn plain_and_gzip_files_give_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let labels = idx(2049, &[3], &[7, 0, 9]);
    fs::write(folder.path().join("t10k-images-idx3-ubyte"), images(3)).unwrap();
    fs::write(folder.path().join("t10k-labels-idx1-ubyte.gz"), gzip(&labels)).unwrap();
    let set = Dataset::read(folder.path(), Split::Test).unwrap();
    assert_eq!((set.len(), set.labels()), (3, &[7, 0, 9][..]));
    assert_eq!(set.image(1).unwrap(), &images(3)[16 + 784..16 + 2 * 784]);
    assert!(set.image(3).is_none());

    fs::remove_file(folder.path().join("t10k-images-idx3-ubyte")).unwrap();
    fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), gzip(&images(3))).unwrap();
    assert_eq!(Dataset::read(folder.path(), Split::Test).unwrap(), set);
    assert!(matches!(Dataset::read(folder.path(), Split::Train), Err(Error::Io { .. })));
}

#[test]
fn images_and_labels_of_different_counts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t10k-images-idx3-ubyte"), images(3)).unwrap();
    fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(2049, &[2], &[1, 2])).unwrap();
    let (_, expected, found) = format_error(Dataset::read(folder.path(), Split::Test));
    assert_eq!((expected.as_str(), found.as_str()), ("3 labels, one an image", "2 labels"));
}

#[test]
fn a_bad_header_names_its_offset() {
    let path = Path::new("f");
    let cases: [(&str, Vec<u8>, usize); 7] = [
        ("empty", vec![], 0),
        ("labels' magic", idx(2049, &[1, 28, 28], &[0; 784]), 0),
        ("magic alone", idx(2051, &[], &[]), 4),
        ("30 rows", idx(2051, &[1, 30, 28], &[0; 840]), 8),
        ("no width", idx(2051, &[1, 28], &[]), 12),
        ("one byte short", idx(2051, &[1, 28, 28], &[0; 783]), 16),
        ("count that would not fit in memory", idx(2051, &[u32::MAX, 28, 28], &[0; 784]), 16),
    ];
    for (what, content, offset) in cases {
        assert_eq!(format_error(parse_images(path, &content)).0, offset, "{what}");
    }
    let mut surplus = images(2);
    surplus.push(0);
    assert_eq!(format_error(parse_images(path, &surplus)).2, "1569 bytes");
    assert_eq!(parse_images(path, &images(0)).unwrap(), Vec::<u8>::new());
}

#[test]
fn a_label_above_nine_is_refused_where_it_stands() {
    let (offset, _, found) = format_error(parse_labels(Path::new("f"), &idx(2049, &[3], &[1, 2, 10])));
    assert_eq!((offset, found.as_str()), (10, "10"));
}

#[test]
fn truncated_gzip_is_an_error_of_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let whole = gzip(&images(2));
    fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), &whole[..whole.len() / 2]).unwrap();
    match Dataset::read(folder.path(), Split::Test) {
        Err(Error::Io { path, .. }) => assert!(path.ends_with("t10k-images-idx3-ubyte.gz")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), gzip(&vec![0; 65 << 20])).unwrap();
    assert_eq!(format_error(Dataset::read(folder.path(), Split::Test)).1, "at most 67108864 bytes");
}

#[test]
fn a_given_folder_is_the_only_one_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    match locate(Some(folder.path())) {
        Err(Error::NotFound { searched }) => assert_eq!(searched, [folder.path()]),
        other => panic!("{other:?}"),
    }
    fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), b"").unwrap();
    assert_eq!(locate(Some(folder.path())).unwrap(), folder.path());
}

/// With the originals at hand they are the published ones and parse to the known counts.
#[test]
fn the_published_files_are_read() {
    let Ok(folder) = locate(None) else {
        println!("MNIST is not on this machine: nothing to read");
        return;
    };
    let set = Dataset::read(&folder, Split::Test).unwrap();
    assert_eq!((set.len(), &set.labels()[..5]), (10_000, &[7, 2, 1, 0, 4][..]));
    for file in &FILES {
        match fs::read(folder.join(file.name)) {
            Ok(content) => {
                assert_eq!(content.len() as u64, file.bytes, "{}", file.name);
                file.check(&content).unwrap();
            }
            Err(error) => println!("{}: {error}", file.name),
        }
    }
}
