//! What the command line says about pictures: how pixels become numbers.

use crate::failure::Failure;
use crate::tensors::{Layout, Look};
use clap::ValueEnum;
use pocketnn::Graph;
use pocketnn::preprocess::{Filter, Fit, Preprocessing};

/// Order of a colour's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// How pixels between pixels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resampling {
    /// The nearest pixel.
    Nearest,
    /// Linear.
    Bilinear,
    /// Cubic.
    Bicubic,
}

/// How a picture of other proportions fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proportions {
    /// Both axes are resized on their own.
    Stretch,
    /// The largest middle part is resized.
    Crop,
    /// Borders are added.
    Letterbox,
    /// The shorter side is resized to --shorter, the middle is cut out.
    Center,
}

/// How pixels become numbers: resized to the input, then (value * scale - mean) / std.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct LookArgs {
    /// Factor of pixel values 0..255 [default: the model's, or 1/255]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub scale: Option<f32>,
    /// Subtracted after scaling: one number, or one for each channel [default: the model's, or 0]
    #[arg(long, value_name = "X,..", value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Vec<f32>,
    /// Divided by: one number, or one for each channel [default: the model's, or 1]
    #[arg(long, value_name = "X,..", value_delimiter = ',')]
    pub std: Vec<f32>,
    /// Pixel values 0..255 become LOW..HIGH, such as -1,1 or 0,255
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = range, conflicts_with_all = ["scale", "mean", "std"])]
    pub range: Option<(f32, f32)>,
    /// Order of the channels
    #[arg(long, value_name = "ORDER")]
    pub channel_order: Option<Order>,
    /// The same as --channel-order bgr
    #[arg(long, conflicts_with = "channel_order")]
    pub bgr: bool,
    /// Dark on light becomes light on dark
    #[arg(long)]
    pub invert: bool,
    /// How pictures of another size are resampled [default: the model's, or bilinear]
    #[arg(long, value_name = "FILTER")]
    pub resize: Option<Resampling>,
    /// Widen the filter where a picture becomes smaller
    #[arg(long)]
    pub antialias: bool,
    /// How pictures of other proportions fit [default: the model's, or stretch]
    #[arg(long, value_name = "HOW")]
    pub fit: Option<Proportions>,
    /// Length of the shorter side before --fit center
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub shorter: usize,
    /// Pixel value of the border of --fit letterbox
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub fill: f32,
}

fn range(text: &str) -> Result<(f32, f32), String> {
    let (low, high) = text.split_once(',').ok_or("expected LOW,HIGH")?;
    let number = |t: &str| t.trim().parse::<f32>().map_err(|e| format!("`{t}`: {e}"));
    match (number(low)?, number(high)?) {
        (a, b) if a < b && a.is_finite() && b.is_finite() => Ok((a, b)),
        _ => Err(format!("`{text}`: expected two numbers, the smaller first")),
    }
}

impl LookArgs {
    /// What was asked for; the rest stays open.
    pub fn asked(&self) -> Preprocessing {
        let (scale, mean) = match self.range {
            Some((low, high)) => (Some((high - low) / 255.0), vec![-low]),
            None => (self.scale, self.mean.clone()),
        };
        let bgr = self.bgr.then_some(true).or(self.channel_order.map(|o| o == Order::Bgr));
        let filter = self.resize.map(|r| match r {
            Resampling::Nearest => Filter::Nearest,
            Resampling::Bilinear => Filter::Bilinear,
            Resampling::Bicubic => Filter::Bicubic,
        });
        let fit = self.fit.map(|f| match f {
            Proportions::Stretch => Fit::Stretch,
            Proportions::Crop => Fit::Crop,
            Proportions::Letterbox => Fit::Letterbox { fill: self.fill },
            Proportions::Center => Fit::Center { shorter: self.shorter },
        });
        let (invert, antialias) = (self.invert.then_some(true), self.antialias.then_some(true));
        Preprocessing { scale, mean, std: self.std.clone(), bgr, invert, filter, antialias, fit, source: None }
    }
    /// Together with what the model says.
    ///
    /// # Errors
    /// When the model's preprocessing cannot be understood.
    pub fn with(&self, graph: &Graph, layout: Option<Layout>) -> Result<Look, Failure> {
        Ok(Look { how: self.asked().or(&Preprocessing::of(graph)?), layout: layout.map(Layout::runtime) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_scale_and_a_mean() {
        let args = LookArgs { range: Some(range("-1,1").unwrap()), ..LookArgs::default() };
        let asked = args.asked();
        assert_eq!((asked.scale, asked.mean), (Some(2.0 / 255.0), vec![1.0]));
        assert!(range("1,0").is_err() && range("1").is_err() && range("x,2").is_err() && range("0,inf").is_err());
    }
}
