//! The binary `gateway`: reads the command line, hands over to the command, turns its outcome into an exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use gateway_userspace::{
    balance, config, control, detach, help, init,
    inside::{self, Packets, Replace, Serving},
    privileges, proxy,
    snat::Desk,
    supervise, support, texts, vip_test,
};

const EXAMPLES: &str = "\
Examples:
  gateway check --config gateway.toml
      what a configuration file says, and all that is wrong with it
  gateway run --config gateway.toml
      balancer and one instance on this host
  gateway help C018
      what a fault means; `gateway help balancer.drain` has a key of the file, `gateway help status` a command";

/// The self-hosted gateway of an API management service: a load-balanced private VIP, host-name routing, and a
/// public VIP that lets in the management endpoint only, unless the mode is external.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXAMPLES)]
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
    /// Write a first configuration file, from what this host's kernel knows
    Init(init::Args),
    /// What holds of a configuration file, defaults included
    Config(config::show::Args),
    /// Show what a file would change on the running balancer
    Plan(control::PlanArgs),
    /// Move the running balancer to its file
    Apply(control::ApplyArgs),
    /// How the running balancer is
    Status(control::StatusArgs),
    /// Make real connections through the VIPs, for every name
    Test(vip_test::Args),
    /// What is forwarded and dropped in a second, as it happens
    Top(control::TopArgs),
    /// Why packets were dropped
    Drops(control::DropsArgs),
    /// What becomes of a packet, and of the request in it, step by step
    Explain(control::ExplainArgs),
    /// What is wrong on this host, with cause, evidence and remedy
    Doctor(control::DoctorArgs),
    /// Take an instance out of service, or put it back
    Instance(control::InstanceArgs),
    /// The names in the DNS: for other servers, and to answer and to check them
    Dns(control::DnsArgs),
    /// Take away what the kernel goes on with after the processes have ended
    Detach(detach::Args),
    /// Make a token for the API over TCP
    Token(control::TokenArgs),
    /// Write an archive for whoever helps, without names and addresses
    Support(support::Args),
    /// Say more of a command, a fault's code, a key of the file or a reason for drops
    Help(help::Args),
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
        Command::Init(args) => init::run(&args),
        Command::Config(args) => config::show::run(&args),
        Command::Test(args) => vip_test::run(&args),
        Command::Plan(args) => control::plan(&args),
        Command::Apply(args) => control::apply(&args),
        Command::Status(args) => control::status(&args),
        Command::Top(args) => control::top(&args),
        Command::Drops(args) => control::drops(&args),
        Command::Explain(args) => control::explain_packet(&args),
        Command::Doctor(args) => control::doctor(&args),
        Command::Instance(args) => control::instance(&args),
        Command::Dns(args) => control::dns(&args),
        Command::Detach(args) => detach::run(&args),
        Command::Token(args) => control::token(&args),
        Command::Support(args) => support::run(&args),
        Command::Help(args) => help::run(&args, Cli::command()),
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

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Every command that does something by itself, with its names from the top.
    fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let path = format!("{path}{}", command.get_name());
        let inner: Vec<_> =
            command.get_subcommands().flat_map(|one| leaves(one, &format!("{path} "))).collect();
        if inner.is_empty() { vec![(path, command.clone())] } else { inner }
    }

    /// The words of a line as a shell takes them, up to a pipe or a redirection.
    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().take_while(|word| !["|", ">", ">>"].contains(word)).collect()
    }

    #[test]
    fn every_command_has_examples_and_each_is_understood() {
        let all = leaves(&Cli::command(), "");
        for (path, command) in all.iter().filter(|(_, command)| !command.is_hide_set()) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            let of_this = lines.iter().filter(|line| line.starts_with(path.as_str())).count();
            assert!(of_this > 0, "`{path} --help` has no example of itself");
            for line in lines.into_iter().filter(|line| line.starts_with("gateway")) {
                Cli::try_parse_from(words(line)).unwrap_or_else(|error| panic!("{path}: `{line}`: {error}"));
            }
        }
    }

    #[test]
    fn what_is_said_of_the_command_line_is_true_of_it() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_pages_and_completions_have_every_command() {
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        let names = leaves(&Cli::command(), "");
        let shells = clap_complete::Shell::value_variants().iter().map(|shell| {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "gateway", &mut text);
            String::from_utf8(text).unwrap()
        });
        let completions: Vec<_> = shells.collect();
        for (path, _) in names.iter().filter(|(_, command)| !command.is_hide_set()) {
            let page = folder.path().join(format!("{}.1", path.replace(' ', "-")));
            let text =
                std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("{} is missing", page.display()));
            assert!(text.contains("Examples:"), "{} has no examples", page.display());
            let last = path.rsplit(' ').next().unwrap();
            assert!(completions.iter().all(|text| text.contains(last)), "a shell does not complete `{path}`");
        }
    }
}
