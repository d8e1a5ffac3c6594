//! What stands at the other end of the link: it answers each datagram, or drops it, in XDP.

use std::path::Path;

use aya::{
    Ebpf,
    programs::{Xdp, xdp::XdpMode},
};

use lab::pass::Pass;

use crate::pair::Pair;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// What is sent ends there.
    Drops,
    /// It comes back to whom it came from.
    Answers,
}

impl Far {
    pub(crate) const ALL: [Self; 2] = [Self::Drops, Self::Answers];

    const fn program(self) -> &'static str {
        match self {
            Self::Drops => "discard",
            Self::Answers => "answer",
        }
    }

    /// Attached as long as what is returned lives.
    pub(crate) fn attach(self, pair: &Pair) -> anyhow::Result<(Ebpf, Pass)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut ebpf = Ebpf::load_file(root.join("target/bpf/bpfel-unknown-none/release/gateway-bench"))?;
        let program: &mut Xdp = ebpf.program_mut(self.program()).unwrap().try_into()?;
        program.load()?;
        pair.outside.enter(|| program.attach("eth0", XdpMode::Driver))?;
        // Nobody else fills in checksums. What XDP sends back is taken by an interface that has a program alone.
        pair.instance.must("ethtool -K eth0 tx off")?;
        Ok((ebpf, Pass::attach(&pair.instance, "eth0")?))
    }
}
