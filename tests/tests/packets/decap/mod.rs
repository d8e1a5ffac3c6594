//! What an instance makes of its balancers' tunnels: single packets through the loaded program and through the same code on
//! the host.

mod fixture;
mod second_chance;
mod security;
mod unwrapping;
