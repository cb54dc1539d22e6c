"""MMLU as a TensorFlow Datasets builder."""
