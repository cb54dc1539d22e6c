"""MATH as a TensorFlow Datasets builder."""
