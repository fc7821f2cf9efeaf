//! A load test of the real binary, beside the proxies that are installed: `cargo bench --bench proxy -- --quick`.
//!
//! One worker of each proxy is pinned to one CPU; a backend and the load share another. Every proxy gets the same work,
//! in rounds that alternate between them, so that what a busy machine does to one it does to all: ratios within a run
//! mean more than any figure alone. Everything stays on the loopback interface, takes free ports, is bounded in work
//! and in time, and ends only the processes that it started. Every byte of every response is compared.
//!
//! * `options.rs`: the command line
//! * `model.rs`: figures, settings and goals
//! * `work.rs`: requests, responses, and what the backend must receive
//! * `bench.rs`: what all cases share
//! * `cases/`: what is measured
//! * `load/`, `backend/`: the two ends of the wire
//! * `counters/`: what it costs a proxy
//! * `peers/`: the proxies as processes
//! * `report/`: medians, ranges, ratios and goals

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are the program's output")]

mod backend;
mod bench;
mod cases;
mod counters;
mod load;
mod model;
mod options;
mod peers;
mod report;
mod work;

use bench::Bench;
use cases::{CASES, Case};
use counters::Machine;
use options::{Asked, CountWith, Plan, USAGE};
use report::Report;
use std::process::ExitCode;

/// What goes wrong, as a sentence for whoever started the run.
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

/// Runs the cases that the plan asks for. What fails leaves a note, and the rest is measured all the same.
fn run(plan: &Plan) -> Outcome<()> {
    let chosen = chosen(plan)?;
    let machine = Machine::this();
    let bench = Bench::new(plan, machine.counters.clone())?;
    let mut report = Report::new(machine, plan);
    let failures = match plan.check_generator {
        true => cases::check(&bench, &mut report),
        false => cases::run(&chosen, &bench, &mut report),
    };
    report.finish()?;
    if failures == 0 { Ok(()) } else { Err(format!("{failures} failure(s), see the notes above")) }
}

/// All cases, or those that are named and those that they are compared with.
fn chosen(plan: &Plan) -> Outcome<Vec<&'static Case>> {
    let is_known = |name: &String| CASES.iter().any(|case| case.name == name);
    if let Some(name) = plan.cases.iter().find(|name| !is_known(name)) {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("no case is called {name}; there are {}", names.join(", ")));
    }
    let wanted = |case: &Case| plan.wants(case.name);
    let compared = |case: &Case| CASES.iter().any(|other| wanted(other) && other.is_compared_with(case.name));
    let is_asked = |case: &&Case| wanted(case) || compared(case);
    let can_run = |case: &&Case| plan.count_with != CountWith::Valgrind || case.is_countable();
    Ok(CASES.iter().filter(is_asked).filter(can_run).collect())
}
