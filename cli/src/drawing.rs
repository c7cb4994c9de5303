//! A graph as a picture: data flows down, layer by layer.
//!
//! 1. A vertex lies one layer below the lowest vertex it reads.
//! 2. An edge over several layers gets a bend in each, so that it goes around boxes.
//! 3. Within a layer vertices stand in the order of the mean place of their neighbours, a few sweeps down and up.
//! 4. Each layer is moved as near to its neighbours as the widths of the boxes allow (least squares under an order).

use crate::svg::{Anchor, Svg};
use crate::table::short;
use pocketnn::dim::show_shape;
use pocketnn::{Graph, ValueId};

const HEIGHT: f64 = 40.0;
const LAYER: f64 = 66.0;
const GAP: f64 = 18.0;
const MARGIN: f64 = 24.0;
const SWEEPS: usize = 8;

struct Vertex {
    /// Title and lines below it; nothing for a bend.
    lines: Vec<String>,
    fill: &'static str,
    round: bool,
    width: f64,
    layer: usize,
    x: f64,
}

struct Drawing {
    vertices: Vec<Vertex>,
    /// Between neighbouring layers.
    edges: Vec<(usize, usize)>,
    /// Vertices of each layer from left to right.
    layers: Vec<Vec<usize>>,
    /// For each edge of the graph its way from vertex to vertex.
    ways: Vec<Vec<usize>>,
}

/// Draws a graph.
pub fn draw(graph: &Graph) -> String {
    let mut d = Drawing::new(graph);
    d.bend();
    d.order();
    d.place();
    d.render(graph)
}

/// The colour of an op's family.
pub fn color(op: &str) -> &'static str {
    match op {
        "Conv" | "ConvTranspose" => "#cfe2ff",
        "Dense" | "MatMul" | "Einsum" => "#ffe1c4",
        "Pool" | "MaxPoolWithIndices" | "Reduce" | "ArgReduce" => "#d5f0d5",
        "Activate" | "Softmax" | "Hardmax" | "PRelu" => "#fff3bf",
        "Lstm" | "Gru" | "Rnn" => "#e6d9ff",
        "BatchNorm" | "GroupNorm" | "LayerNorm" | "Lrn" => "#fbd9e8",
        "Binary" | "Unary" | "Where" | "Cast" => "#d8f1f4",
        _ => "#ececec",
    }
}

fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.0
}

impl Drawing {
    fn new(graph: &Graph) -> Self {
        let mut d = Drawing { vertices: Vec::new(), edges: Vec::new(), layers: Vec::new(), ways: Vec::new() };
        let mut from: Vec<Option<usize>> = vec![None; graph.values().len()];
        let place = |v: ValueId| format!("{}{}", graph.ty(v).dtype, show_shape(&graph.ty(v).shape));
        for &i in graph.inputs() {
            from[i.index()] = Some(d.vertex(vec![short(&graph.value(i).name, 30), place(i)], "#ffffff", true, 0));
        }
        for n in graph.nodes() {
            let sources: Vec<usize> = n.operands().filter_map(|v| from[v.index()]).collect();
            let layer = sources.iter().map(|&s| d.vertices[s].layer + 1).max().unwrap_or(0);
            let shape = n.outputs.first().map_or(String::new(), |&o| show_shape(&graph.ty(o).shape));
            let v =
                d.vertex(vec![format!("{} {shape}", title(n)), short(&n.name, 34)], color(n.op.name()), false, layer);
            d.edges.extend(sources.into_iter().map(|s| (s, v)));
            n.outputs.iter().for_each(|o| from[o.index()] = Some(v));
        }
        let last = d.vertices.iter().map(|v| v.layer).max().unwrap_or(0) + 1;
        for &o in graph.outputs() {
            let layer = from[o.index()].map_or(last, |s| d.vertices[s].layer + 1);
            let v = d.vertex(vec![short(&graph.value(o).name, 30), place(o)], "#ffffff", true, layer);
            d.edges.extend(from[o.index()].map(|s| (s, v)));
        }
        d
    }

    fn vertex(&mut self, lines: Vec<String>, fill: &'static str, round: bool, layer: usize) -> usize {
        let width = lines.iter().map(|l| text_width(l)).fold(0.0, f64::max) + 20.0;
        self.vertices.push(Vertex { lines, fill, round, width, layer, x: 0.0 });
        self.vertices.len() - 1
    }

    /// Bends for edges over several layers, and the lists of layers.
    fn bend(&mut self) {
        for (a, b) in std::mem::take(&mut self.edges) {
            let mut way = vec![a];
            for layer in self.vertices[a].layer + 1..self.vertices[b].layer {
                self.vertices.push(Vertex { lines: Vec::new(), fill: "none", round: false, width: 4.0, layer, x: 0.0 });
                way.push(self.vertices.len() - 1);
            }
            way.push(b);
            self.edges.extend(way.windows(2).map(|w| (w[0], w[1])));
            self.ways.push(way);
        }
        let count = self.vertices.iter().map(|v| v.layer + 1).max().unwrap_or(0);
        self.layers = vec![Vec::new(); count];
        for (i, v) in self.vertices.iter().enumerate() {
            self.layers[v.layer].push(i);
        }
    }

    /// Neighbours of each vertex: above (`false`) or below.
    fn neighbours(&self, below: bool) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.vertices.len()];
        for &(a, b) in &self.edges {
            let (v, n) = if below { (a, b) } else { (b, a) };
            all[v].push(n);
        }
        all
    }

    fn order(&mut self) {
        let (above, below) = (self.neighbours(false), self.neighbours(true));
        let mut rank = vec![0.0; self.vertices.len()];
        let number = |layer: &[usize], rank: &mut Vec<f64>| {
            // Ranks are spread over the same range in every layer, so that layers of different lengths compare.
            let n = layer.len() as f64;
            layer.iter().enumerate().for_each(|(i, &v)| rank[v] = (i as f64 + 0.5) / n);
        };
        self.layers.iter().for_each(|l| number(l, &mut rank));
        for sweep in 0..SWEEPS {
            let (down, neighbours) = (sweep % 2 == 0, if sweep % 2 == 0 { &above } else { &below });
            let count = self.layers.len();
            for i in 0..count {
                let layer = &mut self.layers[if down { i } else { count - 1 - i }];
                let wish: Vec<f64> =
                    rank.iter().enumerate().map(|(v, &r)| mean(&neighbours[v], &rank).unwrap_or(r)).collect();
                layer.sort_by(|&a, &b| wish[a].total_cmp(&wish[b]));
                number(layer, &mut rank);
            }
        }
    }

    fn place(&mut self) {
        let (above, below) = (self.neighbours(false), self.neighbours(true));
        let mut x = vec![0.0; self.vertices.len()];
        for sweep in 0..SWEEPS * 2 {
            let down = sweep % 2 == 0;
            let count = self.layers.len();
            for i in 0..count {
                let layer = &self.layers[if down { i } else { count - 1 - i }];
                let wish: Vec<f64> = layer
                    .iter()
                    .map(|&v| {
                        let both: Vec<usize> = above[v].iter().chain(&below[v]).copied().collect();
                        let near = if sweep == 0 { &above[v] } else { &both };
                        mean(near, &x).unwrap_or(x[v])
                    })
                    .collect();
                let widths: Vec<f64> = layer.iter().map(|&v| self.vertices[v].width).collect();
                for (&v, at) in layer.iter().zip(spread(&wish, &widths)) {
                    x[v] = at;
                }
            }
        }
        for (v, x) in self.vertices.iter_mut().zip(x) {
            v.x = x;
        }
    }

    fn render(&self, graph: &Graph) -> String {
        let left = self.vertices.iter().map(|v| v.x - v.width / 2.0).fold(f64::INFINITY, f64::min).min(0.0);
        let right = self.vertices.iter().map(|v| v.x + v.width / 2.0).fold(0.0, f64::max);
        let top = MARGIN + 26.0;
        let height = top + self.layers.len() as f64 * LAYER + MARGIN;
        let width = (right - left + 2.0 * MARGIN).max(text_width(graph.name()) + 2.0 * MARGIN);
        let mut svg = Svg::new(width, height);
        let x = |v: usize| self.vertices[v].x - left + MARGIN;
        let y = |v: usize| top + self.vertices[v].layer as f64 * LAYER;
        svg.text(MARGIN, MARGIN + 4.0, 15.0, Anchor::Start, "#222222", graph.name());
        for way in &self.ways {
            let mut points = Vec::new();
            for (i, &v) in way.iter().enumerate() {
                if i > 0 {
                    points.push((x(v), y(v)));
                }
                if i + 1 < way.len() {
                    points.push((x(v), y(v) + HEIGHT));
                }
            }
            svg.arrow(&points, "#8a8f98");
        }
        for (i, v) in self.vertices.iter().enumerate().filter(|(_, v)| !v.lines.is_empty()) {
            let (cx, cy) = (x(i), y(i));
            let radius = if v.round { HEIGHT / 2.0 } else { 6.0 };
            svg.rect(cx - v.width / 2.0, cy, v.width, HEIGHT, radius, v.fill, "#5c6370");
            for (n, line) in v.lines.iter().enumerate() {
                let fill = if n == 0 { "#111111" } else { "#555555" };
                svg.text(cx, cy + 17.0 + n as f64 * 14.0, if n == 0 { 12.0 } else { 10.5 }, Anchor::Middle, fill, line);
            }
        }
        svg.finish()
    }
}

/// The op, and its kind where it has one.
fn title(n: &pocketnn::Node) -> String {
    let attributes = n.op.attributes();
    let of = |key: &str| attributes.get(key).and_then(serde_json::Value::as_str).map(str::to_string);
    of("kind").map_or_else(|| n.op.name().to_string(), |k| format!("{} {k}", n.op.name()))
}

fn mean(of: &[usize], x: &[f64]) -> Option<f64> {
    if of.is_empty() { None } else { Some(of.iter().map(|&v| x[v]).sum::<f64>() / of.len() as f64) }
}

/// The places nearest to `wish` (least squares) at which boxes of these widths stand in this order without overlapping.
fn spread(wish: &[f64], widths: &[f64]) -> Vec<f64> {
    // With the widths taken off, the places must only not decrease: pool neighbours that do.
    let mut offset = vec![0.0; wish.len()];
    for i in 1..wish.len() {
        offset[i] = offset[i - 1] + f64::midpoint(widths[i - 1], widths[i]) + GAP;
    }
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (w, o) in wish.iter().zip(&offset) {
        pools.push((w - o, 1));
        while let [.., (a, n), (b, m)] = pools[..] {
            if a <= b {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push(((a * n as f64 + b * m as f64) / (n + m) as f64, n + m));
        }
    }
    let places = pools.into_iter().flat_map(|(at, n)| std::iter::repeat_n(at, n));
    places.zip(offset).map(|(at, o)| at + o).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketnn::ops::elementwise::BinaryKind;
    use pocketnn::{DType, GraphBuilder};

    #[test]
    fn boxes_keep_their_distance() {
        assert_eq!(spread(&[0.0, 0.0], &[10.0, 10.0]), [-14.0, 14.0]);
        assert_eq!(spread(&[0.0, 100.0], &[10.0, 10.0]), [0.0, 100.0]);
        let many = spread(&[5.0, 3.0, 1.0, 1.0], &[4.0; 4]);
        assert!(many.windows(2).all(|w| w[1] - w[0] >= 4.0 + GAP - 1e-9));
    }

    #[test]
    fn an_edge_over_layers_bends_and_names_are_there() {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", DType::F32, [pocketnn::Dim::from(2)]);
        let y = b.relu(x, "r1").unwrap();
        let y = b.relu(y, "r2").unwrap();
        let z = b.binary(BinaryKind::Add, x, y, "sum").unwrap();
        b.output(z);
        let g = b.finish().unwrap();
        let mut d = Drawing::new(&g);
        d.bend();
        assert_eq!(d.ways.iter().map(Vec::len).max(), Some(4));
        assert_eq!(d.layers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 1, 1]);
        let text = draw(&g);
        assert!(["r1", "r2", "sum", "Binary"].iter().all(|n| text.contains(n)) && text.contains("f32[2]"));
    }
}
