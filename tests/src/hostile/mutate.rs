//! Mutants of each format that keep its outer shell: lengths, checksums, archives.

use super::{files, json, proto};
use crate::support::Rng;
use serde_json::Value;

/// Changes a run of bytes: the fuzzer's own mutations, or [`bytes`].
pub type Leaf<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

/// Makes a mutant of a file.
pub type Mutate = fn(&[u8], &mut Rng, Leaf<'_>) -> Vec<u8>;

/// Flips, sets, removes, inserts and repeats bytes, and cuts the end.
pub fn bytes(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.range(1, 4) {
        let at = rng.below(bytes.len());
        if bytes.is_empty() {
            bytes.push(rng.bits() as u8);
        }
        match rng.below(9) {
            0..3 => bytes[at] ^= 1 << rng.below(8),
            3 => bytes[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            4 => bytes[at] = rng.bits() as u8,
            5 => drop(bytes.remove(at)),
            6 => {
                let end = (at + rng.range(1, 16)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            7 if at + 4 <= bytes.len() => {
                let word = rng.pick(&[0u32, 1, 4, 0x7fff_ffff, 1 << 31, u32::MAX]);
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            8 if rng.below(8) == 0 => bytes.truncate(at),
            _ => bytes.push(rng.bits() as u8),
        }
    }
}

/// The bytes as they are, changed somewhere.
pub fn plain(seed: &[u8], _: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let mut out = seed.to_vec();
    leaf(&mut out);
    out
}

/// A protobuf message whose lengths fit what they enclose.
pub fn proto(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    match proto::parse(seed) {
        Some(mut fields) if !fields.is_empty() && rng.below(8) > 0 => {
            proto::mutate(&mut fields, rng, leaf);
            proto::write(&fields)
        }
        _ => plain(seed, rng, leaf),
    }
}

/// As [`proto()`], behind the byte that chooses the message.
pub fn wire(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let Some((&kind, message)) = seed.split_first() else { return plain(seed, rng, leaf) };
    let mut out = vec![if rng.below(16) == 0 { kind ^ 1 } else { kind }];
    out.extend(proto(message, rng, leaf));
    out
}

/// An HDF5 file whose headers have right checksums.
pub fn hdf5(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let mut out = plain(seed, rng, leaf);
    if rng.below(16) > 0 {
        files::mend_hdf5(&mut out);
    }
    out
}

/// An archive that opens: a member is changed, then it is packed again.
pub fn zip(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let members = if rng.below(6) == 0 { None } else { files::read_zip(seed).filter(|m| !m.is_empty()) };
    let Some(mut members) = members else { return plain(seed, rng, leaf) };
    let i = rng.below(members.len());
    let (name, content) = &mut members[i];
    if name.rsplit('.').next() == Some("json") {
        *content = text(content, rng, leaf);
    } else {
        *content = hdf5(content, rng, leaf);
    }
    if rng.below(64) == 0 {
        members.remove(i);
    }
    files::write_zip(&members, rng.below(2) == 0).unwrap_or_else(|| plain(seed, rng, leaf))
}

fn text(content: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    match serde_json::from_slice::<Value>(content) {
        Ok(mut v) if rng.below(8) > 0 => {
            json::mutate(&mut v, rng, leaf);
            v.to_string().into_bytes()
        }
        _ => plain(content, rng, leaf),
    }
}

/// A SavedModel in one piece: the graph, an entry of the index or the elements; checksums are right.
pub fn bundle(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let Some(model) = files::SavedModel::read(seed) else { return plain(seed, rng, leaf) };
    let (mut graph, mut index, mut data) = (model.graph.to_vec(), model.index.to_vec(), model.data.to_vec());
    match rng.below(8) {
        0..3 => graph = proto(&graph, rng, leaf),
        3..6 => {
            if let Some(mut entries) = files::read_index(&index).filter(|e| !e.is_empty()) {
                let i = rng.below(entries.len());
                entries[i].1 = proto(&entries[i].1, rng, leaf);
                if rng.below(8) == 0 {
                    leaf(&mut entries[i].0);
                }
                // Without its checksum (field 6), what an entry names may be anything.
                if let Some(mut fields) = proto::parse(&entries[i].1).filter(|_| rng.below(2) == 0) {
                    fields.retain(|f| f.number != 6);
                    entries[i].1 = proto::write(&fields);
                }
                index = files::write_index(&entries);
            }
        }
        6 => {
            leaf(&mut index);
            if rng.below(4) > 0 {
                files::mend_index(&mut index);
            }
        }
        _ => leaf(&mut data),
    }
    files::SavedModel { graph: &graph, index: &index, data: &data }.write()
}

/// A `.pnn` file whose header has its length; the graph in it stays JSON.
pub fn pnn(seed: &[u8], rng: &mut Rng, leaf: Leaf<'_>) -> Vec<u8> {
    let header = seed.split_first_chunk::<8>().and_then(|(n, rest)| {
        let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*n)).ok()?)?;
        Some((serde_json::from_slice::<Value>(header).ok()?, data))
    });
    let Some((mut header, data)) = header.filter(|_| rng.below(8) > 0) else { return plain(seed, rng, leaf) };
    let mut data = data.to_vec();
    match rng.below(8) {
        0 => leaf(&mut data),
        1 => json::mutate(&mut header, rng, leaf),
        _ => {
            let place = header.pointer_mut("/__metadata__/graph");
            let graph = place.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(place) = place {
                *place = String::from_utf8_lossy(&text(graph.as_bytes(), rng, leaf)).into_owned().into();
            }
        }
    }
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}
