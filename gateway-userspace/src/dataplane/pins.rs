//! What outlives the process: maps and links in `/sys/fs/bpf/gateway/<service>/<piece>/`, readable for their owner alone.
//!
//! | name | what |
//! |---|---|
//! | the map's | a map with what the next process needs: `Kept` |
//! | `next-<program id>` | the programs that this one goes on with: a map of programs is emptied with its last user |
//! | `next-<program id>-<n>` | the same in the hands of the `n`th process after the one that loaded the program |
//! | `link-<interface>-<mode>` | what attaches the program; to remove it detaches. Of TC `in` and `out` |
//!
//! The folder is locked by whoever changes what is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::maps::{MapInfo, MapType};
use gateway_ebpf::{
    decap,
    layout::{Blocks, FRAGMENT_LINES, INSTANCES, INTERFACES, NOTE_LINES, NOTES, REASONS, SCOPES, Traffic},
    limit, note,
    snat::layout as snat,
    tables::ANSWERED,
};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};

use super::{Error, XdpMode, held};
use crate::net::namespace;

const BPFFS: &str = "/sys/fs/bpf";
const ROOT: &str = "/sys/fs/bpf/gateway";

/// Whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Of `gateway balance`.
    Balancer,
    /// Of an instance: the end of the balancers' tunnels.
    Tunnels,
    /// Of an instance: source NAT.
    Snat,
}

impl Piece {
    /// All.
    pub const ALL: [Self; 3] = [Self::Balancer, Self::Tunnels, Self::Snat];

    const fn name(self) -> &'static str {
        match self {
            Self::Balancer => "balancer",
            Self::Tunnels => "tunnels",
            Self::Snat => "snat",
        }
    }

    pub(super) const fn kept(self) -> &'static [Kept] {
        match self {
            Self::Balancer => &BALANCER,
            Self::Tunnels => &TUNNELS,
            Self::Snat => &SNAT,
        }
    }
}

/// A map that is pinned, as it has to be.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: &'static str,
    kind: MapType,
    value: usize,
    entries: u32,
}

const fn kept(name: &'static str, kind: MapType, value: usize, entries: u32) -> Kept {
    Kept { name, kind, value, entries }
}

const TABLES: Kept = kept("TABLES", MapType::Array, size_of::<Blocks>(), 1);
const PORTS: Kept = kept("PORTS", MapType::DevMap, 8, INTERFACES);
const SERVICES: Kept = kept("SERVICE_TRAFFIC", MapType::PerCpuArray, size_of::<Traffic>(), SCOPES);
const BY_INSTANCE: Kept = kept("INSTANCE_TRAFFIC", MapType::PerCpuArray, size_of::<Traffic>(), INSTANCES);
const DROPS: Kept = kept("DROPS", MapType::PerCpuArray, 8, SCOPES * REASONS);

const BALANCER: [Kept; 10] = [
    TABLES,
    PORTS,
    SERVICES,
    BY_INSTANCE,
    DROPS,
    kept("TRANSITIONS", MapType::Array, 8 * NOTES, NOTE_LINES),
    kept("FRAGMENTS", MapType::Array, 8 * NOTES, FRAGMENT_LINES),
    kept("SETTLED", MapType::PerCpuArray, 8, note::Settled::COUNT),
    kept("ANSWERS", MapType::PerCpuArray, 8, ANSWERED),
    kept("ALLOWANCES", MapType::PerCpuArray, 8, limit::BUCKETS),
];
const TUNNELS: [Kept; 7] = [
    TABLES,
    PORTS,
    SERVICES,
    BY_INSTANCE,
    DROPS,
    kept("NEWEST", MapType::Array, 8, 1),
    kept("SETTLED_HERE", MapType::PerCpuArray, 8, decap::Settled::ALL.len() as u32),
];

const SNAT: [Kept; 6] = [
    kept("SNAT_TABLE", MapType::Array, size_of::<snat::Halves>(), 1),
    kept("SNAT_FORWARD", MapType::Hash, size_of::<snat::Entry>(), snat::FLOWS),
    kept("SNAT_REVERSE", MapType::Hash, size_of::<snat::Entry>(), snat::FLOWS),
    kept("SNAT_COUNTS", MapType::PerCpuArray, 8, snat::COUNTS),
    kept("SNAT_DROPS", MapType::PerCpuArray, 8, REASONS),
    kept("SNAT_EXHAUSTED", MapType::LruHash, 8, snat::EXHAUSTED),
];

/// Where at an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    /// Before the host's stack, in whatever mode.
    Xdp,
    /// TC, at what comes.
    In,
    /// TC, at what leaves.
    Out,
}

/// A program that is attached to an interface by a pinned link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) mode: XdpMode,
    program: u32,
}

/// A piece's folder. What was made new, and not settled, is gone when this is dropped.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    pub(super) piece: Piece,
    /// By interface: the program is at work there.
    pub(super) links: BTreeMap<(u32, Hook), Link>,
    /// Nobody else changes what is in the folder.
    lock: Option<File>,
    is_new: bool,
    /// What this process's program goes on with, by whose name the process is told from those before and after it.
    own: PathBuf,
    /// Its name with the process before, where that one's program is kept.
    inherited: Option<PathBuf>,
    /// What is in the folder is in use by packets.
    is_at_work: bool,
}

impl Pins {
    /// What a service has pinned. What is left of namespaces and interfaces that are gone is cleared away.
    ///
    /// # Errors
    /// There is no bpffs; pins that are not ours, or do not fit.
    pub fn open(service: &str, piece: Piece) -> Result<Self, Error> {
        mounted()?;
        sweep();
        let of_service = Path::new(ROOT).join(scoped(service)?);
        let folder = of_service.join(piece.name());
        let lock = loop {
            for (path, mode) in [(Path::new(ROOT), 0o755), (&of_service, 0o700), (&folder, 0o700)] {
                match DirBuilder::new().mode(mode).create(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(path)(error));
                    }
                    _ => {}
                }
            }
            // The last one out removes the folders, perhaps just now.
            if let Some(lock) = locked(&folder)? {
                break lock;
            }
        };
        owned(Path::new(ROOT), 0o022)?;
        owned(&of_service, 0o077)?;
        owned(&folder, 0o077)?;
        let links = living(&folder)?;
        let own = PathBuf::new();
        let mut pins = Self {
            folder,
            piece,
            links,
            lock: Some(lock),
            is_new: false,
            own,
            inherited: None,
            is_at_work: false,
        };
        if pins.links.is_empty() {
            clear(&pins.folder).map_err(failed(&pins.folder))?;
            pins.is_new = true;
        } else {
            pins.check()?;
        }
        Ok(pins)
    }

    /// A program is at work.
    pub fn is_alive(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether this is the program of this piece on an interface.
    pub fn is_ours(&self, interface: u32, program: u32) -> bool {
        self.links.get(&(interface, Hook::Xdp)).is_some_and(|link| link.program == program)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where to pin what a program that was just loaded goes on with.
    pub(super) fn begin(&mut self, program: u32) -> &Path {
        self.own = self.folder.join(format!("next-{program}"));
        &self.own
    }

    /// Goes on with the program that is at work, and says which that is.
    pub(super) fn inherit(&mut self) -> Result<u32, Error> {
        let links = self.links.iter().filter(|((_, hook), _)| *hook != Hook::In);
        let programs: BTreeSet<u32> = links.map(|(_, link)| link.program).collect();
        // Two: somebody was killed between one interface and the other. That is for a process to mend that can load another.
        let [program] = programs.into_iter().collect::<Vec<_>>()[..] else { return Err(Error::Inherit) };
        let known = entries(&self.folder).map_err(failed(&self.folder))?;
        let known = known.into_iter().find_map(|path| Some((hand(named(&path), program)?, path)));
        let (hand, path) = known.ok_or_else(|| self.foreign(&format!("next-{program}")))?;
        self.own = self.folder.join(format!("next-{program}-{}", hand + 1));
        self.inherited = Some(path);
        Ok(program)
    }

    /// From here on packets go by this process's program.
    pub(super) fn set_at_work(&mut self) {
        self.is_at_work = true;
    }

    pub(super) fn xdp_link(&self, interface: u32, mode: XdpMode) -> PathBuf {
        let mode = match mode {
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        };
        self.folder.join(format!("link-{interface}-{mode}"))
    }

    /// Of TC.
    pub(super) fn link(&self, interface: u32, hook: Hook) -> PathBuf {
        let hook = if hook == Hook::In { "in" } else { "out" };
        self.folder.join(format!("link-{interface}-{hook}"))
    }

    /// Maps of other sizes, or other things under their names.
    fn check(&self) -> Result<(), Error> {
        for Kept { name, kind, value, entries } in self.piece.kept() {
            let path = self.path(name);
            let info = MapInfo::from_pin(&path).map_err(|_| self.foreign(name))?;
            // The kernel keeps 15 bytes of a name.
            let is_named = info.name_as_str().is_some_and(|known| name.starts_with(known));
            if !is_named || info.map_type().is_ok_and(|known| known != *kind) {
                return Err(self.foreign(name));
            }
            if (info.value_size() as usize, info.max_entries()) != (*value, *entries) {
                return Err(self.layout());
            }
        }
        Ok(())
    }

    fn foreign(&self, name: &str) -> Error {
        Error::Foreign { path: self.path(name).display().to_string() }
    }

    pub(super) fn layout(&self) -> Error {
        Error::Layout { folder: self.folder.display().to_string() }
    }

    /// From here on all of it stays, but for links to other interfaces and for what other programs went on with. These are at no
    /// packet any more.
    pub(super) fn settle(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), Error> {
        let _guard = self.guard()?;
        for ((interface, _), link) in &self.links {
            if !interfaces.contains(interface) {
                fs::remove_file(&link.path).map_err(failed(&link.path))?;
            }
        }
        if let Some(path) = self.inherited.take() {
            fs::rename(&path, &self.own).map_err(failed(&path))?;
        }
        for path in entries(&self.folder).map_err(failed(&self.folder))? {
            if named(&path).starts_with("next-") && path != self.own {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        (self.is_new, self.lock) = (false, None);
        Ok(())
    }

    /// An interface is gone: its link attaches nothing any more.
    pub(super) fn forget(&mut self, interface: u32) -> Result<(), Error> {
        let _guard = self.guard()?;
        self.links.retain(|(known, _), _| *known != interface);
        let by_xdp = [XdpMode::Native, XdpMode::Generic].map(|mode| self.xdp_link(interface, mode));
        for path in by_xdp.into_iter().chain([Hook::In, Hook::Out].map(|hook| self.link(interface, hook))) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// For a change of what is in the maps: nobody else makes one while this is held. An error: another process has them now.
    pub(super) fn guard(&self) -> Result<Option<File>, Error> {
        if self.lock.is_some() {
            return Ok(None);
        }
        let lock = locked(&self.folder)?.ok_or(Error::TakenOver)?;
        if self.own.exists() { Ok(Some(lock)) } else { Err(Error::TakenOver) }
    }

    /// Detaches: the links first. What a successor has taken over is its own.
    pub(super) fn remove(&mut self) -> Result<(), Error> {
        let _guard = match self.guard() {
            Err(Error::TakenOver) => return Ok(()),
            guard => guard?,
        };
        self.is_new = false;
        remove(&self.folder).map_err(failed(&self.folder))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.is_new
            && let Err(error) = self.remove()
        {
            log::error!("left behind, for `gateway detach` to remove: {error}");
        }
        // A start that went no further: the next one would clear it away, and until then its programs took memory.
        let is_unused = self.lock.is_some() && !self.is_at_work && self.inherited.is_none();
        if is_unused && self.own.exists() {
            fs::remove_file(&self.own).ok();
        }
    }
}

/// Detaches what a service has pinned in this namespace, whoever pinned it. True if there was something.
///
/// # Errors
/// It cannot be removed.
pub fn detach(service: &str, piece: Piece) -> Result<bool, Error> {
    let folder = Path::new(ROOT).join(scoped(service)?).join(piece.name());
    let Some(_lock) = locked(&folder)? else { return Ok(false) };
    remove(&folder).map_err(failed(&folder))?;
    Ok(true)
}

/// The folder of a piece whose program is at work here. Nothing is locked, cleared away or made.
pub(super) fn at_work(service: &str, piece: Piece) -> Result<Option<PathBuf>, Error> {
    let folder = Path::new(ROOT).join(scoped(service)?).join(piece.name());
    let paths = match entries(&folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&folder)(error)),
    };
    let is_attached = paths.iter().any(|path| named(path).starts_with("link-"));
    Ok(is_attached.then_some(folder))
}

/// The programs of XDP that a service has attached here, by interface. Nothing is locked, cleared away or made.
///
/// # Errors
/// No permission.
pub fn programs(service: &str, piece: Piece) -> Result<BTreeMap<u32, u32>, Error> {
    let Some(folder) = at_work(service, piece)? else { return Ok(BTreeMap::new()) };
    let paths = entries(&folder).map_err(failed(&folder))?;
    let links = paths.into_iter().filter(|path| named(path).starts_with("link-"));
    // One that goes away meanwhile attaches nothing any more.
    Ok(links
        .filter_map(|path| held::link(&path).ok())
        .map(|about| (about.interface, about.program))
        .collect())
}

/// A bpffs is mounted by the host's init; where it is not, here. But never in a mount namespace of this process's own, with which
/// it, and all that is pinned, would go away. It stays mounted, as init would have left it.
fn mounted() -> Result<(), Error> {
    let is_there = || statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
    if is_there() {
        return Ok(());
    }
    if !is_hosts_namespace() {
        return Err(Error::NoBpffs);
    }
    // Two at once would lie one upon the other.
    let folder = File::open(BPFFS).map_err(|_| Error::NoBpffs)?;
    folder.lock().map_err(failed(Path::new(BPFFS)))?;
    if is_there() {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=700")).map_err(|_| Error::NoBpffs)?;
    log::info!("mounted bpffs at {BPFFS}");
    Ok(())
}

/// Whether the mount namespace is that of process 1.
fn is_hosts_namespace() -> bool {
    /// `MNT_NS_INIT_INO` of the kernel's `linux/nsfs.h` (6.18), for those who may not look at process 1.
    const FIRST: u64 = 0xefff_fff8;
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/mnt")).map(|about| about.ino());
    namespace("self").is_ok_and(|own| own == FIRST || namespace("1").is_ok_and(|first| first == own))
}

fn scoped(service: &str) -> Result<String, Error> {
    namespace::scoped(service).map_err(|error| Error::Namespace(Box::new(error)))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Permission(Box::new(source)),
        _ => Error::Pins { path, source },
    }
}

/// The folder, locked, once it is sure to be there; none if it is not.
fn locked(folder: &Path) -> Result<Option<File>, Error> {
    let file = match File::open(folder) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(folder)(error)),
    };
    file.lock().map_err(failed(folder))?;
    let inode = file.metadata().map_err(failed(folder))?.ino();
    Ok(fs::metadata(folder).is_ok_and(|named| named.ino() == inode).then_some(file))
}

/// A folder of this user, that others cannot change.
fn owned(folder: &Path, others: u32) -> Result<(), Error> {
    let foreign = || Error::Foreign { path: folder.display().to_string() };
    let about = fs::symlink_metadata(folder).map_err(failed(folder))?;
    let is_owner = about.uid() == geteuid().as_raw() || about.uid() == 0;
    if about.is_dir() && is_owner && about.mode() & others == 0 { Ok(()) } else { Err(foreign()) }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// How many processes have had a program since it was loaded, by the name of what it goes on with.
fn hand(name: &str, program: u32) -> Option<u32> {
    match name.strip_prefix("next-")?.strip_prefix(&program.to_string())? {
        "" => Some(0),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

fn named(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The links whose interface is there. Others attach nothing any more.
fn living(folder: &Path) -> Result<BTreeMap<(u32, Hook), Link>, Error> {
    let mut links = BTreeMap::new();
    for path in entries(folder).map_err(failed(folder))? {
        let Some(rest) = named(&path).strip_prefix("link-") else { continue };
        let mode = if rest.ends_with("-native") { XdpMode::Native } else { XdpMode::Generic };
        let about = held::link(&path).map_err(failed(&path))?;
        if about.interface == 0 {
            fs::remove_file(&path).map_err(failed(&path))?;
        } else {
            let hook = match rest.rsplit_once('-') {
                Some((_, "in")) => Hook::In,
                Some((_, "out")) => Hook::Out,
                _ => Hook::Xdp,
            };
            links.insert((about.interface, hook), Link { path, mode, program: about.program });
        }
    }
    Ok(links)
}

/// Links first: packets pass as if nothing were there, before anything that the program needs is gone.
fn clear(folder: &Path) -> io::Result<()> {
    let (links, others): (Vec<_>, Vec<_>) =
        entries(folder)?.into_iter().partition(|path| named(path).starts_with("link-"));
    links.iter().chain(&others).try_for_each(fs::remove_file)
}

/// The folder, and those above it that are empty then.
fn remove(folder: &Path) -> io::Result<()> {
    clear(folder)?;
    fs::remove_dir(folder)?;
    for above in folder.ancestors().skip(1).take(2) {
        if fs::remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Clears away what serves nobody: an interface or a namespace went with the program on it, and its owner was killed. What
/// cannot be cleared is not in anybody's way.
fn sweep() {
    let services = entries(Path::new(ROOT)).unwrap_or_default();
    for folder in services.iter().flat_map(|service| entries(service).unwrap_or_default()) {
        let Ok(lock) = File::open(&folder) else { continue };
        match lock.try_lock() {
            Ok(()) => {}
            // Somebody is at it.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => continue,
        }
        if living(&folder).is_ok_and(|links| links.is_empty()) {
            remove(&folder).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_what_a_program_goes_on_with_tells_whose_it_is() {
        for (name, expected) in [
            ("next-53", Some(0)),
            ("next-53-1", Some(1)),
            ("next-53-12", Some(12)),
            ("next-531", None),
            ("next-5", None),
            ("next-53-", None),
            ("link-53-native", None),
        ] {
            assert_eq!(hand(name, 53), expected, "{name}");
        }
    }
}
