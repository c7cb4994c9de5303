//! The measurements as text and as JSON.

use super::Measured;
use super::layers::Layer;
use crate::output::{self, Paint};
use crate::table::{Align, Table, short};
use pocketnn::dim::show_shape;
use pocketnn::kernels::isa::Isa;
use pocketnn::plan::cost::Machine;
use serde_json::{Value, json};
use std::fmt::Write as _;

const COLUMNS: [(&str, Align); 14] = [
    ("layer", Align::Left),
    ("op", Align::Left),
    ("output", Align::Left),
    ("algorithm", Align::Left),
    ("us best", Align::Right),
    ("median", Align::Right),
    ("p90", Align::Right),
    ("%", Align::Right),
    ("predicted", Align::Right),
    ("GFLOP/s", Align::Right),
    ("% of peak", Align::Right),
    ("bytes", Align::Right),
    ("bound", Align::Left),
    ("% of bound", Align::Right),
];

/// The algorithm and its tile.
pub fn algorithm(info: &pocketnn::plan::StepInfo) -> String {
    if info.tile.is_empty() { info.algorithm.clone() } else { format!("{} {}", info.algorithm, info.tile) }
}

impl Measured {
    fn row(&self, l: &Layer, total: f64) -> Vec<String> {
        let (rate, share) = match l.info.macs {
            0 => (String::new(), String::new()),
            _ => (format!("{:.1}", l.effective()), format!("{:.0}", 100.0 * l.effective() / self.machine.gflops)),
        };
        vec![
            short(&l.info.name, 32),
            l.info.op.to_string(),
            show_shape(&l.info.shape),
            algorithm(&l.info),
            format!("{:.1}", l.quantile(0.0)),
            format!("{:.1}", l.median()),
            format!("{:.1}", l.quantile(0.9)),
            format!("{:.1}", 100.0 * l.median() / total),
            format!("{:.1}", l.cost(&Machine::REFERENCE).nanoseconds / 1e3),
            rate,
            share,
            output::bytes(l.info.bytes as u64),
            l.cost(&self.machine).limit.name().to_string(),
            format!("{:.0}", 100.0 * l.of_bound(&self.machine)),
        ]
    }

    /// The table of the layers, and the figures of the whole.
    pub fn to_text(&self, name: &str) -> String {
        let paint = Paint::stdout();
        let threads = if self.threads == 1 { "1 thread".to_string() } else { format!("{} threads", self.threads) };
        let mut text = format!("{} on {threads}, {}\n\n", paint.bold(name), Isa::detect());
        if self.layers.list.is_empty() {
            text.push_str("shapes are decided while running: no layers to show\n");
        } else {
            let (mut table, total) = (Table::new(&COLUMNS), self.layers.total());
            self.layers.list.iter().for_each(|l| table.row(self.row(l, total)));
            text.push_str(&table.render(paint));
            self.whole(&mut text);
        }
        let (q, load) = (|q| self.times.quantile(q), self.loading);
        let _ = writeln!(
            text,
            "{} {:.4} ms   p10 {:.4}  p90 {:.4}  min {:.4}   {} runs",
            paint.bold("median"),
            q(0.5),
            q(0.1),
            q(0.9),
            q(0.0),
            self.times.sorted.len()
        );
        let ready = load.open + load.session + self.times.first;
        let _ = writeln!(
            text,
            "open {:.2} ms, session {:.2} ms, first inference {:.2} ms: {ready:.2} ms from the file to the first result",
            load.open, load.session, self.times.first
        );
        if let (bytes @ 1.., ms) = self.times.settled {
            let _ =
                writeln!(text, "after it {:.1} MB of weights moved to huge pages in {ms:.2} ms", bytes as f64 / 1e6);
        }
        text
    }

    fn whole(&self, text: &mut String) {
        let (m, l) = (&self.machine, &self.layers);
        let rate = 2.0 * l.macs() as f64 / (l.whole() * 1e3);
        let _ = writeln!(
            text,
            "\nlayers {:.1} us, the whole {:.1} us; layers explain {:.1} % of a run; {rate:.1} GFLOP/s, {:.0} % of the FMA peak",
            l.total(),
            l.whole(),
            100.0 * l.explained(),
            100.0 * rate / m.gflops
        );
        let [l2, l3, memory] = m.bandwidth;
        let _ = writeln!(
            text,
            "measured here: FMA peak {:.1} GFLOP/s; reading {l2:.0} GB/s from L2, {l3:.0} from L3, {memory:.0} from DRAM",
            m.gflops
        );
        for layer in &l.list {
            if let Some(note) = layer.info.note() {
                let _ = writeln!(text, "note: {} `{}` {note}", layer.info.op, layer.info.name);
            }
        }
    }

    /// The line of the protocol, with everything else that was measured.
    pub fn to_json(&self) -> Value {
        let m = &self.machine;
        let mut json = self.times.to_json(self.loading.total());
        let layer = |l: &Layer| {
            let (cost, i) = (l.cost(m), &l.info);
            json!({
                "name": i.name, "op": i.op, "shape": i.shape, "algorithm": i.algorithm, "tile": i.tile,
                "us_best": l.quantile(0.0), "us_median": l.median(), "us_p90": l.quantile(0.9),
                "us_predicted": l.cost(&Machine::REFERENCE).nanoseconds / 1e3, "macs": i.macs, "flops": i.work.flops, "bytes": i.bytes,
                "gflops": l.effective(), "peak_share": l.effective() / m.gflops, "bound": cost.limit.name(),
                "bound_share": l.of_bound(m), "note": i.note(),
            })
        };
        json["threads"] = json!(self.threads);
        json["isa"] = json!(Isa::detect().name());
        json["open_ms"] = json!(self.loading.open);
        json["session_ms"] = json!(self.loading.session);
        json["peak_gflops"] = json!(m.gflops);
        json["bandwidth_gb_s"] = json!({ "l2": m.bandwidth[0], "l3": m.bandwidth[1], "dram": m.bandwidth[2] });
        json["whole_us"] = json!(self.layers.whole());
        json["explained"] = json!(self.layers.explained());
        json["layers"] = self.layers.list.iter().map(layer).collect();
        json
    }
}
