//! The data plane as the daemon runs it, with a plan of the documentation's example.

use std::{fs, path::Path};

use gateway_userspace::{config, model::Model, plan::Desired};
use lab::host::Host;

use crate::{
    stage::Pair,
    targets::{Kernel, desired},
};

/// Whether buckets have changed hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// None has.
    Settled,
    /// All have, from one instance to the other, and the window is open.
    Moved,
}

/// Loads and attaches it.
pub(crate) fn attach(forwarding: &str, ring: Ring, host: &Host, pair: &Pair) -> anyhow::Result<Kernel> {
    let both = model(forwarding)?;
    let wish = |model: Model| {
        let mut wish: Desired = desired(both.clone());
        wish.interface.index = pair.far_index;
        wish.model = model.into();
        wish
    };
    let mut kernel = match ring {
        Ring::Settled => Kernel::new(&wish(both.clone())),
        Ring::Moved => {
            let (mut first, mut second) = (both.clone(), both.clone());
            first.instances.truncate(1);
            second.instances.remove(0);
            let mut kernel = Kernel::new(&wish(first));
            kernel.step(&wish(second));
            kernel
        }
    };
    host.enter(|| kernel.dataplane.attach(&pair.far))?;
    Ok(kernel)
}

/// The example with another way of forwarding.
fn model(forwarding: &str) -> anyhow::Result<Model> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let example = fs::read_to_string(root.join("docs/examples/internal.toml"))?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gateway.toml");
    fs::write(&path, example.replace("forwarding = \"l2\"", &format!("forwarding = \"{forwarding}\"")))?;
    Ok(config::load(&path).unwrap())
}
