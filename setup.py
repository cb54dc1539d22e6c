"""Packaging of rl_reason: what it needs, and which files belong to it."""

from pathlib import Path

from setuptools import find_packages, setup

readme = Path(__file__).with_name("README.md")
# Each is a module with `main`, and a program that runs it.
COMMANDS = (
    "compare", "contamination", "evaluate", "export", "generate", "grade", "plan", "prove", "report", "train",
)  # fmt: skip

setup(
    name="rl_reason",
    version="0.1.0",
    description="Reinforcement learning that teaches language models to reason, in JAX, with GRPO",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["rl_reason", "rl_reason.*"]),
    package_data={"rl_reason": ["**/*.html", "**/*.css", "**/*.js", "**/*.json", "**/*.jsonl", "**/*.txt"]},
    entry_points={"console_scripts": [f"rl-reason-{name} = rl_reason.console:main" for name in COMMANDS]},
    install_requires=[
        "jax>=0.10,<0.12",
        "flax>=0.12",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.11.30",
        "numpy>=2",
        "transformers>=5",
        "tokenizers>=0.22",
        "safetensors>=0.6",
        "tensorflow-datasets>=4.9.9",
        "array_record>=0.8",
        "importlib_resources",
        "grain>=0.2.12",
        "ml-collections>=1.1",
        "absl-py>=2",
        "math-verify[antlr4_13_2]>=0.8",
        "rich>=15",
        "datasketch>=2",
        "tensorboardX>=2.6",
        "matplotlib>=3.9",
        "plotly>=6",
    ],
    extras_require={
        "test": ["pytest>=8", "pytest-xdist>=3.6", "ruff", "mypy", "torch>=2.6", "peft>=0.18", "playwright>=1.50"],
        # The one version whose verifiers are known (`rl_reason/gym_tasks.py`).
        "gym": ["reasoning-gym==0.1.25"],
        # The versions whose constructions are known (`rl_reason/geometry/engine.py`).
        "geometry": ["newclid==3.0.1", "py-yuclid==3.0.0", "pyyaml"],
        "wandb": ["wandb>=0.31"],
        # In an environment of their own: they import nothing of the project (`make docs`).
        "docs": ["mkdocs-material>=9.7,<10", "mkdocstrings[python]>=1", "ruff"],
        "tpu": ["jax[tpu]"],
        "cuda": ["jax[cuda13]"],
        "cuda12": ["jax[cuda12]"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
