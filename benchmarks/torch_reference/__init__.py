"""The networks in PyTorch: what the tests compare with, and what ``benchmarks.speed`` times."""
