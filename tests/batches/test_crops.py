"""Where patches start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainjax.batches import start_around, uniform_start

SIZES = st.tuples(*[st.integers(1, 30)] * 3)


@given(full=SIZES, patch=SIZES, seed=st.integers(0, 1000))
def test_a_patch_stays_inside_or_is_centred(
    full: tuple[int, int, int], patch: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    voxel = [int(rng.integers(size)) for size in full]
    for start in (uniform_start(rng, full, patch), start_around(rng, voxel, full, patch)):
        for first, size, length in zip(start, full, patch, strict=True):
            if length < size:
                assert 0 <= first <= size - length
            else:
                before, after = -first, length - size + first
                assert 0 <= after - before <= 1 or before == after


@given(full=SIZES, patch=SIZES, seed=st.integers(0, 1000))
def test_a_patch_around_a_voxel_holds_it(
    full: tuple[int, int, int], patch: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    voxel = [int(rng.integers(size)) for size in full]
    start = start_around(rng, voxel, full, patch)
    for position, first, length in zip(voxel, start, patch, strict=True):
        assert first <= position < first + length


def test_uniform_starts_are_uniform(rng: np.random.Generator) -> None:
    starts = np.array([uniform_start(rng, (10, 7, 5), (8, 4, 5)) for _ in range(3000)])
    for axis, positions in enumerate((3, 4, 1)):
        counts = np.bincount(starts[:, axis], minlength=positions)
        assert len(counts) == positions
        assert counts.min() > 0.85 * 3000 / positions


def test_a_voxel_away_from_the_border_lies_in_the_middle_half(rng: np.random.Generator) -> None:
    within = np.array(
        [50 - np.array(start_around(rng, (50,) * 3, (100,) * 3, (16, 8, 5))) for _ in range(500)]
    )
    assert within.min(axis=0).tolist() == [4, 2, 1]
    assert within.max(axis=0).tolist() == [11, 5, 3]


@pytest.mark.parametrize(("patch", "start"), [(10, -2), (11, -2), (6, 0)])
def test_a_small_volume_lies_in_the_middle(
    rng: np.random.Generator, patch: int, start: int
) -> None:
    assert uniform_start(rng, (6, 6, 6), (patch,) * 3) == (start,) * 3
