//! R60, R61, R90: the page that people look at, as plain HTTP and in a real browser.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod browser;
mod certificates;
mod changes;
mod console;
mod door;
mod site;
mod snat;
