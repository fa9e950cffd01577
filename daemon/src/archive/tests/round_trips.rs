//! What gets in comes out, in every format, and has the same hash however it was packed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tar::EntryType;

use super::super::pack::write_tar_gz;
use super::super::{ArchiveFile, Limits, content_hash, pack_directory, read_archive};
use super::{SMALL, Tar, gzip, paths, zip_of};

#[test]
fn every_format_gives_the_same_files() {
    let tar = Tar::default()
        .entry(b"./", EntryType::Directory, 0o755, b"")
        .entry(b"./src/", EntryType::Directory, 0o755, b"")
        .file("./src/index.ts", b"export {}")
        .entry(b"run.sh", EntryType::Regular, 0o4755, b"#!/bin/sh\n")
        .entry(b"empty", EntryType::Regular, 0o600, b"")
        .end();
    let zip = zip_of(&[
        ("run.sh", 0o755, b"#!/bin/sh\n"),
        ("empty", 0o644, b""),
        ("src//index.ts", 0o644, b"export {}"),
    ]);
    let files = read_archive(&tar, &SMALL).unwrap();
    assert_eq!(paths(&files), ["empty", "run.sh", "src/index.ts"]);
    assert_eq!(files.iter().map(|file| file.executable).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(read_archive(&gzip(&tar), &SMALL).unwrap(), files);
    assert_eq!(read_archive(&zip, &SMALL).unwrap(), files);
    assert_eq!(read_archive(&write_tar_gz(&files).unwrap(), &SMALL).unwrap(), files);
    assert_eq!(read_archive(&[0; 1024], &SMALL).unwrap(), []);
    assert_eq!(read_archive(&zip_of(&[]), &SMALL).unwrap(), []);
}

#[test]
fn a_directory_is_packed_the_same_way_every_time() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (path, content) in [
        ("manifest.yaml", "version: 2"),
        ("src/functions/greet/index.ts", "export {}"),
        ("src/target/kept.ts", "x"),
        ("bin/run", "#!/bin/sh"),
        ("target/debug/x", "skipped"),
        ("node_modules/a/index.js", "skipped"),
        ("src/node_modules/b/index.js", "skipped"),
        (".git/HEAD", "skipped"),
        (".npmrc", "kept"),
    ] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), content).unwrap();
    }
    let executable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(root.join("bin/run"), executable).unwrap();
    let packed = pack_directory(root).unwrap();
    let files = read_archive(&packed, &Limits::default()).unwrap();
    let expected = [
        ".npmrc",
        "bin/run",
        "manifest.yaml",
        "src/functions/greet/index.ts",
        "src/target/kept.ts",
    ];
    assert_eq!(paths(&files), expected);
    assert!(files[1].executable && !files[0].executable);
    std::fs::write(root.join(".npmrc"), "kept").unwrap();
    assert_eq!(pack_directory(root).unwrap(), packed);

    std::os::unix::fs::symlink("/etc/passwd", root.join("src/link")).unwrap();
    let error = pack_directory(root).unwrap_err().to_string();
    assert_eq!(error, "entry `src/link` of the archive is a symbolic link; only files are allowed");
    let error = pack_directory(&root.join("nope")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read `"), "{error}");
}

#[test]
fn the_hash_is_of_the_tree() {
    let file = |path: &str, content: &str, executable| ArchiveFile {
        path: path.to_owned(),
        bytes: content.as_bytes().to_vec(),
        executable,
    };
    let hash = content_hash(&[file("a", "1", false), file("b", "2", true)]);
    assert_eq!(content_hash(&[file("b", "2", true), file("a", "1", false)]), hash);
    for other in [
        vec![file("a", "1", false)],
        vec![file("a", "1", true), file("b", "2", true)],
        vec![file("a", "12", false), file("b", "", true)],
        vec![file("ab", "1", false), file("b", "2", true)],
        vec![],
    ] {
        assert_ne!(content_hash(&other), hash);
    }
    // Fixed for ever: versions are known by it.
    let known = "b6f39f3757ccaae5d0ff11d35f1a5ed823dc5186e52784879f3a4fa6e6455a7d";
    assert_eq!(hex::encode(hash), known);
}

fn trees() -> impl Strategy<Value = Vec<ArchiveFile>> {
    let content = proptest::collection::vec(any::<u8>(), 0..600);
    let tree = proptest::collection::btree_map(
        "([a-c]/){0,3}[a-zé.]{1,120}x",
        (content, any::<bool>()),
        0..8,
    );
    tree.prop_map(|tree: BTreeMap<String, (Vec<u8>, bool)>| {
        let files = tree.into_iter();
        files.map(|(path, (bytes, executable))| ArchiveFile { path, bytes, executable }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_comes_back(files in trees()) {
        let packed = write_tar_gz(&files).unwrap();
        let unpacked = read_archive(&packed, &Limits::default()).unwrap();
        prop_assert_eq!(content_hash(&unpacked), content_hash(&files));
        prop_assert_eq!(&unpacked, &files);
        let entries: Vec<(&str, u32, &[u8])> = files
            .iter()
            .map(|file| (file.path.as_str(), if file.executable { 0o755 } else { 0o644 }, file.bytes.as_slice()))
            .collect();
        prop_assert_eq!(read_archive(&zip_of(&entries), &Limits::default()).unwrap(), files);
    }

    #[test]
    fn damaged_archives_never_panic(
        files in trees(),
        as_zip in any::<bool>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = if as_zip {
            let entries: Vec<(&str, u32, &[u8])> =
                files.iter().map(|file| (file.path.as_str(), 0o644, file.bytes.as_slice())).collect();
            zip_of(&entries)
        } else {
            let packed = write_tar_gz(&files).unwrap();
            let mut tar = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut tar).unwrap();
            tar
        };
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(read_archive(&bytes, &SMALL));
        drop(read_archive(&bytes[..end.index(bytes.len())], &SMALL));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000), start in 0usize..3) {
        let start: &[u8] = [&b"PK\x03\x04"[..], b"\x1f\x8b\x08", b"x"][start];
        drop(read_archive(&[start, &bytes].concat(), &SMALL));
    }
}
