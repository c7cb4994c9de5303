//! The page that `convert --report` writes: one HTML file without anything from elsewhere.

use crate::drawing;
use crate::output::{bytes, count};
use crate::svg::escape;
use pocketnn::dim::show_shape;
use pocketnn::ops::infer::{Fact, ValueType};
use pocketnn::passes::PassReport;
use pocketnn::{Bindings, Graph, Node, Options, Session, Tensor};
use pocketnn_importer::verify::{Divergence, SampleOutcome, Verification};
use pocketnn_importer::{Entry, Provenance, Report};
use std::collections::HashMap;
use std::fmt::Write as _;

/// What a page tells of.
pub struct Page<'a> {
    /// Name of the source.
    pub source: String,
    /// Name of the file that was written, if one was.
    pub output: Option<String>,
    /// Its size.
    pub file_bytes: u64,
    /// Problems and warnings.
    pub report: &'a Report,
    /// One line about why nothing was written, beyond the list of problems.
    pub failure: Option<String>,
    /// The converted model, if it came so far.
    pub model: Option<Converted<'a>>,
}

/// A model and what was done to it.
pub struct Converted<'a> {
    /// The optimised network.
    pub graph: &'a Graph,
    /// Nodes before optimisation.
    pub imported_nodes: usize,
    /// Where it came from.
    pub provenance: Option<&'a Provenance>,
    /// What the passes did.
    pub passes: &'a [PassReport],
    /// The comparison with the source.
    pub verification: Option<&'a Verification>,
    /// Every value that was compared.
    pub values: &'a [Divergence],
    /// The sample, repeated.
    pub sample: Option<SampleOutcome>,
}

const STYLE: &str = "
body{font:14px/1.45 system-ui,sans-serif;color:#1c2024;background:#fff;margin:0 auto;max-width:1200px;padding:24px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 8px;border-bottom:1px solid #d8dce1;padding-bottom:4px}
.sub{color:#5c6370}.good{background:#d5f0d5;color:#12501c}.bad{background:#fbd5d5;color:#7a1212}.plain{background:#ececec}
.badge{display:inline-block;border-radius:10px;padding:2px 10px;font-weight:600;margin-right:8px}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin-top:14px}.tile{border:1px solid #d8dce1;border-radius:8px;padding:8px 14px;min-width:96px}
.tile b{display:block;font-size:18px}.tile span{color:#5c6370;font-size:12px}
table{border-collapse:collapse;width:100%;font-size:13px}th{text-align:left;color:#5c6370;font-weight:600}
th,td{padding:3px 10px 3px 0;border-bottom:1px solid #eceef1;vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:12px;background:#f4f5f7;padding:0 3px;border-radius:3px}
.scroll{overflow:auto;max-height:80vh;border:1px solid #d8dce1;border-radius:8px}.bar{background:#cfe2ff;height:8px;border-radius:4px;min-width:1px}
details{margin:2px 0}summary{cursor:pointer}svg{font-family:system-ui,sans-serif}
";

/// Rows of the table of steps.
struct Row {
    name: String,
    op: String,
    algorithm: String,
    shape: String,
    params: usize,
    macs: u64,
    moved: usize,
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut h = String::new();
        let title = escape(&self.source);
        let _ = write!(
            h,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>Conversion of {title}</title><style>{STYLE}</style></head><body>\n<h1>Conversion of {title}</h1>\n"
        );
        self.head(&mut h);
        if !self.report.unsupported().is_empty() {
            h.push_str("<h2>Problems</h2>\n");
            entries(&mut h, self.report.unsupported());
        }
        if !self.report.warnings().is_empty() {
            h.push_str("<h2>Warnings</h2>\n");
            entries(&mut h, self.report.warnings());
        }
        if let Some(m) = &self.model {
            m.html(&mut h);
        }
        h.push_str("</body></html>\n");
        h
    }

    fn head(&self, h: &mut String) {
        let badge = |class: &str, text: &str| format!("<span class=\"badge {class}\">{}</span>", escape(text));
        let verification = self.model.as_ref().and_then(|m| m.verification);
        let state = match (&self.output, self.report.unsupported().len()) {
            (Some(_), _) => badge("good", "converted"),
            (None, 0) => badge("bad", "not converted"),
            (None, n) => badge("bad", &format!("not converted: {n} kinds of problems")),
        };
        let checked = match verification {
            Some(v) if v.passed => {
                badge("good", &format!("verified: outputs differ by {:.1e} at most", v.max_relative()))
            }
            Some(v) => badge("bad", &format!("different: outputs differ by {:.1e}", v.max_relative())),
            None => badge("plain", "not verified"),
        };
        let _ = writeln!(h, "<p>{state}{checked}</p>");
        if let Some(why) = &self.failure {
            let _ = writeln!(h, "<p>{}</p>", escape(why));
        }
        if let Some(output) = &self.output {
            let _ = writeln!(h, "<p class=\"sub\">{}, {}</p>", escape(output), bytes(self.file_bytes));
        }
    }
}

fn entries(h: &mut String, entries: &[Entry]) {
    h.push_str("<table><tr><th>operator or layer</th><th>nodes</th><th>inputs</th><th>what is wrong</th><th>nearest supported</th><th>what to do</th></tr>\n");
    for e in entries {
        let attribute = e.example.attribute.as_ref().map_or(String::new(), |a| format!(" <code>{}</code>", escape(a)));
        let names: Vec<String> = e.nodes.iter().map(|n| format!("<code>{}</code>", escape(n))).collect();
        let nodes = match names.as_slice() {
            [first, rest @ ..] if rest.len() > 2 => {
                format!("<details><summary>{} times, first {first}</summary>{}</details>", e.count, rest.join(" "))
            }
            _ => names.join(" "),
        };
        let _ = writeln!(
            h,
            "<tr><td><b>{}</b>{attribute}</td><td>{nodes}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&e.op),
            escape(&e.inputs.join(", ")),
            escape(&e.reason),
            escape(e.nearest.as_deref().unwrap_or("")),
            escape(e.help.as_deref().unwrap_or(""))
        );
    }
    h.push_str("</table>\n");
}

impl Converted<'_> {
    fn html(&self, h: &mut String) {
        let g = self.graph;
        let ones: Bindings = g.symbols().into_iter().map(|s| (s, 1)).collect();
        let bound = g.bind(&ones).unwrap_or_else(|_| g.clone());
        let session = pocketnn::Model::new(g.clone()).session(&Options::default()).ok();
        let rows = rows(&bound, session.as_ref());
        self.tiles(h, &bound, session.as_ref());
        self.about(h);
        self.verified(h);
        self.passed(h);
        self.steps(h, &rows);
        let _ = writeln!(h, "<h2>Graph</h2>\n<div class=\"scroll\">{}</div>", drawing::draw(g));
    }

    fn tiles(&self, h: &mut String, bound: &Graph, session: Option<&Session<'static>>) {
        let plan = session.and_then(Session::plan);
        let mut tiles = vec![
            (self.graph.nodes().len().to_string(), format!("nodes, from {}", self.imported_nodes)),
            (count(self.graph.parameters() as u64), "parameters".to_string()),
            (bytes(self.graph.weights_bytes() as u64), "weights".to_string()),
            (count(bound.macs()), "multiply-accumulates".to_string()),
        ];
        match plan {
            Some(p) => {
                tiles.push((bytes(p.arena_bytes() as u64), "memory of a run".to_string()));
                tiles.push((p.transposes().to_string(), "transposes at run time".to_string()));
                tiles.push((p.steps().len().to_string(), "steps".to_string()));
            }
            None => tiles.push(("open".to_string(), "shapes are decided while running".to_string())),
        }
        h.push_str("<div class=\"tiles\">");
        tiles.iter().for_each(|(n, what)| {
            let _ = write!(h, "<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(n), escape(what));
        });
        h.push_str("</div>\n");
        let open: Vec<String> = self.graph.symbols().into_iter().collect();
        if !open.is_empty() {
            let _ = writeln!(h, "<p class=\"sub\">Figures for sizes of 1 of {}.</p>", escape(&open.join(", ")));
        }
    }

    fn about(&self, h: &mut String) {
        h.push_str("<h2>Model</h2>\n<table>\n");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(h, "<tr><td class=\"sub\">{}</td><td>{}</td></tr>", escape(key), escape(value));
        };
        let g = self.graph;
        for (what, ids) in [("input", g.inputs()), ("output", g.outputs())] {
            for &i in ids {
                line(what, &format!("{} {}", g.value(i).name, g.ty(i)));
            }
        }
        if let Some(p) = self.provenance {
            line(
                "source",
                &format!("{}{}", p.format, p.producer.as_ref().map_or(String::new(), |p| format!(" of {p}"))),
            );
            line("SHA-256 of the source", &p.sha256);
        }
        if let Some(p) = g.meta.get("preprocessing") {
            line("pictures", &p.to_string());
        }
        let labels = g.labels();
        if let [first, ..] = labels.as_slice() {
            line("labels", &format!("{}: {first}, ...", labels.len()));
        }
        if let Some(s) = &self.sample {
            line("sample", if s.same_bits { "recorded" } else { "recorded; this machine computes other bits" });
        }
        h.push_str("</table>\n");
    }

    fn verified(&self, h: &mut String) {
        let Some(v) = self.verification else { return };
        let _ = writeln!(
            h,
            "<h2>Verification</h2>\n<p class=\"sub\">The imported graph, run naively, against the converted one, run as an app runs it, on \
             inputs of seed {}: {} inner values and {} outputs, tolerance {:.0e}.</p>",
            v.seed,
            v.compared,
            v.outputs.len(),
            v.tolerance
        );
        h.push_str("<table><tr><th>output</th><th>type</th><th class=\"n\">largest</th><th class=\"n\">difference</th><th class=\"n\">relative</th></tr>\n");
        for o in &v.outputs {
            let _ = writeln!(
                h,
                "<tr><td>{}</td><td>{}{:?}</td><td class=\"n\">{:.4e}</td><td class=\"n\">{:.2e}</td><td class=\"n\">{:.2e}</td></tr>",
                escape(&o.name),
                o.dtype,
                o.shape,
                o.largest,
                o.max_abs,
                o.max_relative
            );
        }
        h.push_str("</table>\n");
        if let Some(d) = &v.first_divergence {
            let _ = writeln!(
                h,
                "<p>The first value beyond the tolerance is <code>{}</code> ({}): {:.2e}.</p>",
                escape(&d.name),
                escape(&d.op),
                d.max_relative
            );
        }
        v.notes.iter().for_each(|n| {
            let _ = writeln!(h, "<p class=\"sub\">{}</p>", escape(n));
        });
    }

    fn passed(&self, h: &mut String) {
        h.push_str("<h2>What was folded and fused</h2>\n<table><tr><th>pass</th><th class=\"n\">changes</th><th>where</th></tr>\n");
        for p in self.passes.iter().filter(|p| p.count() > 0) {
            let names: Vec<String> =
                p.changed.iter().take(200).map(|n| format!("<code>{}</code>", escape(n))).collect();
            let _ = writeln!(
                h,
                "<tr><td>{}</td><td class=\"n\">{}</td><td><details><summary>{}</summary>{}</details></td></tr>",
                p.pass,
                p.count(),
                names.first().map_or("", String::as_str),
                names.join(" ")
            );
        }
        h.push_str("</table>\n");
    }

    fn steps(&self, h: &mut String, rows: &[Row]) {
        let worst: HashMap<&str, f64> = self.values.iter().map(|v| (v.name.as_str(), v.max_relative)).collect();
        let most = rows.iter().map(|r| r.macs).max().unwrap_or(0).max(1);
        h.push_str("<h2>Steps</h2>\n<table><tr><th class=\"n\">#</th><th>node</th><th>op</th><th>algorithm</th><th>output</th><th class=\"n\">parameters</th><th class=\"n\">MACs</th><th></th><th class=\"n\">bytes</th><th class=\"n\">verified</th></tr>\n");
        for (i, r) in rows.iter().enumerate() {
            let zero = |n: u64, text: String| if n == 0 { String::new() } else { text };
            let _ = writeln!(
                h,
                "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td style=\"width:80px\"><div class=\"bar\" style=\"width:{:.0}px\"></div></td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                i + 1,
                escape(&r.name),
                escape(&r.op),
                escape(&r.algorithm),
                escape(&r.shape),
                zero(r.params as u64, count(r.params as u64)),
                zero(r.macs, count(r.macs)),
                80.0 * r.macs as f64 / most as f64,
                zero(r.moved as u64, bytes(r.moved as u64)),
                worst.get(r.name.as_str()).map_or(String::new(), |d| format!("{d:.1e}"))
            );
        }
        h.push_str("</table>\n");
    }
}

/// The steps of a session, or the nodes where shapes are decided while running.
fn rows(bound: &Graph, session: Option<&Session<'static>>) -> Vec<Row> {
    let params = |n: &Node| {
        let constants = n.operands().filter_map(|v| bound.constant(v));
        constants.filter(|t| t.dtype().is_float()).map(Tensor::len).sum()
    };
    let Some(plan) = session.and_then(Session::plan) else {
        let row = |n: &Node| {
            let inputs: Vec<Option<&Fact>> = n.inputs.iter().map(|v| v.map(|v| &bound.value(v).fact)).collect();
            let outputs: Vec<ValueType> = n.outputs.iter().map(|&v| bound.ty(v).clone()).collect();
            Row {
                name: n.name.clone(),
                op: n.op.name().to_string(),
                algorithm: "interpreted".to_string(),
                shape: outputs.first().map_or(String::new(), |t| show_shape(&t.shape)),
                params: params(n),
                macs: n.op.operator().macs(&inputs, &outputs),
                moved: 0,
            }
        };
        return bound.nodes().iter().map(row).collect();
    };
    let mut nodes: HashMap<(&str, &str), Vec<&Node>> = HashMap::new();
    for n in bound.nodes().iter().rev() {
        nodes.entry((&n.name, n.op.name())).or_default().push(n);
    }
    let mut rows = Vec::new();
    for s in plan.steps() {
        let node = nodes.get_mut(&(s.name.as_str(), s.op)).and_then(Vec::pop);
        rows.push(Row {
            name: s.name.clone(),
            op: s.op.to_string(),
            algorithm: if s.interpreted { "interpreted".to_string() } else { s.algorithm.clone() },
            shape: format!("{:?}", s.shape),
            params: node.map_or(0, params),
            macs: s.macs,
            moved: s.bytes,
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketnn_importer::ImportError;

    #[test]
    fn problems_are_told_with_place_nearest_and_fix_and_nothing_is_markup() {
        let mut report = Report::default();
        for node in ["a<b>", "c", "d", "e"] {
            let error = ImportError::unsupported("no lowering")
                .at_op("MyConv2D")
                .at_node(node)
                .help("write it")
                .nearest(Some("Conv2D"));
            report.add_unsupported(&error.with_shapes(vec!["f32[1, 2]".into()]));
        }
        let page =
            Page { source: "m.keras".into(), output: None, file_bytes: 0, report: &report, failure: None, model: None };
        let html = page.html();
        for part in ["MyConv2D", "4 times", "a&lt;b&gt;", "f32[1, 2]", "Conv2D", "write it", "not converted"] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("a<b>") && !html.contains("http") && html.trim_end().ends_with("</html>"));
    }
}
