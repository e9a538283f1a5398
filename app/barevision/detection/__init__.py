"""Network inputs, network outputs and the detections chosen from them: pure functions on arrays."""
