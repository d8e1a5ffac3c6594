//! The binary `gateway`: reads the command line, hands over to the command, turns its outcome into an exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use gateway_userspace::{
    balance, config, control, detach,
    inside::{self, Packets, Replace, Serving},
    privileges, proxy,
    snat::Desk,
    supervise, texts,
};

/// The self-hosted gateway of an API management service: a load-balanced private VIP, host-name routing, and a
/// public VIP that lets in the management endpoint only, unless the mode is external.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
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
    /// Show what a file would change on the running balancer
    Plan(control::PlanArgs),
    /// Move the running balancer to its file
    Apply(control::ApplyArgs),
    /// How the running balancer is
    Status(control::StatusArgs),
    /// Why packets were dropped
    Drops(control::DropsArgs),
    /// Take an instance out of service, or put it back
    Instance(control::InstanceArgs),
    /// The names in the DNS: for other servers, and to answer and to check them
    Dns(control::DnsArgs),
    /// Take away what the kernel goes on with after the processes have ended
    Detach(detach::Args),
    /// Make a token for the API over TCP
    Token(control::TokenArgs),
    /// Write a shell's completions to standard output
    Completions(texts::CompletionsArgs),
    /// Write the pages for man(1) into a folder
    #[command(hide = true)]
    Manual(texts::ManualArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_target(false)
        .init();
    let Some(command) = cli.command else { return finish(control::bare()) };
    finish(match command {
        Command::Run(args) => supervise::run(&args),
        Command::Balance(args) => balance::run(&args),
        Command::Proxy(args) => {
            let replace = if args.take_over { Replace::OnceServing } else { Replace::AtOnce };
            let packets = if args.beside_balancer { Packets::AsTheyAre } else { Packets::Forwarded };
            let serve = |serving, desk| proxy(&args, desk, serving);
            inside::around(args.config.clone(), &args.instance, packets, replace, serve)
        }
        Command::Check(args) => config::check::run(&args),
        Command::Plan(args) => control::plan(&args),
        Command::Apply(args) => control::apply(&args),
        Command::Status(args) => control::status(&args),
        Command::Drops(args) => control::drops(&args),
        Command::Instance(args) => control::instance(&args),
        Command::Dns(args) => control::dns(&args),
        Command::Detach(args) => detach::run(&args),
        Command::Token(args) => control::token(&args),
        Command::Completions(args) => texts::completions(&args, Cli::command()),
        Command::Manual(args) => texts::manual(&args, Cli::command()),
    })
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(control::Exit(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            if let Some(faults) = error.downcast_ref::<config::Faults>() {
                eprint!("{faults}");
                return ExitCode::from(2);
            }
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever programs it needs are loaded.
fn proxy(args: &proxy::Args, desk: Option<Desk>, serving: Serving) -> anyhow::Result<()> {
    privileges::give_up_bpf()?;
    proxy::run(args, desk, serving)
}
