//! A guest: another Linux kernel with one test executable in it. What its init and the program that boots it agree on.
//!
//! `cargo xtask test --kernel` writes the initramfs and reads the console; `tests/src/bin/guest-init.rs` is the init.

/// Where the initramfs has the init.
pub const INIT: &str = "/init";
/// Where the initramfs has the test executable. Its arguments are init's own.
pub const TESTS: &str = "/tests";
/// What init reports when it could not even start the tests.
pub const NOT_STARTED: u8 = 125;

const RUNS: &str = "guest: running on Linux ";
const ENDED: &str = "guest: tests ended with ";

/// The line that says that init has begun, on which kernel release.
pub fn runs_line(release: &str) -> String {
    format!("{RUNS}{release}")
}

/// The kernel's release, of a line made by [`runs_line`].
pub fn release_of(line: &str) -> Option<&str> {
    Some(line[line.find(RUNS)?..].strip_prefix(RUNS)?.trim())
}

/// The line that says how the tests ended: an exit code as shells give it, 128 and more for a signal.
pub fn ended_line(code: u8) -> String {
    format!("{ENDED}{code}.")
}

/// The exit code, of a line made by [`ended_line`]. The kernel writes to the same console, so something may stand before
/// and after it; half a line is none.
pub fn code_of(line: &str) -> Option<u8> {
    let (_, rest) = line.split_once(ENDED)?;
    let (code, _) = rest.split_once('.')?;
    code.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_comes_back_from_its_line() {
        for code in [0, 101, 139] {
            assert_eq!(code_of(&ended_line(code)), Some(code));
        }
        assert_eq!(code_of(&format!("[ 1.0] x: {}\r", ended_line(101))), Some(101));
    }

    #[test]
    fn what_is_no_whole_line_is_no_exit_code() {
        let line = ended_line(101);
        assert_eq!(code_of(&line[..line.len() - 1]), None);
        assert_eq!(code_of("test result: ok. 3 passed"), None);
        assert_eq!(code_of("guest: tests ended with 256."), None);
    }

    #[test]
    fn a_release_comes_back_from_its_line() {
        assert_eq!(release_of(&runs_line("6.1.0-56-cloud-amd64")), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(release_of("running on Linux"), None);
    }
}
