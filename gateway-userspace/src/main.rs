//! The binary `gateway`: reads the command line, hands over to the command, turns its outcome into an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway_userspace::{balance, config, inside, proxy, supervise};

/// The self-hosted gateway of an API management service: a load-balanced private VIP, host-name routing, and a
/// public VIP that lets in the management endpoint only.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Balancer and one instance on this host, as two processes
    Run(supervise::Args),
    /// Spread the VIPs' traffic over the instances (XDP on a network interface)
    Balance(balance::Args),
    /// Serve the endpoints by host name on this instance
    Proxy(proxy::Args),
    /// Check a configuration file and say what is wrong with it
    Check(config::check::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_target(false)
        .init();
    let outcome = match cli.command {
        Command::Run(args) => supervise::run(&args),
        Command::Balance(args) => balance::run(&args),
        Command::Proxy(args) if args.beside_balancer => proxy::run(&args),
        Command::Proxy(args) => inside::around(args.config.clone(), &args.instance, || proxy::run(&args)),
        Command::Check(args) => config::check::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(faults) = error.downcast_ref::<config::Faults>() {
                eprint!("{faults}");
                return ExitCode::from(2);
            }
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
