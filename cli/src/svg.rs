//! A small writer of SVG pictures.

use std::fmt::Write;

/// Text that may stand in an element or attribute. Characters that XML does not allow are left out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// A picture; coordinates in pixels, x to the right and y down.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// The text begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty picture on white.
    pub fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { width, height, body: String::new() };
        svg.rect(0.0, 0.0, width, height, 0.0, "#ffffff", "none");
        svg
    }
    /// A rectangle with rounded corners.
    pub fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, radius: f64, fill: &str, stroke: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{radius:.1}" fill="{fill}" stroke="{stroke}"/>"#
        );
    }
    /// A line of text whose baseline is at `y`.
    pub fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, fill: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size:.1}" text-anchor="{anchor}" fill="{fill}">{text}</text>"#
        );
    }
    /// A circle.
    pub fn circle(&mut self, x: f64, y: f64, r: f64, fill: &str, stroke: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r:.1}" fill="{fill}" fill-opacity="0.85" stroke="{stroke}"/>"#
        );
    }
    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{stroke}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }
    /// A smooth line downwards through points, with an arrow at its end.
    pub fn arrow(&mut self, points: &[(f64, f64)], stroke: &str) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let mut path = format!("M{:.1} {:.1}", first.0, first.1);
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let middle = f64::midpoint(y0, y1);
            let _ = write!(path, " C{x0:.1} {middle:.1} {x1:.1} {middle:.1} {x1:.1} {y1:.1}");
        }
        let _ = writeln!(self.body, r#"<path d="{path}" fill="none" stroke="{stroke}"/>"#);
        let (x, y) = *last;
        let _ = writeln!(
            self.body,
            r#"<path d="M{:.1} {:.1} L{x:.1} {y:.1} L{:.1} {:.1} Z" fill="{stroke}"/>"#,
            x - 3.5,
            y - 6.0,
            x + 3.5,
            y - 6.0
        );
    }
    /// The file.
    pub fn finish(self) -> String {
        let (w, h) = (self.width.ceil(), self.height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             font-family=\"Helvetica, Arial, sans-serif\">\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_picture() {
        let mut s = Svg::new(10.0, 10.0);
        s.text(0.0, 0.0, 10.0, Anchor::End, "#000", "<a&\"b\u{0}\u{1b}>");
        let text = s.finish();
        assert!(text.contains(">&lt;a&amp;&quot;b&gt;</text>"), "{text}");
    }
}
