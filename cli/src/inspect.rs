//! `pocketnn inspect`: what a model is, and what running it costs.

use crate::drawing;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint};
use crate::plan;
use crate::source::{Loaded, ModelArgs};
use crate::table::{Align, Table, short};
use pocketnn::dim::show_shape;
use pocketnn::plan::StepInfo;
use pocketnn::{Bindings, Graph, Node, Session, ValueId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show what a model is and what running it costs
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Draw the graph
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Show the plan: for each step the algorithm, its tile, the bytes it moves and the time it is predicted to take
    #[arg(long)]
    pub plan: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A step or a node that costs nothing.
struct Row<'a> {
    name: String,
    op: String,
    output: String,
    params: usize,
    macs: u64,
    algorithm: String,
    step: Option<&'a StepInfo>,
}

/// What is known after planning.
struct Report<'a> {
    graph: &'a Graph,
    session: &'a Session<'static>,
    /// The graph with all symbols bound.
    bound: Graph,
    /// Symbols that nobody gave a size.
    open: Vec<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.model.load()?;
    let graph = loaded.model.graph();
    let session = loaded.model.session(&loaded.session_options(&args.model))?;
    let open: Vec<String> = graph.symbols().into_iter().collect();
    let ones: Bindings = open.iter().map(|s| (s.clone(), 1)).collect();
    // Sizes of 1 may not fit the network; then what needs sizes is told of the symbolic graph.
    let bound = graph.bind(&ones).unwrap_or_else(|_| graph.clone());
    if let Some(path) = &args.svg {
        files::write_bytes(path, drawing::draw(graph).as_bytes())?;
    }
    let report = Report { graph, session: &session, bound, open };
    if args.plan {
        return match report.session.plan() {
            Some(plan) if args.json => output::print_json(&plan::to_json(graph.name(), plan)),
            Some(plan) => output::print(&plan::to_text(graph.name(), plan)),
            None => Err(Failure::failed(
                "shapes are decided while running: there is no plan, the naive evaluation runs every node",
            )
            .help("give the sizes with --dim NAME=N")),
        };
    }
    if args.json {
        output::print_json(&report.to_json(&loaded))
    } else {
        output::print(&report.to_text(&args, &loaded))
    }
}

impl Report<'_> {
    fn steps(&self) -> &[StepInfo] {
        self.session.plan().map_or(&[], |p| p.steps())
    }

    /// Steps in order with the parameters of their nodes; or the nodes, where there is no plan.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut nodes: HashMap<(&str, &str), Vec<&Node>> = HashMap::new();
        for n in self.bound.nodes().iter().rev() {
            nodes.entry((&n.name, n.op.name())).or_default().push(n);
        }
        let mut rows: Vec<Row<'_>> = Vec::new();
        for s in self.steps() {
            let params = nodes.get_mut(&(s.name.as_str(), s.op)).and_then(Vec::pop).map_or(0, |n| self.params(n));
            let algorithm = if s.interpreted { "interpreted".to_string() } else { s.algorithm.clone() };
            rows.push(Row {
                name: s.name.clone(),
                op: s.op.to_string(),
                output: show_shape(&s.shape),
                params,
                macs: s.macs,
                algorithm,
                step: Some(s),
            });
        }
        if self.session.plan().is_none() {
            for n in self.bound.nodes() {
                let output = n.outputs.first().map_or(String::new(), |&o| show_shape(&self.bound.ty(o).shape));
                let (op, params) = (n.op.name().to_string(), self.params(n));
                rows.push(Row {
                    name: n.name.clone(),
                    op,
                    output,
                    params,
                    macs: 0,
                    algorithm: "interpreted".into(),
                    step: None,
                });
            }
        }
        rows
    }

    /// Elements of the float constants that a node reads.
    fn params(&self, n: &Node) -> usize {
        let constants = n.operands().filter_map(|v| self.bound.constant(v));
        constants.filter(|t| t.dtype().is_float()).map(pocketnn::Tensor::len).sum()
    }

    fn interpreted(&self) -> usize {
        if self.session.plan().is_none() {
            self.bound.nodes().len()
        } else {
            self.steps().iter().filter(|s| s.interpreted).count()
        }
    }

    /// Features of the crate `pocketnn` that a program which runs this needs.
    fn features(&self) -> Vec<&'static str> {
        let interpret = (self.interpreted() > 0).then_some("interpret");
        self.graph.features().into_iter().chain(interpret).collect()
    }

    fn to_json(&self, loaded: &Loaded) -> Value {
        let plan = self.session.plan();
        let layers: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|r| json!({ "name": r.name, "op": r.op, "output": r.output, "params": r.params, "macs": r.macs, "algorithm": r.algorithm, "bytes": r.step.map(|s| s.bytes) }))
            .collect();
        json!({
            "name": self.graph.name(),
            "inputs": values(self.graph, self.graph.inputs()),
            "outputs": values(self.graph, self.graph.outputs()),
            "symbols": self.open,
            "nodes": self.graph.nodes().len(),
            "macs": self.bound.macs(),
            "params": self.graph.parameters(),
            "weights_bytes": self.graph.weights_bytes(),
            "arena_bytes": plan.map(pocketnn::plan::Plan::arena_bytes),
            "arena_lower_bound": plan.map(pocketnn::plan::Plan::arena_lower_bound),
            "transposes": plan.map_or(0, pocketnn::plan::Plan::transposes),
            "interpreted": self.interpreted(),
            "planned": plan.is_some(),
            "features": self.features(),
            "layers": layers,
            "passes": loaded.passes.iter().filter(|p| p.count() > 0).map(|p| p.to_json(8)).collect::<Vec<_>>(),
            "meta": self.graph.meta,
            "warnings": loaded.report.to_json()["warnings"],
        })
    }

    fn to_text(&self, args: &Args, loaded: &Loaded) -> String {
        let paint = Paint::stdout();
        let g = self.graph;
        let mut text = format!("{} {}\n", paint.bold(g.name()), paint.dim(&args.model.model.display().to_string()));
        for (what, ids) in [("input", g.inputs()), ("output", g.outputs())] {
            for &i in ids {
                let _ = writeln!(text, "  {what:<6} {} {}", g.value(i).name, g.ty(i));
            }
        }
        let mut t = Table::new(&[
            ("name", Align::Left),
            ("op", Align::Left),
            ("output", Align::Left),
            ("params", Align::Right),
            ("MACs", Align::Right),
            ("algorithm", Align::Left),
        ]);
        let number = |n: u64| if n == 0 { String::new() } else { output::count(n) };
        for r in self.rows() {
            t.row(vec![short(&r.name, 36), r.op, r.output, number(r.params as u64), number(r.macs), r.algorithm]);
        }
        text.push('\n');
        text.push_str(&t.render(paint));
        text.push('\n');
        let _ = writeln!(
            text,
            "{} nodes, {} parameters ({}), {} multiply-accumulates",
            g.nodes().len(),
            output::count(g.parameters() as u64),
            output::bytes(g.weights_bytes() as u64),
            output::count(self.bound.macs())
        );
        match self.session.plan() {
            Some(p) => {
                let (arena, bound) = (p.arena_bytes() as u64, p.arena_lower_bound() as u64);
                let _ = writeln!(
                    text,
                    "arena {arena} bytes ({}; lower bound {bound}), {} transposes, {} interpreted steps",
                    output::bytes(arena),
                    p.transposes(),
                    self.interpreted()
                );
            }
            None => match self.session.first_plan() {
                Some(p) => {
                    let n = p.steps().len();
                    let _ = writeln!(
                        text,
                        "shapes are decided while running: the first {n} steps are planned, the interpreter runs the rest"
                    );
                }
                None => text.push_str("shapes are decided while running: no plan, the interpreter runs it\n"),
            },
        }
        let _ = writeln!(text, "features of the crate it needs: {}", self.features().join(", "));
        if !self.open.is_empty() {
            let _ = writeln!(text, "symbolic sizes {} are taken as 1 (--dim NAME=N sets them)", self.open.join(", "));
        }
        text.push_str(&loaded.report.to_text());
        text
    }
}

/// Name, type, shape (null where symbolic) and quantization of values.
fn values(graph: &Graph, ids: &[ValueId]) -> Vec<Value> {
    let one = |&i: &ValueId| {
        let ty = graph.ty(i);
        let shape: Vec<Option<usize>> = ty.shape.iter().map(pocketnn::Dim::known).collect();
        let dims: Vec<String> = ty.shape.iter().map(ToString::to_string).collect();
        let name = &graph.value(i).name;
        let mut value = json!({ "name": name, "dtype": ty.dtype.name(), "shape": shape, "dims": dims });
        // `scale` and `zero_point`, where the source model says what numbers stand for.
        let quantization = graph.meta.get("quantization").and_then(|q| q.get(name)).and_then(Value::as_object);
        if let (Some(value), Some(quantization)) = (value.as_object_mut(), quantization) {
            value.extend(quantization.clone());
        }
        value
    };
    ids.iter().map(one).collect()
}
