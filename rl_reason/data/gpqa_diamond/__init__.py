"""GPQA-diamond as a TensorFlow Datasets builder."""
