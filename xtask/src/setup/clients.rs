//! Programs of the distribution that tests and the lab run.

use anyhow::{Result, bail};

use super::{Setup, apt};

/// A program, the package that has it, and who runs it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    pub(super) what_for: &'static str,
}

const CLIENTS: &[Client] = &[
    Client { program: "ip", package: "iproute2", what_for: "the lab's namespaces, links and addresses" },
    Client {
        program: "ethtool",
        package: "ethtool",
        what_for: "the lab's links: checksums that XDP can forward",
    },
    Client { program: "curl", package: "curl", what_for: "requests as clients make them" },
    Client { program: "ping", package: "iputils-ping", what_for: "echo requests as clients make them" },
    Client { program: "openssl", package: "openssl", what_for: "TLS handshakes as clients make them" },
    Client {
        program: "h2load",
        package: "nghttp2-client",
        what_for: "busy clients while a proxy is restarted",
    },
    Client { program: "dig", package: "bind9-dnsutils", what_for: "DNS questions as clients ask them" },
    Client { program: "named", package: "bind9", what_for: "BIND, which loads what `dns zone` prints" },
    Client {
        program: "named-checkzone",
        package: "bind9-utils",
        what_for: "BIND's own judgement of zone files",
    },
    Client {
        program: "dnsmasq",
        package: "dnsmasq-base",
        what_for: "a resolver that loads what `dns zone` prints",
    },
    Client {
        program: "unbound",
        package: "unbound",
        what_for: "a resolver that loads a response policy zone",
    },
    Client { program: "slowhttptest", package: "slowhttptest", what_for: "clients that are slow on purpose" },
    Client {
        program: "unshare",
        package: "util-linux",
        what_for: "names for clients that resolve them themselves",
    },
    Client { program: "strace", package: "strace", what_for: "faults in the middle of an apply" },
];

/// What looks at the overview as a person does; with all that they need they are larger than all others together, so only tests
/// bring them.
pub(super) const BROWSER: &[Client] = &[
    Client { program: "chromium", package: "chromium", what_for: "a browser that looks at the overview" },
    Client { program: "chromedriver", package: "chromium-driver", what_for: "what drives the browser" },
];

/// What gateway is compared with; only `cargo xtask bench forwarding` brings it.
pub(crate) const PEERS: &[Client] = &[
    Client { program: "nft", package: "nftables", what_for: "DNAT in the kernel, to compare with" },
    Client { program: "haproxy", package: "haproxy", what_for: "a balancer in user space, to compare with" },
];

/// What source NAT is compared with; only `cargo xtask bench snat` brings it.
pub(crate) const MASQUERADE: &[Client] =
    &[Client { program: "nft", package: "nftables", what_for: "masquerade in the kernel, to compare with" }];

/// What the proxy is compared with, and what loads them; only `cargo xtask bench proxy` brings them.
pub(crate) const PROXIES: &[Client] = &[
    Client {
        program: "nginx",
        package: "nginx-light",
        what_for: "a proxy to compare with, and the upstream",
    },
    Client { program: "haproxy", package: "haproxy", what_for: "a proxy to compare with" },
    Client { program: "wrk", package: "wrk", what_for: "requests as fast as they are answered" },
    Client { program: "h2load", package: "nghttp2-client", what_for: "requests over HTTP/2, and at a rate" },
    Client { program: "taskset", package: "util-linux", what_for: "a core for each" },
];

/// What asks name servers as fast as they answer; only `cargo xtask bench dns` brings it.
pub(crate) const QUESTIONS: &[Client] = &[
    Client { program: "dnsperf", package: "dnsperf", what_for: "DNS questions as fast as they are answered" },
    Client { program: "taskset", package: "util-linux", what_for: "a core for each" },
];

/// Brings those that tests and the lab run.
pub(super) fn ensure(setup: &mut Setup) -> Result<()> {
    bring(setup, CLIENTS)
}

/// Brings those of `clients` that are not on the path.
pub(super) fn bring(setup: &mut Setup, clients: &[Client]) -> Result<()> {
    let missing: Vec<&Client> = clients.iter().filter(|client| !is_on_path(client.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::is_here() {
        let list: Vec<_> = missing.iter().map(|c| format!("{} ({})", c.program, c.what_for)).collect();
        bail!(
            "these programs are missing, and this is not Debian: {}; next step: install them",
            list.join(", ")
        );
    }
    let what_for: Vec<_> = missing.iter().map(|client| client.what_for).collect();
    let packages: Vec<_> = missing.iter().map(|client| client.package).collect();
    setup.install(&packages, &what_for.join("; "))
}

/// The system folders count though they may not be on a user's path: those who run these programs are root.
fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
