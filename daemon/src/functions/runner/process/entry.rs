//! Whether an entry point can be started at all, said in words for its author before the kernel says
//! it in a number.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// Where programs are looked for.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The program of an entry point, relative to the current folder, or what is wrong with it.
pub(super) fn check(entry_point: &str) -> Result<PathBuf, String> {
    let path = Path::new(entry_point);
    let is_inside =
        path.components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir));
    if entry_point.is_empty() || !is_inside || entry_point.contains('\0') {
        return Err(format!(
            "the entry point `{entry_point}` is no path inside of the package: write it relative to \
             the package's folder, without `..`"
        ));
    }
    let path = Path::new(".").join(path);
    let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("the package has no file `{entry_point}`, which is the entry point")
        }
        _ => format!("the entry point `{entry_point}` cannot be looked at: {error}"),
    })?;
    if !metadata.is_file() {
        return Err(format!("the entry point `{entry_point}` is no file but a folder"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!(
            "the entry point `{entry_point}` is not executable: set its x bit (chmod +x \
             {entry_point}) before the archive is made"
        ));
    }
    let readable = |error| format!("the entry point `{entry_point}` cannot be read: {error}");
    let accesses = Access::EXEC_OK | Access::READ_OK;
    rustix::fs::accessat(CWD, &path, accesses, AtFlags::EACCESS)
        .map_err(|error| readable(std::io::Error::from(error)))?;
    let mut start = Vec::new();
    let file = std::fs::File::open(&path).map_err(readable)?;
    file.take(256).read_to_end(&mut start).map_err(readable)?;
    check_start(entry_point, &start, &|it| it.is_file())?;
    Ok(path)
}

/// Looks at the first bytes of a program.
fn check_start(
    entry_point: &str,
    start: &[u8],
    is_there: &dyn Fn(&Path) -> bool,
) -> Result<(), String> {
    if start.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let Some(line) = start.strip_prefix(b"#!") else {
        return Err(format!(
            "the entry point `{entry_point}` is neither a program of this host nor a script whose \
             first line names an interpreter, such as `#!/bin/sh`"
        ));
    };
    let line = line.split(|it| *it == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(format!(
            "the first line of `{entry_point}` ends in CR LF, so that its interpreter is not found: \
             save it with LF line ends"
        ));
    }
    let mut words = line.split(|it| matches!(*it, b' ' | b'\t')).filter(|it| !it.is_empty());
    let Some(interpreter) = words.next() else {
        return Err(format!(
            "the first line of `{entry_point}` names no interpreter: write `#!/bin/sh` or the like"
        ));
    };
    let missing = |name: &[u8]| {
        format!(
            "the interpreter `{}` that the first line of `{entry_point}` names is not among the \
             programs of this host that functions can run (below /usr and /bin)",
            String::from_utf8_lossy(name)
        )
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(interpreter));
    if !is_there(path) {
        return Err(missing(interpreter));
    }
    if interpreter.ends_with(b"/env")
        && let Some(program) = words.find(|it| !it.starts_with(b"-") && !it.contains(&b'='))
        && !PATH
            .split(':')
            .any(|it| is_there(&Path::new(it).join(std::ffi::OsStr::from_bytes(program))))
    {
        return Err(missing(program));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_stay_inside() {
        for bad in ["", "/bin/true", "../x", "a/../../x", "a\0b"] {
            assert!(check(bad).is_err_and(|it| it.contains("relative to")), "{bad}");
        }
        assert!(check("no/such").is_err_and(|it| it.contains("no file `no/such`")));
        assert!(check("src").is_err_and(|it| it.contains("a folder")));
        assert!(check("Cargo.toml").is_err_and(|it| it.contains("chmod +x Cargo.toml")));
    }

    #[test]
    fn first_lines_are_understood() {
        let there = |it: &Path| {
            ["/bin/sh", "/usr/bin/env", "/usr/bin/python3"].iter().any(|known| it == *known)
        };
        for (start, part) in [
            ("#!/bin/sh\n", ""),
            ("#! /bin/sh -e\n", ""),
            ("#!/usr/bin/env python3\n", ""),
            ("#!/usr/bin/env -S A=b python3 -u\n", ""),
            ("\x7fELF", ""),
            ("#!/usr/bin/env ruby\n", "interpreter `ruby`"),
            ("#!/opt/x\n", "interpreter `/opt/x`"),
            ("#!/bin/sh\r\n", "CR LF"),
            ("#!\n", "names no interpreter"),
            ("echo hello\n", "such as `#!/bin/sh`"),
            ("", "such as `#!/bin/sh`"),
        ] {
            match check_start("x", start.as_bytes(), &there) {
                Ok(()) => assert_eq!(part, "", "{start:?}"),
                Err(said) => assert!(!part.is_empty() && said.contains(part), "{start:?}: {said}"),
            }
        }
    }
}
