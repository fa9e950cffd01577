//! What must not get in, with the words in which it is refused.

use std::io::Cursor;

use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::super::{Limits, read_archive};
use super::{SMALL, Tar, gzip, paths, zip_of};

#[track_caller]
fn refuses(bytes: &[u8], limits: &Limits, expected: &str) {
    let error = read_archive(bytes, limits).expect_err("it is refused").to_string();
    assert_eq!(error, expected);
}

/// The same refusal for a plain tar archive, a gzipped one, and a zip file if one can be made.
#[track_caller]
fn refuses_name(name: &str, objection: &str) {
    let tar = Tar::default().file("fine", b"x").file(name, b"y").end();
    let zip = zip_of(&[("fine", 0o644, b"x"), (name, 0o644, b"y")]);
    for bytes in [&tar, &gzip(&tar), &zip] {
        refuses(bytes, &SMALL, &format!("entry `{name}` of the archive {objection}"));
    }
}

#[test]
fn paths_that_lead_elsewhere() {
    refuses_name("../evil", "has `..` in its path");
    refuses_name("a/../../evil", "has `..` in its path");
    refuses_name("a/..", "has `..` in its path");
    refuses_name("/etc/passwd", "has an absolute path; only relative ones are allowed");
    refuses_name("C:/evil", "has a drive letter; only relative paths are allowed");
    refuses_name("a\\b", "has a backslash in its name; components are separated by `/`");
    refuses_name("..\\b", "has a backslash in its name; components are separated by `/`");
}

#[test]
fn names_that_are_none() {
    let objection = "entry `a\u{fffd}b` of the archive has a name that is not UTF-8";
    let tar = Tar::default().entry(b"a\xffb", EntryType::Regular, 0o644, b"").end();
    refuses(&tar, &SMALL, objection);
    let tar = Tar::default().file("a\nb", b"").end();
    let objection = "entry `a\u{fffd}b` of the archive has a control character in its name";
    refuses(&tar, &SMALL, objection);
    // Only a long name can hold a NUL; what follows it must not be lost.
    let tar = Tar::default()
        .entry(b"././@LongLink", EntryType::GNULongName, 0o644, b"a\0/../b\0")
        .file("short", b"")
        .end();
    let objection = "entry `a\u{fffd}/../b` of the archive has a control character in its name";
    refuses(&tar, &SMALL, objection);
    let tar = Tar::default().file("", b"x").end();
    refuses(&tar, &SMALL, "entry `` of the archive has no name");
    let tar = Tar::default().file("./.", b"x").end();
    refuses(&tar, &SMALL, "entry `./.` of the archive is a file with the name of a directory");
    let tar = Tar::default().file("a/", b"x").end();
    refuses(&tar, &SMALL, "entry `a/` of the archive is a file with the name of a directory");
    refuses_name("a/b/c/d/e", "is 5 levels deep; at most 4 are allowed");
    let long = "x".repeat(51);
    refuses_name(&long, "has a path of 51 bytes; at most 50 are allowed");
    let long = "x".repeat(256);
    let error = read_archive(&zip_of(&[(&long, 0o644, b"")]), &Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with("has a component of 256 bytes; at most 255 are allowed"));
}

#[test]
fn what_is_no_file() {
    for (kind, objection) in [
        (EntryType::Symlink, "is a symbolic link; only files are allowed"),
        (EntryType::Link, "is a hard link; only files are allowed"),
        (EntryType::Char, "is a device; only files are allowed"),
        (EntryType::Block, "is a device; only files are allowed"),
        (EntryType::Fifo, "is a named pipe; only files are allowed"),
        (EntryType::new(b'V'), "is of an unknown kind; only files are allowed"),
        (EntryType::GNUSparse, "is a sparse file; only plain files are allowed"),
    ] {
        let tar = Tar::default().entry(b"thing", kind, 0o644, b"").end();
        refuses(&tar, &SMALL, &format!("entry `thing` of the archive {objection}"));
    }
    let sparse = Tar::default()
        .entry(b"pax", EntryType::XHeader, 0o644, b"22 GNU.sparse.major=1\n")
        .file("holes", b"x")
        .end();
    let objection = "is a sparse file; only plain files are allowed";
    refuses(&sparse, &SMALL, &format!("entry `holes` of the archive {objection}"));

    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let objection = "is a symbolic link; only files are allowed";
    refuses(&zip, &SMALL, &format!("entry `link` of the archive {objection}"));
}

#[test]
fn attributes_of_the_whole_archive_are_passed_over() {
    let tar = Tar::default()
        .entry(b"pax_global_header", EntryType::XGlobalHeader, 0o644, b"18 comment=012345\n")
        .file("a", b"1")
        .end();
    assert_eq!(paths(&read_archive(&tar, &SMALL).unwrap()), ["a"]);
}

#[test]
fn paths_that_are_claimed_twice() {
    let tar = Tar::default().file("a", b"1").file("./a", b"2").end();
    refuses(&tar, &SMALL, "entry `./a` of the archive is there twice");
    let tar = Tar::default().file("a", b"1").file("a/b", b"2").end();
    refuses(&tar, &SMALL, "entry `a` of the archive is both a file and a directory");
    let tar = Tar::default().file("a/b", b"1").file("a", b"2").end();
    refuses(&tar, &SMALL, "entry `a` of the archive is both a file and a directory");
    let tar = Tar::default().file("a", b"").entry(b"a/", EntryType::Directory, 0o755, b"").end();
    refuses(&tar, &SMALL, "entry `a` of the archive is both a file and a directory");
    // The host tells upper from lower case, and so do archives.
    let tar = Tar::default().file("a", b"1").file("A", b"2").end();
    assert_eq!(paths(&read_archive(&tar, &SMALL).unwrap()), ["A", "a"]);
    let zip = zip_of(&[("a", 0o644, b"1"), ("./a", 0o644, b"2")]);
    refuses(&zip, &SMALL, "entry `./a` of the archive is there twice");
    // No writer makes the same name twice, so the second one is renamed in the bytes.
    let mut zip = zip_of(&[("ab1", 0o644, b"1"), ("ab2", 0o644, b"2")]);
    for at in 0..zip.len() - 3 {
        if &zip[at..at + 3] == b"ab2" {
            zip[at + 2] = b'1';
        }
    }
    refuses(&zip, &SMALL, "the archive is damaged: a name is there twice");
}

#[test]
fn too_much() {
    let tar = Tar::default().file("a", b"").file("b", b"").file("c", b"").file("d", b"").end();
    let zip = zip_of(&[("a", 0, b""), ("b", 0, b""), ("c", 0, b""), ("d", 0, b"")]);
    for bytes in [&tar, &gzip(&tar), &zip] {
        refuses(bytes, &SMALL, "the archive holds too much: at most 3 files are allowed");
    }
    let tar = Tar::default().file("a", &[1; 61]).end();
    for bytes in [&tar, &gzip(&tar), &zip_of(&[("a", 0, &[1; 61])])] {
        let message = "entry `a` of the archive is too big; at most 60 bytes are allowed";
        refuses(bytes, &SMALL, message);
    }
    let tar = Tar::default().file("a", &[1; 60]).file("b", &[1; 41]).end();
    let zip = zip_of(&[("a", 0, &[1; 60]), ("b", 0, &[1; 41])]);
    for bytes in [&tar, &gzip(&tar), &zip] {
        let message = "the archive holds too much: at most 100 bytes unpacked are allowed";
        refuses(bytes, &SMALL, message);
    }
    let just = Tar::default().file("a", &[1; 60]).file("b", &[1; 40]).end();
    assert_eq!(read_archive(&just, &SMALL).unwrap().len(), 2);
    let mut many = Tar::default();
    for index in 0..4 {
        many = many.entry(format!("d{index}/").as_bytes(), EntryType::Directory, 0o755, b"");
    }
    let message = "the archive holds too much: at most 3 directories are allowed";
    refuses(&many.end(), &SMALL, message);
}

#[test]
fn bombs_stop_early() {
    let zeros = vec![0; 8 << 20];
    let limits = Limits { total_bytes: 1 << 20, file_bytes: 1 << 20, files: 10, ..SMALL };
    let tar = Tar::default().file("zeros", &zeros).end();
    let message = "entry `zeros` of the archive is too big; at most 1048576 bytes are allowed";
    refuses(&gzip(&tar), &limits, message);
    refuses(&zip_of(&[("zeros", 0, &zeros)]), &limits, message);
    // A name is read whole before anyone can look at it; the bound on the stream holds for it.
    let tar = Tar::default().entry(b"long", EntryType::GNULongName, 0, &zeros).end();
    let message = "the archive holds too much: at most 1048576 bytes unpacked are allowed";
    refuses(&gzip(&tar), &limits, message);
    // Nothing but padding after the end.
    let mut padded = Tar::default().file("a", b"").end();
    padded.extend_from_slice(&zeros);
    refuses(&gzip(&padded), &limits, message);
}

#[test]
fn lies_and_damage() {
    let tar = Tar::default().entry_of_size(b"a", EntryType::Regular, 0, 50, b"short").0;
    refuses(&tar[..512 + 5], &SMALL, "entry `a` of the archive is cut off");
    let whole = Tar::default().file("a", b"hello").end();
    let packed = gzip(&whole);
    for end in [packed.len() - 1, packed.len() - 9, packed.len() / 2, 3] {
        let error = read_archive(&packed[..end], &SMALL).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let mut flipped = packed.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    refuses(
        &flipped,
        &SMALL,
        "the archive is damaged: corrupt gzip stream does not have a matching checksum",
    );
    let mut wrong_sum = Tar::default().file("a", b"").0;
    wrong_sum.extend(Tar::default().file("b", b"").0);
    wrong_sum[512 + 10] ^= 1;
    refuses(&wrong_sum, &SMALL, "the archive is damaged: archive header checksum mismatch");
    let mut zip = zip_of(&[("a", 0, b"hello")]);
    let content = zip.windows(2).position(|bytes| bytes == b"PK").unwrap() + 31;
    zip[content] ^= 0xff;
    assert!(read_archive(&zip, &SMALL).is_err());
    refuses(&gzip(b"no tar"), &SMALL, "the archive is damaged: failed to read entire block");
}

#[test]
fn other_formats() {
    for (bytes, found) in [
        (&b""[..], "empty"),
        (b"BZh9", "compressed with bzip2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"#!/bin/sh", "no archive"),
        (&[b'x'; 2000], "no archive"),
        (&[0; 600], "no archive"),
    ] {
        let message = format!("this is {found}; an archive is a .tar.gz, .tar or .zip file");
        refuses(bytes, &SMALL, &message);
    }
}
