//! `gateway explain`

use std::{fmt::Write as _, path::PathBuf, time::Instant};

use anyhow::{Context, bail};

use super::{
    Target, find, print, print_json,
    screen::{Colour, Tone, wrap},
};
use crate::{
    api::client::Client,
    config,
    dataplane::{self, Live},
    explain::{
        self, End, Explanation, Flags, Known, Protocol, Question,
        document::{Source, Verdict},
    },
    model::Model,
    status::Status,
};

const EXAMPLES: &str = "\
Examples:
  gateway explain --from 10.0.0.99:40000 --to 10.0.0.5:443
      what the balancer here does with a client's SYN: by the tables that packets go by now
  gateway explain --from 10.0.0.99:40000 --to 10.0.0.5:443 --host api.contoso.com --path /orders
      and what the proxy does with the request, with the command that makes it
  gateway explain --from 198.51.100.7:40000 --to 203.0.113.5:3443 --flags ack --size 1500
      a full segment in the middle of a connection, from outside
  gateway explain --config new.toml --from 10.0.0.99:40000 --to 10.0.0.5:443
      by the tables that a file would make; no balancer is needed
  gateway explain --from 10.0.0.99:40000 --to 10.0.0.5:443 --json | jq -r .verdict
      for programs (docs/explain.schema.json)

Exit code 0 whatever the verdict is, 1 if there is none.";

/// What `gateway explain` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The client
    #[arg(long, value_name = "ADDRESS:PORT")]
    from: End,
    /// Where it sends to: a VIP and its port, or whatever address
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: End,
    /// What is above IP
    #[arg(long, value_enum, default_value = "tcp")]
    proto: Protocol,
    /// TCP's flags, separated by commas: syn, ack, rst, fin
    #[arg(long, default_value = "syn")]
    flags: Flags,
    /// Bytes of the IP packet [default: its headers alone]
    #[arg(long, value_name = "BYTES")]
    size: Option<u16>,
    /// By which interface of the balancer it comes [default: the one that leads to those who may reach the VIP]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// The host name that the request asks for
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The name that TLS asks for; "" for none [default: that of --host]
    #[arg(long, value_name = "NAME", requires = "host")]
    sni: Option<String>,
    /// The request's path, with its query
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// Decide by the tables that this file would make, in place of those of the running balancer
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// The balancer's socket, where several run on this host
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Tells what becomes of a packet.
///
/// # Errors
/// No balancer runs and no file was named; its tables cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let question = question(args)?;
    let begun = Instant::now();
    let (mut known, file, model, took) = match &args.config {
        Some(file) => {
            let model = config::load(file)?;
            let known = of_file(&model)?;
            (known, Some(file.clone()), Some(Ok(model)), begun.elapsed())
        }
        None => {
            let (known, file) = of_balancer(args)?;
            let took = begun.elapsed();
            let model = file.as_ref().map(|file| config::load(file));
            (known, file, model, took)
        }
    };
    // By the live tables a packet can be explained without a file; a request cannot.
    let model = match (model, &args.host) {
        (Some(Ok(model)), _) => Some(model),
        (Some(Err(faults)), Some(_)) => return Err(faults.into()),
        (None, Some(_)) => bail!("names and routes are in the file: name it by --config FILE"),
        (_, None) => None,
    };
    let mut explanation = explain::explain(&question, &mut known, model.as_ref())?;
    explanation.tables.file = file.map(|file| file.display().to_string());
    explanation.times.tables_microseconds = took.as_secs_f64() * 1e6;
    if args.json { print_json(&explanation) } else { print(&render(&explanation, Colour::of_stdout())) }
}

fn question(args: &Args) -> anyhow::Result<Question> {
    if args.to.port.is_none() && args.proto != Protocol::Icmp {
        bail!("--to {} has no port: {0}:443, for example", args.to);
    }
    if !args.path.starts_with('/') {
        bail!("--path {} does not begin with `/`", args.path);
    }
    Ok(Question {
        from: args.from,
        to: args.to,
        protocol: args.proto,
        flags: args.flags,
        size: args.size,
        interface: args.interface.clone(),
        host: args.host.clone(),
        sni: args.sni.clone(),
        path: args.path.clone(),
    })
}

fn of_file(model: &Model) -> anyhow::Result<Known> {
    explain::of_file(model).context("no tables can be made from the file")
}

/// The tables of the balancer here, and its file. A program goes on without its process: then the file tells the service.
fn of_balancer(args: &Args) -> anyhow::Result<(Known, Option<PathBuf>)> {
    let socket = match &args.socket {
        Some(socket) => Some(socket.clone()),
        None => find::only()?,
    };
    let (service, file) = match socket {
        Some(socket) => {
            let status: Status = Client::new(socket)?.get("/v1/status")?;
            (status.service, Some(PathBuf::from(status.configuration.file)))
        }
        None => {
            let file = Target::default().file().context(
                "no balancer runs on this host; `--config FILE` decides by the tables that a file would make",
            )?;
            (find::service(&file)?, Some(file))
        }
    };
    let live: Option<Live> = dataplane::live(&service)?;
    let live = live.with_context(|| {
        format!(
            "no program of the service {service} is at work on this host; `--config FILE` decides by the tables that a file would make"
        )
    })?;
    let interfaces = explain::interfaces().context("cannot list the host's interfaces")?;
    Ok((Known::of_program(live, interfaces), file))
}

/// For people: a line for each decision, the verdict last.
fn render(explanation: &Explanation, colour: Colour) -> String {
    let Explanation { packet, tables, times, .. } = explanation;
    let flags = match packet.flags.is_empty() {
        true => String::new(),
        false => format!(" {}", packet.flags.join(",").to_uppercase()),
    };
    let source = match tables.source {
        Source::Live => "by the tables that packets go by now".to_owned(),
        Source::File => format!("by the tables of {}", tables.file.as_deref().unwrap_or("a file")),
    };
    let mut text = format!(
        "{}  {} to {}, {} bytes, in by {}\n{source}\n\n",
        colour.paint(Tone::Head, &format!("{}{flags}", packet.protocol)),
        packet.from,
        packet.to,
        packet.bytes,
        packet.interface
    );
    for step in &explanation.steps {
        line(&mut text, &step.stage, &step.text);
    }
    let tone = match explanation.verdict {
        Verdict::Drop => Tone::Bad,
        Verdict::Pass => Tone::Odd,
        Verdict::Forward | Verdict::Answer | Verdict::Reply => Tone::Good,
    };
    let verdict = format!("{}  {}", explanation.verdict.as_str(), explanation.summary);
    let _ = writeln!(text, "\n{}", colour.paint(tone, &verdict));
    if let Some(reason) = &explanation.reason {
        for part in wrap(&reason.remedy, 76) {
            let _ = writeln!(text, "  {part}");
        }
    }
    for assumed in &tables.assumed {
        let _ = writeln!(text, "  taken for granted: {assumed}");
    }
    if let Some(curl) = &explanation.curl {
        let _ = writeln!(text, "\n{curl}");
    }
    let _ = writeln!(
        text,
        "\nin {:.1} ms to read the tables and {:.0} µs to decide",
        times.tables_microseconds / 1000.0,
        times.decision_microseconds
    );
    text
}

fn line(text: &mut String, stage: &str, what: &str) {
    for (place, part) in wrap(what, 68).iter().enumerate() {
        let stage = if place == 0 { stage } else { "" };
        let _ = writeln!(text, "  {stage:<9} {part}");
    }
}
