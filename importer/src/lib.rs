//! Imports Keras and ONNX networks into pocketnn graphs.
