"""ONNX: onnxruntime, the reference evaluator, and graphs made for both."""
