//! A wall clock that tests can set. Preloaded into the daemon, it stands in for libc's `clock_gettime`:
//! the real-time clock shows the machine's time and so many milliseconds more as eight bytes of a file
//! say, which the test maps and changes. All other clocks are left alone, as they are when somebody sets
//! a machine's clock. Must never be part of what is shipped.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

/// Names the file.
const FILE: &std::ffi::CStr = c"MORTISE_TEST_CLOCK";
const NANOSECONDS: i64 = 1_000_000_000;

/// Where the milliseconds are; nothing when there is no such file.
fn offset() -> Option<&'static AtomicI64> {
    static OFFSET: OnceLock<Option<&'static AtomicI64>> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        // SAFETY: the name ends with a zero, and nobody here changes the environment.
        let path = unsafe { libc::getenv(FILE.as_ptr()) };
        if path.is_null() {
            return None;
        }
        // SAFETY: the path is a text that ends with a zero, as all of the environment are.
        let file = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
        if file < 0 {
            return None;
        }
        let (length, flags) = (size_of::<AtomicI64>(), libc::MAP_SHARED);
        // SAFETY: a mapping of its own, of a file that is open.
        let map =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, flags, file, 0) };
        if map == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: it is mapped for ever, begins on a page, and is only ever read here.
        Some(unsafe { &*map.cast::<AtomicI64>() })
    })
}

/// What libc has under this name, with another wall clock.
///
/// # Safety
///
/// As of libc's: `time` is null, or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: the kernel looks at the address itself. The name is ours, so it is asked directly.
    let answer = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if answer == 0
        && clock == libc::CLOCK_REALTIME
        && let Some(offset) = offset()
    {
        let ms = offset.load(Ordering::SeqCst);
        // SAFETY: the kernel has just written to it.
        let time = unsafe { &mut *time };
        let nanoseconds = time.tv_nsec + ms.rem_euclid(1_000) * 1_000_000;
        time.tv_sec += ms.div_euclid(1_000) + nanoseconds / NANOSECONDS;
        time.tv_nsec = nanoseconds % NANOSECONDS;
    }
    if answer == 0 { 0 } else { -1 }
}
