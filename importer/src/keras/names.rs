//! Names of Keras 1 in the vocabulary of Keras 2 and 3: one table for classes, one for fields.

use serde_json::{Map, Value};

/// Classes that changed their name.
pub const CLASSES: &[(&str, &str)] = &[
    ("AtrousConvolution1D", "Conv1D"),
    ("AtrousConvolution2D", "Conv2D"),
    ("Conv2D_Transpose", "Conv2DTranspose"),
    ("Convolution1D", "Conv1D"),
    ("Convolution1DTranspose", "Conv1DTranspose"),
    ("Convolution2D", "Conv2D"),
    ("Convolution2DTranspose", "Conv2DTranspose"),
    ("Convolution3D", "Conv3D"),
    ("Convolution3DTranspose", "Conv3DTranspose"),
    ("Deconvolution2D", "Conv2DTranspose"),
    ("Deconvolution3D", "Conv3DTranspose"),
    ("DepthwiseConvolution1D", "DepthwiseConv1D"),
    ("DepthwiseConvolution2D", "DepthwiseConv2D"),
    ("GlobalAvgPool1D", "GlobalAveragePooling1D"),
    ("GlobalAvgPool2D", "GlobalAveragePooling2D"),
    ("GlobalAvgPool3D", "GlobalAveragePooling3D"),
    ("GlobalMaxPool1D", "GlobalMaxPooling1D"),
    ("GlobalMaxPool2D", "GlobalMaxPooling2D"),
    ("GlobalMaxPool3D", "GlobalMaxPooling3D"),
    ("AvgPool1D", "AveragePooling1D"),
    ("AvgPool2D", "AveragePooling2D"),
    ("AvgPool3D", "AveragePooling3D"),
    ("MaxPool1D", "MaxPooling1D"),
    ("MaxPool2D", "MaxPooling2D"),
    ("MaxPool3D", "MaxPooling3D"),
    ("BatchNormalizationV1", "BatchNormalization"),
    ("BatchNormalizationV2", "BatchNormalization"),
    ("SyncBatchNormalization", "BatchNormalization"),
    ("LSTMV2", "LSTM"),
    ("GRUV2", "GRU"),
    ("GroupedQueryAttention", "GroupQueryAttention"),
    ("SeparableConvolution1D", "SeparableConv1D"),
    ("SeparableConvolution2D", "SeparableConv2D"),
    ("TensorFlowOpLayer", "TensorFlowOp"),
    ("UpSample2D", "UpSampling2D"),
];

/// Fields of Keras 1, whatever the class.
const FIELDS: &[(&str, &str)] = &[
    ("nb_filter", "filters"),
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("subsample_length", "strides"),
    ("filter_length", "kernel_size"),
    ("pool_length", "pool_size"),
    ("stride", "strides"),
    ("stride_length", "strides"),
    ("dim_ordering", "data_format"),
    ("bias", "use_bias"),
    ("p", "rate"),
    ("sigma", "stddev"),
    ("inner_activation", "recurrent_activation"),
    ("atrous_rate", "dilation_rate"),
    ("depth_multiplier", "depth_multiplier"),
    ("W_regularizer", "kernel_regularizer"),
    ("U_regularizer", "recurrent_regularizer"),
    ("b_regularizer", "bias_regularizer"),
    ("W_constraint", "kernel_constraint"),
    ("U_constraint", "recurrent_constraint"),
    ("b_constraint", "bias_constraint"),
    ("init", "kernel_initializer"),
    ("inner_init", "recurrent_initializer"),
    ("forget_bias_init", "bias_initializer"),
    ("dropout_W", "dropout"),
    ("dropout_U", "recurrent_dropout"),
    ("length", "size"),
    ("output_mask", "output_mask_initializer"),
];

/// Fields that mean something only in some classes: class, old, new.
const CLASS_FIELDS: &[(&str, &str, &str)] = &[
    ("Dense", "output_dim", "units"),
    ("TimeDistributedDense", "output_dim", "units"),
    ("SimpleRNN", "output_dim", "units"),
    ("LSTM", "output_dim", "units"),
    ("GRU", "output_dim", "units"),
    ("Highway", "output_dim", "units"),
    ("MaxoutDense", "output_dim", "units"),
    ("LeakyReLU", "alpha", "negative_slope"),
    ("RepeatVector", "n", "n"),
    ("Flatten", "dim_ordering", "data_format"),
];

/// Class name of Keras 2 and 3; dotted prefixes (`Custom>`, `keras.layers.`) stay, since they tell custom objects.
pub fn class(name: &str) -> &str {
    CLASSES.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

/// The configuration with names and values of Keras 2 and 3. `class` is the new name.
pub fn fields(class: &str, version: u8, old: &Map<String, Value>) -> Map<String, Value> {
    let mut new = Map::new();
    for (key, value) in old {
        let renamed = CLASS_FIELDS
            .iter()
            .find(|(c, o, _)| *c == class && o == key)
            .map(|(_, _, n)| *n)
            .or_else(|| if version == 1 { FIELDS.iter().find(|(o, _)| o == key).map(|(_, n)| *n) } else { None });
        new.insert(renamed.unwrap_or(key).to_owned(), value.clone());
    }
    if version == 1 {
        join_sizes(&mut new);
    }
    for key in ["data_format", "padding"] {
        if let Some(Value::String(text)) = new.get(key) {
            let value = match text.as_str() {
                "th" => "channels_first",
                "tf" => "channels_last",
                other => other,
            };
            let value = value.to_owned();
            new.insert(key.to_owned(), Value::String(value));
        }
    }
    new
}

/// `nb_row`, `nb_col` (and `kernel_dim1..3`) of Keras 1 as one `kernel_size`.
fn join_sizes(map: &mut Map<String, Value>) {
    for parts in [&["nb_row", "nb_col"][..], &["kernel_dim1", "kernel_dim2", "kernel_dim3"][..]] {
        if parts.iter().all(|p| map.contains_key(*p)) {
            let sizes: Vec<Value> = parts.iter().filter_map(|p| map.remove(*p)).collect();
            map.insert("kernel_size".to_owned(), Value::Array(sizes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keras_1_names_become_those_of_keras_2() {
        let old = json!({"nb_filter": 5, "nb_row": 3, "nb_col": 2, "border_mode": "same", "subsample": [2, 2],
            "dim_ordering": "th", "bias": true, "W_regularizer": null});
        let new = fields(class("Convolution2D"), 1, old.as_object().unwrap());
        assert_eq!(
            Value::Object(new),
            json!({"filters": 5, "padding": "same", "strides": [2, 2], "data_format": "channels_first",
                "use_bias": true, "kernel_regularizer": null, "kernel_size": [3, 2]})
        );
        let dense = json!({"output_dim": 4});
        assert_eq!(fields("Dense", 1, dense.as_object().unwrap())["units"], 4);
        assert_eq!(fields("Embedding", 1, dense.as_object().unwrap())["output_dim"], 4);
    }

    #[test]
    fn newer_versions_keep_fields_that_only_look_old() {
        let map = json!({"p": 1, "init": 2});
        let new = fields("Dense", 3, map.as_object().unwrap());
        assert_eq!(Value::Object(new), map);
    }
}
