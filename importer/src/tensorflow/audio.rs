//! Front ends for sound, which graphs of keyword spotting begin with. They are not computed: their results can be fed.

use pocketnn::Dim;

use super::elem::Elem;
use super::graph::Slot;
use super::node::{Lowered, Node, Value, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("AudioSpectrogram", spectrogram), multi("DecodeWav", &["audio", "sample_rate"], decode_wav), op("Mfcc", mfcc)];

/// Why it is refused, and what to do.
pub(super) fn refusal(name: &str) -> ImportError {
    ImportError::unsupported("the front end for sound is not part of the network")
        .help(format!("compute it outside and feed its result: --feed {name}:0, or that of what follows it"))
}

/// An extent that an attribute fixes unless it is -1.
fn fixed(n: i64, name: &str) -> Dim {
    usize::try_from(n).map_or_else(|_| Dim::symbol(name), Dim::from)
}

fn known(d: &Dim) -> Option<i64> {
    d.known_signed()
}

/// `[samples, channels]` and the rate.
fn decode_wav<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let samples = fixed(cx.attrs.int("desired_samples", -1)?, "samples");
    let channels = fixed(cx.attrs.int("desired_channels", -1)?, "channels");
    let audio = cx.walker.shape_only(cx.base, Elem::F32, vec![samples, channels])?;
    let rate = cx.walker.shape_only("rate", Elem::I32, Vec::new())?;
    Ok(vec![Slot::Value(audio.into()), Slot::Value(rate.into())])
}

/// `[channels, windows, frequencies]`: windows every `stride` samples; half the next power of two of frequencies and one.
fn spectrogram<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let window = cx.attrs.int("window_size", 0)?;
    let stride = cx.attrs.int("stride", 0)?;
    cx.attrs.flag("magnitude_squared", false)?;
    if window < 2 || stride < 1 || window > 1 << 24 {
        return Err(ImportError::invalid("window and stride").found(format!("{window} and {stride}")));
    }
    let shape = match cx.value(0)? {
        Value::Tensor(v) => {
            let v = *v;
            cx.shape(v).to_vec()
        }
        _ => Vec::new(),
    };
    let windows = match shape.first().and_then(known) {
        Some(n) if n >= window => fixed((n - window) / stride + 1, "windows"),
        Some(_) => Dim::from(0),
        None => Dim::symbol("windows"),
    };
    let bins = u64::try_from(window).unwrap_or(2).next_power_of_two() / 2;
    let bins = fixed(i64::try_from(bins).unwrap_or(0).saturating_add(1), "bins");
    let channels = shape.get(1).cloned().unwrap_or_else(|| Dim::symbol("channels"));
    one(cx.walker.shape_only(cx.base, Elem::F32, vec![channels, windows, bins])?)
}

/// `[channels, windows, coefficients]`
fn mfcc<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["upper_frequency_limit", "lower_frequency_limit", "filterbank_channel_count"]);
    let coefficients = fixed(cx.attrs.int("dct_coefficient_count", 13)?, "coefficients");
    let v = cx.input(0)?;
    let mut shape: Vec<Dim> = cx.shape(v).iter().take(2).cloned().collect();
    shape.push(coefficients);
    one(cx.walker.shape_only(cx.base, Elem::F32, shape)?)
}
