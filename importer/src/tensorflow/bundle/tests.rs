use super::*;
use crate::ErrorKind;
use crate::limits::Limits;

/// A field of a message: number and varint, or number and bytes.
fn int(number: u8, x: u8) -> Vec<u8> {
    vec![number << 3, x]
}

fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, content.len() as u8];
    out.extend(content);
    out
}

/// A `BundleEntryProto` of f32 with these extents, whose elements begin at `offset` of shard 0.
fn floats(shape: &[u8], offset: u8, data: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&d| bytes(2, &int(1, d))).collect();
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = [int(1, 1), bytes(2, &dims), int(4, offset), int(5, raw.len() as u8)].concat();
    out.push(6 << 3 | 5);
    out.extend(crc::masked(&raw).to_le_bytes());
    out
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, index: &[u8], data: &[f32]) -> Self {
        let path = std::env::temp_dir().join(format!("pocketnn-bundle-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("variables.index"), index).unwrap();
        let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(path.join("variables.data-00000-of-00001"), raw).unwrap();
        Self(path)
    }

    fn open(&self) -> Result<Bundle> {
        Bundle::open(&self.0.join("variables"), &Budget::new(Limits::small()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tensors_are_read_by_name_plain_and_compressed() {
    for compression in [0, 1] {
        let list: Vec<(&[u8], Vec<u8>)> = vec![
            (b"", int(1, 1)),
            (b"dense/bias", floats(&[2], 0, &[1.0, 2.0])),
            (b"dense/kernel", floats(&[2, 2], 8, &[3.0, 4.0, 5.0, 6.0])),
        ];
        let index = table::write(&list, compression);
        let folder = Folder::new(&format!("plain{compression}"), &index, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let bundle = folder.open().unwrap();
        let (elem, kernel) = bundle.tensor("dense/kernel", &Budget::default()).unwrap();
        assert_eq!((elem, kernel.shape()), (Elem::F32, &[2, 2][..]));
        assert_eq!(kernel.to_f32(), [3.0, 4.0, 5.0, 6.0]);
        assert!(bundle.has("dense/bias") && !bundle.has("dense"));
        let error = bundle.tensor("dense", &Budget::default()).unwrap_err();
        assert!(error.to_string().contains("no such tensor"), "{error}");
    }
}

#[test]
fn partitioned_variables_are_put_together() {
    let range = |start: u8, length: u8| bytes(1, &[int(1, start), int(2, length)].concat());
    let whole = |list: &[Vec<u8>]| {
        let dims = [bytes(2, &int(1, 2)), bytes(2, &int(1, 3))].concat();
        let slices: Vec<u8> = list.iter().flat_map(|s| bytes(7, s)).collect();
        [int(1, 1), bytes(2, &dims), slices].concat()
    };
    // Columns 0 and 1 in one slice, column 2 in another; rows are whole (an extent without a length).
    let (left, right) = ([bytes(1, b""), range(0, 2)].concat(), [bytes(1, b""), range(2, 1)].concat());
    let of = |start, length| [Range { start: 0, length: None }, Range { start, length: Some(length) }];
    let mut list = [
        (Vec::new(), int(1, 1)),
        (b"w".to_vec(), whole(&[left, right])),
        (slice_key("w", &of(0, 2)), floats(&[2, 2], 0, &[1.0, 2.0, 4.0, 5.0])),
        (slice_key("w", &of(2, 1)), floats(&[2, 1], 16, &[3.0, 6.0])),
    ];
    list.sort();
    let list: Vec<(&[u8], Vec<u8>)> = list.iter().map(|(k, v)| (k.as_slice(), v.clone())).collect();
    let folder = Folder::new("slices", &table::write(&list, 0), &[1.0, 2.0, 4.0, 5.0, 3.0, 6.0]);
    let (_, w) = folder.open().unwrap().tensor("w", &Budget::default()).unwrap();
    assert_eq!(w.to_f32(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn keys_of_slices_are_in_ordered_code() {
    let key = slice_key("ab", &[Range { start: 0, length: None }, Range { start: 64, length: Some(300) }]);
    assert_eq!(key, b"\x00ab\x00\x01\x01\x02\x80\x7f\xc0\x40\xc1\x2c");
    let mut large = Vec::new();
    signed(&mut large, -65);
    assert_eq!(large, [0x3f, 0xbf]);
}

#[test]
fn what_an_index_claims_is_bounded_by_its_bytes() {
    let long = vec![b'k'; 50_000];
    let names: Vec<Vec<u8>> = (0..250u8).map(|i| [&long[..], &[i]].concat()).collect();
    let list: Vec<(&[u8], Vec<u8>)> = names.iter().map(|n| (&n[..], floats(&[2], 0, &[1.0, 2.0]))).collect();
    let index = table::write(&list, 0);
    assert!(index.len() < 70_000, "keys share what they begin with");
    let limits = Limits { max_total_bytes: 1 << 20, ..Limits::small() };
    let error = Bundle::parse(Path::new("x"), &index, &Budget::new(limits)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limits);
    let index = table::write_named(&list, 0, 1000);
    let error = Bundle::parse(Path::new("x"), &index, &Budget::default()).unwrap_err();
    assert!(error.to_string().contains("longer together than the file"), "{error}");
}

#[test]
fn damage_is_told() {
    let list: Vec<(&[u8], Vec<u8>)> = vec![(b"", int(1, 1)), (b"w", floats(&[2], 0, &[1.0, 2.0]))];
    let index = table::write(&list, 0);
    let folder = Folder::new("damage", &index, &[1.0, 2.5]);
    let error = folder.open().unwrap().tensor("w", &Budget::default()).unwrap_err();
    assert!(error.to_string().contains("checksum of the elements"), "{error}");
    let folder = Folder::new("short", &index, &[1.0]);
    let error = folder.open().unwrap().tensor("w", &Budget::default()).unwrap_err();
    assert!(error.to_string().contains("outside of its shard"), "{error}");
    for cut in 0..index.len() {
        let error = Bundle::parse(Path::new("x"), &index[..cut], &Budget::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format, "{cut}");
    }
    for at in 0..index.len() {
        let mut damaged = index.clone();
        damaged[at] ^= 0x55;
        // Bytes between the handles and the magic number are padding; everything else is checked or has a meaning.
        let _ = Bundle::parse(Path::new("x"), &damaged, &Budget::default());
    }
}
