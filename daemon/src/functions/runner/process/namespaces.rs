//! Where a supervisor and its programs live: in namespaces of their own, or, where those are not to be
//! had, among the host's.
//!
//! In private namespaces a program sees a small root made of the system's programs and libraries, its
//! own version's folder and devices like `/dev/null`; a network whose only host is the proxy; and no
//! process but its own. That is a view only: what can be done with it is the sandbox's to say.
//! Nothing of this can be undone, and half of it is no place to be: [`Place::enter`] is tried in a
//! process that ends, before a supervisor does it.

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::functions::sandbox;

/// Where the folder of the version is in a private root.
const FOLDER: &str = "/snap-in";
/// Nobody: whom programs run as when the daemon runs as root. The limit of processes does not bind
/// root, and root's files are not theirs.
const NOBODY: u32 = 65534;

/// Where a supervisor and its programs live.
pub(super) enum Place {
    /// In namespaces of their own. The proxy listens on the only network that is there.
    Private { listener: TcpListener },
    /// Among the host's processes, without a network.
    Shared { signals_are_scoped: bool },
}

/// Which place is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Private,
    Shared,
}

impl Place {
    /// Goes there, for good, and into the folder of the version.
    pub(super) fn enter(wish: Wish, folder: &Path) -> Result<Place, String> {
        // Folders that are made here are for a user who may be another one.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let place = match wish {
            Wish::Private => enter_private(folder)?,
            Wish::Shared => enter_shared(folder)?,
        };
        // Changes of users and namespaces have undone both.
        tie_to_parent().map_err(|error| format!("tying to the parent: {error}"))?;
        let hidden = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(hidden)
            .map_err(|error| format!("hiding memory: {error}"))?;
        Ok(place)
    }

    /// For one run: how many others of its user there are changes.
    pub(super) fn surroundings(&self) -> sandbox::process::Surroundings {
        use sandbox::process::Surroundings;
        match *self {
            Place::Private { .. } => Surroundings::Private,
            Place::Shared { signals_are_scoped } => Surroundings::Shared {
                processes_of_user: processes_of(rustix::process::getuid().as_raw()),
                signals_are_scoped,
            },
        }
    }

    pub(super) fn is_private(&self) -> bool {
        match self {
            Place::Private { .. } => true,
            Place::Shared { .. } => false,
        }
    }
}

fn tie_to_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn enter_shared(folder: &Path) -> Result<Place, String> {
    // The folder is held as the current one: another user may not be able to go there.
    std::env::set_current_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if is_root() {
        become_nobody()?;
    }
    Ok(Place::Shared { signals_are_scoped: sandbox::signals_can_be_scoped() })
}

fn enter_private(folder: &Path) -> Result<Place, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let without_mounts =
        libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // After the root has changed there is no other way there.
    let own_entry = open_path(Path::new("/proc/self")).map_err(failed("/proc/self"))?;
    if is_root() {
        unshare(libc::CLONE_NEWNS).map_err(failed("own mounts"))?;
        make_root(folder)?;
        become_nobody()?;
        let itself = Itself::now();
        unshare(without_mounts).map_err(failed("own users and network"))?;
        map_users(&own_entry, itself).map_err(failed("own users"))?;
    } else {
        let itself = Itself::now();
        unshare(without_mounts | libc::CLONE_NEWNS).map_err(failed("own users and mounts"))?;
        map_users(&own_entry, itself).map_err(failed("own users"))?;
        make_root(folder)?;
    }
    std::env::set_current_dir(FOLDER).map_err(failed("the folder"))?;
    bring_loopback_up().map_err(failed("own network"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("own network"))?;
    listener.set_nonblocking(true).map_err(failed("own network"))?;
    Ok(Place::Private { listener })
}

fn become_nobody() -> Result<(), String> {
    let check = |result: i32| match result {
        0 => Ok(()),
        _ => Err(format!("becoming user {NOBODY}: {}", io::Error::last_os_error())),
    };
    // SAFETY: plain numbers and an empty list; the process has one thread.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
    }
    // Its own entries in /proc are root's otherwise.
    let visible = rustix::process::DumpableBehavior::Dumpable;
    rustix::process::set_dumpable_behavior(visible).map_err(|error| format!("own /proc: {error}"))
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: affects this process only, which has one thread and no descriptor that it would lose.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Who this process is. In a new namespace of users it is nobody until that is written down.
#[derive(Clone, Copy)]
struct Itself {
    user: u32,
    group: u32,
}

impl Itself {
    fn now() -> Itself {
        Itself {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }
}

/// This user is itself, and there is nobody else.
fn map_users(own_entry: &OwnedFd, Itself { user, group }: Itself) -> io::Result<()> {
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{user} {user} 1")),
        ("gid_map", format!("{group} {group} 1")),
    ] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(own_entry, file, flags, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes())?;
    }
    Ok(())
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a small root, and leaves the old one.
fn make_root(folder: &Path) -> Result<(), String> {
    /// Below it the root is made; it exists everywhere, and is covered already.
    const STAGE: &str = "/tmp";
    let failed = |path: &Path, error: io::Error| format!("own root: {}: {error}", path.display());
    let root = Path::new("/");
    let stage = Path::new(STAGE);
    // What happens here must not happen outside.
    mount(None, root, None, libc::MS_REC | libc::MS_PRIVATE, None)
        .map_err(|error| failed(root, error))?;
    // Held before the stage covers what may be below it.
    let mut parts: Vec<(PathBuf, PathBuf, Part)> = Vec::new();
    let system = sandbox::process::SYSTEM.iter().map(|(path, _)| PathBuf::from(path));
    for path in system.chain(sandbox::process::settings_of_interpreters()) {
        let Some(part) = Part::of(&path) else { continue };
        parts.push((path.clone(), path, part));
    }
    let held = open_path(folder).map_err(|error| failed(folder, error))?;
    parts.push((folder.to_owned(), PathBuf::from(FOLDER), Part::Folder(held)));
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    mount(Some("tmpfs"), stage, Some("tmpfs"), flags, Some("size=1m,nr_inodes=512,mode=755"))
        .map_err(|error| failed(stage, error))?;
    for (source, target, part) in parts {
        let target = stage.join(target.strip_prefix("/").unwrap_or(&target));
        part.put(&target).map_err(|error| failed(&source, error))?;
    }
    let temporary = stage.join("tmp");
    std::fs::create_dir(&temporary).map_err(|error| failed(&temporary, error))?;
    std::env::set_current_dir(stage).map_err(|error| failed(stage, error))?;
    // SAFETY: two strings that live through the call. The old root ends up over the new one, and
    // is taken off it.
    let changed = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    if changed != 0 {
        return Err(failed(root, io::Error::last_os_error()));
    }
    // SAFETY: as before.
    if unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) } != 0 {
        return Err(failed(root, io::Error::last_os_error()));
    }
    std::env::set_current_dir(root).map_err(|error| failed(root, error))?;
    let flags = flags | libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
    mount(None, root, None, flags, None).map_err(|error| failed(root, error))
}

/// A piece of a private root.
enum Part {
    Folder(OwnedFd),
    File(OwnedFd),
    /// Where a name of the system has moved to, such as `usr/bin` for `/bin`.
    Link(PathBuf),
}

impl Part {
    fn of(path: &Path) -> Option<Part> {
        let link = std::fs::read_link(path).ok();
        if let Some(target) = link.filter(|it| it.starts_with("usr")) {
            return Some(Part::Link(target));
        }
        let held = open_path(path).ok()?;
        Some(if path.is_dir() { Part::Folder(held) } else { Part::File(held) })
    }

    fn put(&self, target: &Path) -> io::Result<()> {
        let make =
            |path: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
        if let Some(parent) = target.parent() {
            make(parent)?;
        }
        let held = match self {
            Part::Link(to) => return std::os::unix::fs::symlink(to, target),
            Part::Folder(held) => {
                make(target)?;
                held
            }
            Part::File(held) => {
                std::fs::write(target, b"")?;
                held
            }
        };
        let source = format!("/proc/self/fd/{}", held.as_raw_fd());
        mount(Some(&source), target, None, libc::MS_BIND | libc::MS_REC, None)?;
        // The user may own what is there, such as the folder that later runs start from. What the
        // host has taken from a mount stays taken.
        let kept = rustix::fs::statvfs(target)?.f_flag.bits()
            & (libc::ST_NOSUID | libc::ST_NODEV | libc::ST_NOEXEC);
        mount(None, target, None, libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | kept, None)
    }
}

/// An empty `/tmp` of this process's mounts, which goes with them.
pub(super) fn mount_temporary() -> io::Result<()> {
    let bytes = sandbox::process::MOST_TEMPORARY_BYTES;
    let options = format!("size={bytes},nr_inodes=4096,mode=1777");
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    mount(Some("tmpfs"), Path::new("/tmp"), Some("tmpfs"), flags, Some(&options))
}

fn mount(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
) -> io::Result<()> {
    let text = |it: &str| CString::new(it).map_err(io::Error::from);
    let source = source.map(text).transpose()?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    let kind = kind.map(text).transpose()?;
    let options = options.map(text).transpose()?;
    let pointer = |it: &Option<CString>| it.as_ref().map_or(std::ptr::null(), |it| it.as_ptr());
    // SAFETY: strings that live through the call, or null where that is allowed.
    let result = unsafe {
        libc::mount(
            pointer(&source),
            target.as_ptr(),
            pointer(&kind),
            flags,
            pointer(&options).cast(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bring_loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all zeroes is a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
    // SAFETY: a request of the right form, which lives through the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many processes and threads a user has.
fn processes_of(user: u32) -> u64 {
    let seen = seen_processes_of(user);
    // Where others are hidden (ProtectProc), the user's own may be as well; the service's group knows
    // of all that are in it.
    if Path::new("/proc/1").exists() { seen } else { seen.max(processes_of_service()) }
}

fn processes_of_service() -> u64 {
    let count = || {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|it| it.strip_prefix("0::/"))?;
        let file = Path::new("/sys/fs/cgroup").join(own).join("pids.current");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    count().unwrap_or_default()
}

fn seen_processes_of(user: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let statuses = entries
        .filter_map(Result::ok)
        .filter(|it| it.file_name().to_str().is_some_and(|it| it.parse::<u32>().is_ok()))
        .filter_map(|it| std::fs::read_to_string(it.path().join("status")).ok());
    statuses.filter_map(|it| threads_of(&it, user)).sum()
}

/// The number of threads in a `/proc/PID/status`, if it is the user's.
fn threads_of(status: &str, user: u32) -> Option<u64> {
    let field = |name: &str| status.lines().find_map(|it| it.strip_prefix(name));
    let owner = field("Uid:")?.split_whitespace().next()?.parse::<u32>().ok()?;
    (owner == user).then(|| field("Threads:")?.trim().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_for_their_user() {
        let status = "Name:\tx\nUid:\t1000\t0\t0\t0\nThreads:\t7\n";
        assert_eq!(threads_of(status, 1000), Some(7));
        assert_eq!(threads_of(status, 0), None);
        assert_eq!(threads_of("Name:\tx\n", 0), None);
        assert!(processes_of(rustix::process::getuid().as_raw()) > 0);
    }
}
