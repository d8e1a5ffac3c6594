//! The data plane as the daemon runs it, with a plan of the documentation's example.

use gateway_userspace::{
    model::{Forwarding, Model},
    plan::Desired,
};
use lab::host::Host;

use crate::{
    stage::Pair,
    targets::{Kernel, desired, model},
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
pub(crate) fn attach(forwarding: Forwarding, ring: Ring, host: &Host, pair: &Pair) -> anyhow::Result<Kernel> {
    let mut both = model();
    both.balancer.forwarding = forwarding;
    let wish = |model: Model| Desired { model: model.into(), ..at_interface(both.clone(), pair.far_index) };
    // Interfaces are known by number in their own namespace.
    host.enter(|| {
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
        kernel.dataplane.attach(&pair.far)?;
        Ok(kernel)
    })
}

/// To the balancer of a link with one server: the first instance.
pub(crate) fn attach_to_lan(forwarding: Forwarding, balancer: &Host) -> anyhow::Result<Kernel> {
    let mut one = model();
    one.balancer.forwarding = forwarding;
    one.instances.truncate(1);
    balancer.enter(|| {
        let index = nix::net::if_::if_nametoindex("eth0")?;
        let mut kernel = Kernel::new(&at_interface(one, index));
        kernel.dataplane.attach("eth0")?;
        Ok(kernel)
    })
}

/// What is wished at an interface by which packets come and leave.
fn at_interface(model: Model, index: u32) -> Desired {
    let mut wish = desired(model);
    wish.interfaces.iter_mut().for_each(|interface| interface.index = index);
    wish.ways.values_mut().for_each(|way| way.interface = index);
    wish
}
