//! What a driver tells of its interface (`SIOCETHTOOL`, include/uapi/linux/ethtool.h).

use std::{io, net::UdpSocket, os::fd::AsRawFd as _};

const GET_DRIVER: u32 = 0x03;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_SET_INFO: u32 = 0x37;
const GET_TX_CHECKSUM: u32 = 0x16;
/// `ETH_SS_STATS`
const STATISTICS: u32 = 1;
/// `ETH_GSTRING_LEN`
const NAME: usize = 32;
/// `struct ethtool_drvinfo`
const DRIVER_INFO: usize = 196;

/// The name of the driver: `veth`.
///
/// # Errors
/// There is no such interface, or the driver does not say.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = words(GET_DRIVER, DRIVER_INFO / 4);
    ask(interface, &mut info)?;
    let bytes: Vec<u8> = info[1..=NAME / 4].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(text(&bytes))
}

/// Whether checksums of what is sent are left to the card.
///
/// # Errors
/// As [`driver`].
pub fn leaves_checksums(interface: &str) -> io::Result<bool> {
    let mut value = [GET_TX_CHECKSUM, 0];
    ask(interface, &mut value)?;
    Ok(value[1] != 0)
}

/// The sum of the driver's counters whose name ends so.
///
/// # Errors
/// As [`driver`].
pub fn counted(interface: &str, end: &str) -> io::Result<u64> {
    // struct ethtool_sset_info: command, reserved, mask of 64 bits, then a word for each set.
    let mut info = [GET_SET_INFO, 0, 1 << STATISTICS, 0, 0];
    ask(interface, &mut info)?;
    let count = info[4] as usize;
    let mut names = words(GET_STRINGS, 3 + count * NAME / 4);
    (names[1], names[2]) = (STATISTICS, count as u32);
    ask(interface, &mut names)?;
    let mut values = words(GET_STATISTICS, 2 + count * 2);
    values[1] = count as u32;
    ask(interface, &mut values)?;
    let names: Vec<u8> = names[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let values = values[2..].chunks_exact(2).map(|word| {
        let [low, high] = [word[0].to_ne_bytes(), word[1].to_ne_bytes()];
        u64::from_ne_bytes([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]])
    });
    Ok(names
        .chunks_exact(NAME)
        .zip(values)
        .filter(|(name, _)| text(name).ends_with(end))
        .map(|(_, n)| n)
        .sum())
}

fn words(command: u32, count: usize) -> Vec<u32> {
    let mut words = vec![0; count];
    words[0] = command;
    words
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// `struct ifreq` with a pointer in its union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    data: *mut u32,
    rest: [u64; 2],
}

/// The answer takes the place of the question, and is no longer.
fn ask(interface: &str, words: &mut [u32]) -> io::Result<()> {
    let mut name = [0; 16];
    let place = name.get_mut(..interface.len()).filter(|_| interface.len() < 16);
    place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(interface.as_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut request = Request { name, data: words.as_mut_ptr(), rest: [0; 2] };
    // SAFETY: the kernel reads a name that ends with zero, and reads and writes as many words behind the pointer as the command and the
    // counts in them say, which are there.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn r62_a_veth_tells_its_driver_and_counters() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            netlink.add_pair("eth0", "peer").await;
            assert_eq!(driver("eth0").unwrap(), "veth");
            assert!(leaves_checksums("eth0").unwrap());
            assert_eq!(counted("eth0", "xdp_tx_errors").unwrap(), 0);
            assert!(driver("eth9").is_err() && driver("a name that is far too long").is_err());
        });
    }
}
