"""Other people's checkpoints, read safely and turned into our variables."""

from brainjax.weights.checkpoint_files import load_tensors

__all__ = ["load_tensors"]
