//! A plan as text and as JSON: what each step does, and what it is expected to cost.

use crate::output::{self, Paint};
use crate::table::{Align, Table, short};
use pocketnn::dim::show_shape;
use pocketnn::plan::cost::Machine;
use pocketnn::plan::{Plan, StepInfo};
use serde_json::{Value, json};
use std::fmt::Write as _;

const COLUMNS: [(&str, Align); 11] = [
    ("step", Align::Left),
    ("op", Align::Left),
    ("output", Align::Left),
    ("algorithm", Align::Left),
    ("tile", Align::Left),
    ("MACs", Align::Right),
    ("L2", Align::Right),
    ("L3", Align::Right),
    ("DRAM", Align::Right),
    ("bound", Align::Left),
    ("predicted us", Align::Right),
];

fn microseconds(step: &StepInfo) -> f64 {
    step.work.cost(&Machine::REFERENCE).nanoseconds / 1e3
}

/// A table of the steps.
pub fn to_text(name: &str, plan: &Plan) -> String {
    let paint = Paint::stdout();
    let mut table = Table::new(&COLUMNS);
    let bytes = |n: usize| if n == 0 { String::new() } else { output::bytes(n as u64) };
    for s in plan.steps() {
        let cost = s.work.cost(&Machine::REFERENCE);
        let [l2, l3, memory] = cost.bytes.map(bytes);
        let macs = if s.macs == 0 { String::new() } else { output::count(s.macs) };
        let (bound, time) = (cost.limit.name().to_string(), format!("{:.1}", cost.nanoseconds / 1e3));
        let (op, shape) = (s.op.to_string(), show_shape(&s.shape));
        let step = short(&s.name, 36);
        table.row(vec![step, op, shape, s.algorithm.clone(), s.tile.clone(), macs, l2, l3, memory, bound, time]);
    }
    let mut text = format!("{}\n\n{}", paint.bold(name), table.render(paint));
    let total: f64 = plan.steps().iter().map(microseconds).sum();
    let m = Machine::REFERENCE;
    let _ = writeln!(
        text,
        "\n{} steps, arena {} bytes (lower bound {}), {} transposes; predicted {total:.1} us on one core of {:.0} GFLOP/s",
        plan.steps().len(),
        plan.arena_bytes(),
        plan.arena_lower_bound(),
        plan.transposes(),
        m.gflops
    );
    for s in plan.steps() {
        if let Some(note) = s.note() {
            let _ = writeln!(text, "note: {} `{}` {note}", s.op, s.name);
        }
    }
    text
}

/// The steps with everything that is known of them.
pub fn to_json(name: &str, plan: &Plan) -> Value {
    let step = |s: &StepInfo| {
        let cost = s.work.cost(&Machine::REFERENCE);
        let [l2, l3, memory] = cost.bytes;
        json!({
            "name": s.name, "op": s.op, "shape": s.shape, "algorithm": s.algorithm, "tile": s.tile, "macs": s.macs,
            "flops": s.work.flops, "bytes": s.bytes, "weights_bytes": s.work.weights,
            "traffic": { "l2": l2, "l3": l3, "dram": memory }, "bound": cost.limit.name(),
            "predicted_us": cost.nanoseconds / 1e3, "interpreted": s.interpreted, "transpose": s.transpose, "note": s.note(),
        })
    };
    json!({
        "name": name, "arena_bytes": plan.arena_bytes(), "arena_lower_bound": plan.arena_lower_bound(),
        "transposes": plan.transposes(), "predicted_us": plan.steps().iter().map(microseconds).sum::<f64>(),
        "steps": plan.steps().iter().map(step).collect::<Vec<_>>(),
    })
}
