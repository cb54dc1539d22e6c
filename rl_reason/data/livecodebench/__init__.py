"""LiveCodeBench as a TensorFlow Datasets builder."""
