//! The code that only a start runs: it is let go of when the start is over.
//!
//! Arguments, settings, layouts of plugins and schemas are read by code from all over the binary, of which
//! the kernel maps 64 KiB wherever a byte is run: more than half of what an idle daemon had mapped. Must
//! never touch anything but code: what the loader has written into a library exists nowhere else.

use std::ops::Range;

/// Unmaps the pages of all code, of plugins too. They stay in the kernel's cache, which may use them for
/// something else from now on, and come back one by one as they are run.
pub(super) fn let_go() {
    for Range { start, end } in
        code(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default())
    {
        // SAFETY: the range is a private mapping of a file that is executable and cannot be written to, so
        // its pages are those of the file and are read again when they are touched. A library that is
        // closed in the middle leaves a range without mapping, which is an error and changes nothing; nobody
        // maps anything else executable.
        let _advice = unsafe {
            libc::madvise(
                start as *mut libc::c_void,
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            )
        };
    }
}

/// The code of files, in a list of mappings as the kernel writes it.
fn code(maps: &str) -> Vec<Range<usize>> {
    let read = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_code = words.next()? == "r-xp" && words.nth(3)?.starts_with('/');
        let address = |it: &str| usize::from_str_radix(it, 16).ok();
        is_code.then_some(address(start)?..address(end)?)
    };
    maps.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go_of() {
        let maps = "\
            5622d5000000-5622d5400000 r--p 00000000 fe:00 77                         /usr/bin/mortise\n\
            5622d5400000-5622d7900000 r-xp 00400000 fe:00 77                         /usr/bin/mortise\n\
            5622d7900000-5622d7a00000 r--p 02900000 fe:00 77                         /usr/bin/mortise\n\
            5622d7a00000-5622d7a06000 rw-p 02a00000 fe:00 77                         /usr/bin/mortise\n\
            5622d8000000-5622d8100000 rw-p 00000000 00:00 0                          [heap]\n\
            7f9680000000-7f9680021000 rwxp 00000000 00:00 0 \n\
            7f9680100000-7f9680200000 r-xp 00000000 00:00 0 \n\
            7f9686d40000-7f9686d90000 r-xp 00001000 fe:00 9 /lib/a b.so (deleted)\n\
            7fff73df0000-7fff73df2000 r-xp 00000000 00:00 0                          [vdso]\n";
        let expected = vec![0x5622_d540_0000..0x5622_d790_0000, 0x7f96_86d4_0000..0x7f96_86d9_0000];
        assert_eq!(code(maps), expected);
    }

    #[test]
    fn code_comes_back() {
        let_go();
        assert!(code(&std::fs::read_to_string("/proc/self/maps").unwrap()).len() > 1);
    }
}
