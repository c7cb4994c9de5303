//! The picture of a measurement: the roofline, and under it one bar a layer.

use super::layers::Layer;
use super::{Measured, roofline};
use crate::drawing::color;
use crate::svg::{Anchor, Svg};
use crate::table::short;
use pocketnn::dim::show_shape;

const ROW: f64 = 20.0;
const LEFT: f64 = 330.0;
const BARS: f64 = 420.0;
const WIDTH: f64 = 1090.0;
const TOP: f64 = 58.0;

/// Draws everything measured with one number of threads.
pub fn draw(name: &str, m: &Measured) -> String {
    let bars = TOP + roofline::HEIGHT + 40.0;
    let mut svg = Svg::new(WIDTH, bars + ROW * m.layers.list.len() as f64 + 20.0);
    svg.text(16.0, 24.0, 15.0, Anchor::Start, "#111111", name);
    let threads = if m.threads == 1 { "1 thread".to_string() } else { format!("{} threads", m.threads) };
    let line = format!(
        "median {:.3} ms on {threads}; {:.1} % of it in the layers below; FMA peak {:.1} GFLOP/s, measured in the same process",
        m.times.quantile(0.5),
        100.0 * m.layers.explained(),
        m.machine.gflops
    );
    svg.text(16.0, 44.0, 12.0, Anchor::Start, "#555555", &line);
    roofline::draw(&mut svg, TOP, WIDTH, &m.layers, &m.machine);
    svg.text(
        16.0,
        bars - 10.0,
        12.0,
        Anchor::Start,
        "#555555",
        "Layers in the order in which they run: median time, rate, share of the FMA peak",
    );
    let longest = m.layers.list.iter().map(Layer::median).fold(1e-9, f64::max);
    for (i, l) in m.layers.list.iter().enumerate() {
        bar(&mut svg, bars + ROW * i as f64, l, longest, m.machine.gflops);
    }
    svg.finish()
}

fn bar(svg: &mut Svg, y: f64, l: &Layer, longest: f64, peak: f64) {
    let label = format!("{}  {}", short(&l.info.name, 30), show_shape(&l.info.shape));
    svg.text(LEFT - 8.0, y + 14.0, 11.0, Anchor::End, "#222222", &label);
    let width = BARS * l.median() / longest;
    svg.rect(LEFT, y + 3.0, width.max(1.0), ROW - 6.0, 2.0, color(l.info.op), "#5c6370");
    let rate = match l.info.macs {
        0 => format!("{:.1} us", l.median()),
        _ => format!("{:.1} us, {:.1} GFLOP/s, {:.0} %", l.median(), l.effective(), 100.0 * l.effective() / peak),
    };
    let what = format!("{rate}  {} {}", l.info.op, l.info.algorithm);
    svg.text(LEFT + width + 6.0, y + 14.0, 11.0, Anchor::Start, "#555555", &what);
}
