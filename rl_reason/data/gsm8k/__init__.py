"""GSM8K as a TensorFlow Datasets builder."""
