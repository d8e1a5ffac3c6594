//! docs/operations.md as a person does it: each command of its `console` blocks, on the host that its prompt names.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use lab::{
    gateway::{Gateway, binary},
    host::Host,
    lab::Lab,
    wait,
};

/// Until probes have found out what there is; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line of a block: where, what, and whether it goes on running.
struct Step<'d> {
    host: &'d str,
    words: Vec<&'d str>,
    stays: bool,
}

fn steps(document: &str) -> Vec<Step<'_>> {
    let blocks = document.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let step = |line: &'_ str| -> Option<(usize, bool)> { Some((line.find("# ")?, line.ends_with(" &"))) };
    blocks
        .flat_map(str::lines)
        .map(|line| {
            let (prompt, stays) = step(line).unwrap_or_else(|| panic!("`{line}` says no host"));
            let words = line[prompt + 2..].trim_end_matches(" &").split_whitespace();
            let mut words = words.skip_while(|word| *word == "gateway");
            let first = words.next().unwrap_or_else(|| panic!("`{line}` is no command of gateway"));
            Step { host: &line[..prompt], words: [first].into_iter().chain(words).collect(), stays }
        })
        .collect()
}

fn host<'l>(lab: &'l Lab, name: &str) -> &'l Host {
    match name {
        "balancer" => &lab.hosts.balancer,
        "client" => &lab.hosts.client,
        instance => lab.instance(instance).unwrap(),
    }
}

#[test]
fn what_operations_md_has_people_type_works_in_this_order() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")).unwrap();
    let steps = steps(&document);
    assert!(steps.len() > 15, "the blocks are found");

    let lab = Lab::raise(2).unwrap();
    let file = lab.write(&lab.config().probed()).unwrap();
    let places = BTreeMap::from([
        ("/etc/gateway/gateway.toml", file.display().to_string()),
        ("/etc/gateway/internal-root.pem", lab.authority.root().display().to_string()),
    ]);
    let mut running: Vec<(&str, Gateway)> = Vec::new();
    for Step { host: name, words, stays } in &steps {
        let host = host(&lab, name);
        let command = || {
            let mut command = Command::new(binary().unwrap());
            command.args(words.iter().map(|word| places.get(word).map_or(*word, String::as_str)));
            command
        };
        let line = words.join(" ");
        if *stays {
            let gateway = Gateway::start(host, command(), lab.folder())
                .unwrap_or_else(|error| panic!("{line}: {error:#}"));
            running.push((name, gateway));
            continue;
        }
        // What it takes away is what goes on after the process has ended.
        if words[0] == "detach" {
            for index in
                (0..running.len()).rev().filter(|index| running[*index].0 == *name).collect::<Vec<_>>()
            {
                running.remove(index).1.leave().unwrap();
            }
        }
        let mut said = String::new();
        let succeeds = wait::eventually(PATIENCE, || {
            let output = host.run_command(command()).unwrap();
            said = format!("{}{}", output.text(), output.stderr);
            output.ok()
        });
        assert!(succeeds, "{name}: gateway {line}:\n{said}");
    }
}
