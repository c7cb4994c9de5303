//! Operators of the domain `com.microsoft` that quantizers and exporters emit: integers computed in f32, and fused layers taken apart.

mod fused;
mod quantized;

use super::registry::{Lower, Row};

const fn ms(name: &'static str, lower: Lower) -> Row {
    Row { domain: "com.microsoft", name, since: &[1], lower }
}

pub(super) const ROWS: &[Row] = &[
    ms("BiasGelu", fused::bias_gelu),
    ms("DequantizeLinear", super::quantize::dequantize_linear),
    ms("DynamicQuantizeMatMul", quantized::dynamic_mat_mul),
    ms("FastGelu", fused::fast_gelu),
    ms("FusedConv", fused::fused_conv),
    ms("FusedGemm", fused::fused_gemm),
    ms("MatMulIntegerToFloat", quantized::mat_mul_to_float),
    ms("NhwcConv", fused::nhwc_conv),
    ms("NhwcFusedConv", fused::nhwc_conv),
    ms("QGemm", quantized::gemm),
    ms("QLinearAdd", quantized::add),
    ms("QLinearAveragePool", quantized::average_pool),
    ms("QLinearConcat", quantized::concat),
    ms("QLinearGlobalAveragePool", quantized::global_average_pool),
    ms("QLinearLeakyRelu", quantized::leaky_relu),
    ms("QLinearMul", quantized::mul),
    ms("QLinearSigmoid", quantized::sigmoid),
    ms("QLinearSoftmax", quantized::softmax),
    ms("QuantizeLinear", super::quantize::quantize_linear),
    ms("SkipLayerNormalization", fused::skip_layer_norm),
    ms("SkipSimplifiedLayerNormalization", fused::skip_rms_norm),
];
