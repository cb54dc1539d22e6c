"""Plane geometry in the language of AlphaGeometry (Trinh et al., Nature 2024): statements, and what proves them.

Leaves: no jax, and nothing of what stands above `runtime`.
"""
