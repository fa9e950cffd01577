//! Archives made by hand, most of them evil.

mod refusals;
mod round_trips;

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use super::{ArchiveFile, Limits};

/// A tar archive with names as they are given, which the builder would refuse.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(self, name: &[u8], kind: EntryType, mode: u32, content: &[u8]) -> Tar {
        self.entry_of_size(name, kind, mode, content.len() as u64, content)
    }

    fn entry_of_size(
        mut self,
        name: &[u8],
        kind: EntryType,
        mode: u32,
        size: u64,
        content: &[u8],
    ) -> Tar {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        if kind == EntryType::Symlink || kind == EntryType::Link {
            header.set_link_name("/etc/passwd").unwrap();
        }
        if kind == EntryType::GNUSparse {
            header.as_gnu_mut().unwrap().set_real_size(size);
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Tar {
        self.entry(name.as_bytes(), EntryType::Regular, 0o644, content)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const SMALL: Limits =
    Limits { files: 3, total_bytes: 100, file_bytes: 60, path_bytes: 50, path_depth: 4 };

fn paths(files: &[ArchiveFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}
