//! `.keras` archives: a zip with `config.json`, `metadata.json` and `model.weights.h5`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek};

use zip::ZipArchive;

use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};

/// An opened archive. Entries are read whole, each within the budget, whatever size the directory claims.
pub struct Archive<'a, R> {
    zip: ZipArchive<R>,
    budget: &'a Budget,
}

impl<'a> Archive<'a, Cursor<&'a [u8]>> {
    /// Reads the directory of an archive in memory.
    pub fn open(bytes: &'a [u8], budget: &'a Budget) -> Result<Self> {
        Self::read(Cursor::new(bytes), budget)
    }
}

impl<'a, R: Read + Seek> Archive<'a, R> {
    /// Reads the directory.
    pub fn read(source: R, budget: &'a Budget) -> Result<Self> {
        let zip = ZipArchive::new(source).map_err(|e| broken(&e))?;
        budget.entries(zip.len() as u64, "entries of the archive")?;
        Ok(Self { zip, budget })
    }

    /// True if there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Names of all entries, for messages.
    pub fn names(&self) -> Vec<String> {
        self.zip.file_names().filter_map(|n| n.ok().map(std::borrow::Cow::into_owned)).take(20).collect()
    }

    /// A text entry.
    pub fn text(&mut self, name: &str) -> Result<String> {
        let limit = self.budget.limits().max_text_bytes;
        let bytes = self.entry(name, limit)?;
        String::from_utf8(bytes)
            .map_err(|e| ImportError::format("the entry is not UTF-8").at_offset(e.utf8_error().valid_up_to() as u64))
            .map_err(|e| e.in_file(name))
    }

    /// All text entries whose names are wanted.
    pub fn texts(&mut self, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, String>> {
        let names: Vec<String> =
            self.zip.file_names().filter_map(|n| n.ok().map(std::borrow::Cow::into_owned)).collect();
        names.into_iter().filter(|n| wanted(n)).map(|n| self.text(&n).map(|t| (n, t))).collect()
    }

    /// A binary entry.
    pub fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let limit = self.budget.limits().max_tensor_bytes;
        self.entry(name, limit)
    }

    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        if !self.has(name) {
            return Err(ImportError::format("the archive lacks an entry")
                .expected(format!("`{name}`"))
                .found(format!("{:?}", self.names()))
                .help("a .keras file holds config.json, metadata.json and model.weights.h5"));
        }
        let entry = self.zip.by_name(name).map_err(|e| broken(&e).in_file(name))?;
        let declared = entry.size();
        if declared > limit {
            return Err(ImportError::limits("an archive entry is too big")
                .expected(limit)
                .found(declared)
                .in_file(name));
        }
        self.budget.tensor(declared, name)?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(to_usize(declared, name)?)
            .map_err(|_| ImportError::limits("no memory for an archive entry").found(declared).in_file(name))?;
        entry
            .take(declared.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| ImportError::format(format!("the entry can't be unpacked: {e}")).in_file(name))?;
        if bytes.len() as u64 != declared {
            return Err(ImportError::format("the entry has another size than the directory says")
                .expected(declared)
                .found(bytes.len())
                .in_file(name));
        }
        Ok(bytes)
    }
}

fn broken(error: &zip::result::ZipError) -> ImportError {
    ImportError::format(format!("not a readable zip archive: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Limits};
    use std::io::Write;

    fn sample(content: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("config.json", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn entries_are_read_and_missing_ones_named() {
        let bytes = sample(b"{}");
        let budget = Budget::default();
        let mut archive = Archive::open(&bytes, &budget).unwrap();
        assert_eq!(archive.text("config.json").unwrap(), "{}");
        let error = archive.bytes("model.weights.h5").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.to_string().contains("config.json"), "{error}");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bytes = sample(&vec![0u8; 1 << 20]);
        assert!(bytes.len() < 4096);
        let budget = Budget::new(Limits { max_text_bytes: 1000, ..Limits::default() });
        let error = Archive::open(&bytes, &budget).unwrap().text("config.json").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limits);
        let budget = Budget::new(Limits { max_total_bytes: 1000, ..Limits::default() });
        let error = Archive::open(&bytes, &budget).unwrap().bytes("config.json").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limits);
    }

    #[test]
    fn every_truncation_and_bit_flip_is_an_error_or_fine() {
        let bytes = sample(b"{\"class_name\": \"Sequential\", \"config\": []}");
        let budget = Budget::new(Limits { max_total_bytes: u64::MAX, ..Limits::small() });
        let read = |b: &[u8]| Archive::open(b, &budget).and_then(|mut a| a.text("config.json"));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Ok(text) = read(&flipped) {
                assert!(text.starts_with("{\"class_name\""));
            }
        }
    }
}
