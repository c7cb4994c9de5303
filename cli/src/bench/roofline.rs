//! A roofline: operations a second over operations a byte, both logarithmic. No layer can lie above the roof: the lower of the arithmetic
//! peak and the bandwidth of the memory that its bytes come from. Layers by minimal filtering stand with the operations they really do.

use super::layers::{Layer, Layers};
use crate::drawing::color;
use crate::svg::{Anchor, Svg};
use crate::table::short;
use pocketnn::plan::cost::Machine;

/// Height of the picture.
pub const HEIGHT: f64 = 430.0;

const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const BOTTOM: f64 = 50.0;
/// Layers that are named.
const NAMED: usize = 7;
/// Largest radius of a layer, which takes all the time.
const RADIUS: f64 = 26.0;

/// Two logarithmic axes.
struct Axes {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Operations a byte.
    x: (f64, f64),
    /// GFLOP/s.
    y: (f64, f64),
}

impl Axes {
    fn x(&self, intensity: f64) -> f64 {
        let part = (intensity / self.x.0).log2() / (self.x.1 / self.x.0).log2();
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }
    fn y(&self, rate: f64) -> f64 {
        let part = (rate / self.y.0).log2() / (self.y.1 / self.y.0).log2();
        self.bottom - part.clamp(0.0, 1.0) * (self.bottom - self.top)
    }
    fn grid(&self, svg: &mut Svg) {
        let mut tick = self.x.0;
        while tick <= self.x.1 * 1.01 {
            let x = self.x(tick);
            svg.line((x, self.top), (x, self.bottom), "#eeeeee");
            svg.text(x, self.bottom + 16.0, 11.0, Anchor::Middle, "#555555", &number(tick));
            tick *= 4.0;
        }
        let mut tick = self.y.0;
        while tick <= self.y.1 * 1.01 {
            let y = self.y(tick);
            svg.line((self.left, y), (self.right, y), "#eeeeee");
            svg.text(self.left - 6.0, y + 4.0, 11.0, Anchor::End, "#555555", &number(tick));
            tick *= 4.0;
        }
        let middle = f64::midpoint(self.left, self.right);
        svg.text(
            middle,
            self.bottom + 36.0,
            12.0,
            Anchor::Middle,
            "#555555",
            "operations for each byte read or written",
        );
        svg.text(self.left - 50.0, self.top - 8.0, 12.0, Anchor::Start, "#555555", "GFLOP/s");
    }
    /// The roofs of the memories, each up to the peak, and the peak.
    fn roofs(&self, svg: &mut Svg, machine: &Machine) {
        let fastest = machine.bandwidth.iter().copied().fold(1e-9, f64::max);
        let (ridge, peak) = (machine.gflops / fastest, machine.gflops);
        svg.line((self.x(ridge), self.y(peak)), (self.right, self.y(peak)), "#d6336c");
        let label = format!("FMA {peak:.0} GFLOP/s");
        svg.text(self.right, self.y(peak) - 5.0, 11.0, Anchor::End, "#d6336c", &label);
        for (bandwidth, (name, colour)) in
            machine.bandwidth.iter().zip([("L2", "#2f9e44"), ("L3", "#1971c2"), ("DRAM", "#9c36b5")])
        {
            // A line of slope one: from where it enters the picture to where it meets the peak.
            let from = self.x.0.max(self.y.0 / bandwidth);
            let to = (peak / bandwidth).min(self.x.1);
            svg.line((self.x(from), self.y(from * bandwidth)), (self.x(to), self.y(to * bandwidth)), colour);
            let (at, label) = (from * 1.15, format!("{name} {bandwidth:.0} GB/s"));
            svg.text(self.x(at) + 8.0, self.y(at * bandwidth) + 4.0, 11.0, Anchor::Start, colour, &label);
        }
    }
}

fn number(x: f64) -> String {
    if x >= 1.0 { format!("{x:.0}") } else { format!("1/{:.0}", 1.0 / x) }
}

/// A power of four at or below.
fn below(x: f64) -> f64 {
    4f64.powf((x.log2() / 2.0).floor())
}

/// Draws the roofs and the layers.
pub fn draw(svg: &mut Svg, top: f64, width: f64, layers: &Layers, machine: &Machine) {
    let mut shown: Vec<&Layer> = layers.list.iter().filter(|l| l.real() > 0.0).collect();
    shown.sort_by(|a, b| b.median().total_cmp(&a.median()));
    let total = layers.total().max(1e-9);
    // What takes a thousandth of the time says nothing and would stretch the axes.
    let counts = |l: &&&Layer| l.median() > total / 1000.0;
    let lowest = shown.iter().filter(counts).map(|l| l.real()).fold(machine.gflops / 16.0, f64::min);
    let thinnest = shown.iter().filter(counts).map(|l| l.info.work.intensity()).fold(1.0, f64::min);
    let axes = Axes {
        left: LEFT,
        right: width - RIGHT,
        top: top + 24.0,
        bottom: top + HEIGHT - BOTTOM,
        x: (below(thinnest).max(1.0 / 64.0), 1024.0),
        y: (below(lowest).max(1.0 / 64.0), below(machine.gflops) * 4.0),
    };
    axes.grid(svg);
    axes.roofs(svg, machine);
    let mut labels: Vec<(f64, f64, f64)> = Vec::new();
    for l in &shown {
        let (x, y) = (axes.x(l.info.work.intensity()), axes.y(l.real()));
        let r = (RADIUS * (l.median() / total).sqrt()).max(2.0);
        svg.circle(x, y, r, color(l.info.op), "#5c6370");
    }
    for l in shown.iter().take(NAMED) {
        let (x, y) = (axes.x(l.info.work.intensity()), axes.y(l.real()));
        let r = (RADIUS * (l.median() / total).sqrt()).max(2.0);
        let text = format!("{} {:.0} %", short(&l.info.name, 24), 100.0 * l.median() / total);
        name(svg, &mut labels, (x, y, r), &text, axes.right);
    }
}

/// Writes a name beside its point, below the names that stand there already.
fn name(svg: &mut Svg, labels: &mut Vec<(f64, f64, f64)>, (x, y, r): (f64, f64, f64), text: &str, right: f64) {
    let width = text.chars().count() as f64 * 6.2;
    let left = if x + r + 6.0 + width > right { x - r - 6.0 - width } else { x + r + 6.0 };
    let mut line = y + 4.0;
    while labels.iter().any(|&(l, t, w)| (t - line).abs() < 12.0 && l < left + width && left < l + w) {
        line += 6.0;
    }
    labels.push((left, line, width));
    svg.text(left, line, 11.0, Anchor::Start, "#222222", text);
}
