"""Weights of the losses on coarser heads."""

from __future__ import annotations


def deep_supervision_weights(heads: int) -> tuple[float, ...]:
    """What the loss of each head counts, the finest first, as in nnU-Net.

    Each head counts half of the one before it, the coarsest of several not at all, and
    together they make 1.

    >>> deep_supervision_weights(1)
    (1.0,)
    >>> [round(7 * weight, 6) for weight in deep_supervision_weights(4)]
    [4.0, 2.0, 1.0, 0.0]
    """
    if heads == 1:
        return (1.0,)
    halves = [0.5**level for level in range(heads - 1)]
    return (*(half / sum(halves) for half in halves), 0.0)
