"""An encoder as one graph for another library: OpenVINO or ONNX Runtime."""
