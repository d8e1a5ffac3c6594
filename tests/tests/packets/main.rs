//! Single packets through the loaded program, and the same ones through the pipeline on the host.

mod builder;
mod object;
mod parity;
mod table;
mod targets;
