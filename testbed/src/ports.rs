//! Free loopback ports that stay ours while the process behind them is down.
//!
//! Port 0 is the usual way, and has two traps here. The kernel's answer lies in the ephemeral range: while a broker is killed,
//! any outgoing connection may take its port, and a client that keeps dialling a dead ephemeral port of its own machine ends up
//! connected to itself and holds it. And between closing the probe and the child's bind another test bed may get the same
//! answer. So ports are taken below the ephemeral range, and each is leased by a locked file that all test beds of the user see.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::error::{Attempt, Error, Result};

/// Below it live the well-known services of a developer's machine (8080, 9092, …).
const LOWEST: u16 = 15_000;

/// A port of 127.0.0.1 that no other test bed of this user takes while this value lives. The kernel ends the lease with the
/// process.
#[derive(Debug)]
pub(crate) struct Lease {
    port: u16,
    _lock: File,
}

impl Lease {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A port on which nothing listens; `leases` is the directory of lock files.
    pub(crate) fn any(leases: &Path) -> Result<Self> {
        let (low, high) = range();
        let count = u32::from(high - low) + 1;
        // Any starting point will do as long as two processes begin at different ones; then one port after another.
        let start = std::process::id().wrapping_mul(7_919).wrapping_add(unique());
        for step in 0..count {
            let offset =
                u16::try_from(start.wrapping_add(step) % count).expect("an offset into a range of u16 is a u16");
            if let Some(lease) = Self::take(leases, low + offset)? {
                return Ok(lease);
            }
        }
        Err(Error::NoPort { low, high })
    }

    /// This very port.
    pub(crate) fn exactly(leases: &Path, port: u16) -> Result<Self> {
        Self::take(leases, port)?.ok_or(Error::PortInUse { port })
    }

    fn take(leases: &Path, port: u16) -> Result<Option<Self>> {
        fs::create_dir_all(leases).attempt(|| format!("make {}", leases.display()))?;
        let path = leases.join(port.to_string());
        let lock = File::create(&path).attempt(|| format!("open {}", path.display()))?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        // Closed at once: nobody has connected, so nothing lingers and the child can bind.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        Ok(free.then_some(Self { port, _lock: lock }))
    }
}

/// From [`LOWEST`] to the last port before the ephemeral range, or above that range where it begins too low.
fn range() -> (u16, u16) {
    let ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = ephemeral.split_ascii_whitespace().map_while(|word| word.parse::<u16>().ok());
    range_outside(bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999))
}

fn range_outside(first_ephemeral: u16, last_ephemeral: u16) -> (u16, u16) {
    const ENOUGH: u16 = 500;
    if first_ephemeral >= LOWEST + ENOUGH {
        (LOWEST, first_ephemeral - 1)
    } else if last_ephemeral <= u16::MAX - ENOUGH {
        (last_ephemeral + 1, u16::MAX)
    } else {
        // Nearly everything is ephemeral here: better a small risk than no test.
        (LOWEST, u16::MAX)
    }
}

/// A different number at each call, so that the threads of one process do not all try the same port first.
fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::tests::TestDirectory;

    #[test]
    fn a_leased_port_is_free_to_bind_and_not_leased_twice() {
        let directory = TestDirectory::new("ports");
        let first = Lease::any(directory.path()).unwrap();
        assert!(matches!(Lease::exactly(directory.path(), first.port()), Err(Error::PortInUse { .. })));
        TcpListener::bind((Ipv4Addr::LOCALHOST, first.port())).unwrap();

        let port = first.port();
        drop(first);
        assert_eq!(Lease::exactly(directory.path(), port).unwrap().port(), port);
    }

    #[test]
    fn a_port_on_which_something_listens_is_not_leased() {
        let directory = TestDirectory::new("ports");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(matches!(Lease::exactly(directory.path(), port), Err(Error::PortInUse { port: p }) if p == port));
    }

    #[test]
    fn many_leases_are_all_different_and_outside_the_ephemeral_range() {
        let directory = TestDirectory::new("ports");
        let leases: Vec<_> = (0..50).map(|_| Lease::any(directory.path()).unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = leases.iter().map(Lease::port).collect();
        assert_eq!(distinct.len(), 50);
        let (low, high) = range();
        assert!(distinct.iter().all(|port| (low..=high).contains(port)));
    }

    #[test]
    fn a_machine_whose_ephemeral_range_begins_low_gets_ports_above_it() {
        assert_eq!(range_outside(32_768, 60_999), (15_000, 32_767));
        assert_eq!(range_outside(1_024, 60_999), (61_000, 65_535));
        assert_eq!(range_outside(1_024, 65_535), (15_000, 65_535));
    }
}
