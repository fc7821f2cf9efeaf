//! A small load test of the real binary: `cargo bench --bench proxy -- --quick`.
//!
//! One worker of Ringway is pinned to one CPU; a backend and a closed-loop load generator share another. Every proxy gets
//! the same work, in rounds that alternate between them, so that what a busy machine does to one it does to all: ratios
//! within a run mean more than any figure alone. Everything stays on the loopback interface, takes free ports, is bounded
//! in requests and in time, and ends only the processes that it started.
//!
//! * `options.rs`: the command line
//! * `cpu.rs`: pinning, and the CPU time of a process
//! * `work.rs`: the request, the response, and what the backend must receive
//! * `backend.rs`, `load.rs`: the two ends of the wire
//! * `peers.rs`: the proxies as processes
//! * `report.rs`: medians, ranges and ratios

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are the program's output")]

mod backend;
mod cpu;
mod load;
mod options;
mod peers;
mod report;
mod work;

use backend::Backend;
use cpu::{CpuTime, Cpus};
use load::Load;
use options::{Asked, Plan, USAGE};
use peers::Proxy;
use report::{Report, Round};
use std::process::ExitCode;

/// What goes wrong in a run ends it: a sentence for whoever started it.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Asked::Test => println!("proxy: a load test; it runs only under `cargo bench`"),
        Asked::Help => println!("{USAGE}"),
        Asked::Wrong(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
        Asked::Run(plan) => {
            if let Err(problem) = run(&plan) {
                eprintln!("the run failed: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn run(plan: &Plan) -> Outcome<()> {
    let cpus = Cpus::of_this_process()?;
    cpu::pin(cpus.load)?;
    let backend = Backend::start()?;
    let proxies = peers::start_all(plan, backend.address(), cpus)?;
    let mut report = Report::new(proxies.iter().map(Proxy::name));
    println!("{}", report::heading(plan, cpus));
    for number in 1..=plan.rounds {
        for (index, proxy) in proxies.iter().enumerate() {
            let round = round(plan, proxy).map_err(|problem| format!("{}: {problem}", proxy.name()))?;
            println!("round {number}  {}", report.add(index, round));
        }
    }
    println!("\n{report}");
    Ok(())
}

/// One measured stretch of requests after a warm-up on the same connections.
fn round(plan: &Plan, proxy: &Proxy) -> Outcome<Round> {
    let mut load = Load::connect(proxy.address(), plan.connections)?;
    load.run(plan.warm_up())?;
    let before = CpuTime::of(proxy.pid())?;
    let elapsed = load.run(plan.requests)?;
    let cpu_time = CpuTime::of(proxy.pid())?.since(before);
    Ok(Round { requests: plan.requests, elapsed, cpu_time })
}
