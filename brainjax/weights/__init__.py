"""Other people's checkpoints, read safely and turned into our variables."""

from brainjax.weights.checkpoint_files import load_tensors
from brainjax.weights.hub import KNOWN, fetch_weights

__all__ = [
    "KNOWN",
    "fetch_weights",
    "load_tensors",
]
