"""What goes wrong with MR images, in measured strengths: for testing what a network bears.

Every function takes an image float ``[*spatial, C]`` with two or three spatial axes and
gives a new one of the same shape, float32. Strength 0 gives the image itself.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping

import numpy as np

BIAS_ORDER = 3
"""Degree of the polynomial of a bias field."""

Artefact = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def shift_intensity(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Adds a constant where the image is not 0, in units of the image.

    >>> shift_intensity(np.array([[[0.0]], [[1.0]]]), 0.5, np.random.default_rng(0)).ravel()
    array([0. , 1.5], dtype=float32)
    """
    del rng
    return np.where(image != 0, image + strength, image).astype(np.float32)


def scale_intensity(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies by 1 + strength.

    >>> scale_intensity(np.array([[[2.0]]]), -0.25, np.random.default_rng(0)).ravel()
    array([1.5], dtype=float32)
    """
    del rng
    return (image * (1.0 + strength)).astype(np.float32)


def add_rician_noise(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of a signal with Gaussian noise in its real and imaginary parts.

    Args:
      image: not negative, as a scanner's magnitude image.
      strength: standard deviation of the noise in those of the image's own values above 0,
        channel by channel.
      rng: draws the noise.
    """
    result = image.astype(np.float32)
    if strength == 0:
        return result
    for channel in range(image.shape[-1]):
        values = result[..., channel]
        deviation = np.float32(strength * _deviation(values))
        real = values + deviation * rng.standard_normal(values.shape, np.float32)
        imaginary = deviation * rng.standard_normal(values.shape, np.float32)
        result[..., channel] = np.hypot(real, imaginary)
    return result


def add_ghosts(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Ghosts of a head that moved to and fro: every second line of k-space is of the moved one.

    What comes of it are double edges, and a faint copy of them half a field of view away. The
    line at the centre stays, so that the mean brightness does. All channels move alike.

    Args:
      image: not negative.
      strength: how far, in voxels along one axis.
      rng: draws the axis.
    """
    if strength == 0:
        return image.astype(np.float32)
    axis = int(rng.integers(image.ndim - 1))
    cycles = np.fft.fftfreq(image.shape[axis])  # per voxel
    lines = np.rint(cycles * image.shape[axis]).astype(int)
    moved = np.where(lines % 2 == 1, np.exp(-2j * np.pi * cycles * strength), 1.0)
    spectrum = np.fft.fft(image, axis=axis)
    spectrum *= np.expand_dims(moved, [a for a in range(image.ndim) if a != axis])
    return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)


def add_bias_field(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies by a smooth field between exp(-strength) and exp(strength).

    The field's logarithm is a polynomial of degree 3 with random coefficients whose largest
    absolute value where the image is not 0 is ``strength``; all channels have the same.
    """
    if strength == 0:
        return image.astype(np.float32)
    shape = image.shape[:-1]
    axes = [
        np.linspace(-1, 1, size, dtype=np.float32).reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
        for axis, size in enumerate(shape)
    ]
    exponent: np.ndarray = np.zeros(shape, np.float32)
    for powers in itertools.product(range(BIAS_ORDER + 1), repeat=len(shape)):
        if 0 < sum(powers) <= BIAS_ORDER:
            term: np.ndarray = np.full(1, rng.standard_normal(), np.float32)
            for axis, power in zip(axes, powers, strict=True):
                term = term * axis**power
            exponent += term
    signal = np.abs(exponent[image.any(axis=-1)])
    largest = float(signal.max()) if signal.size else 0.0
    exponent *= np.float32(strength / max(largest, 1e-12))
    np.clip(exponent, -strength, strength, out=exponent)
    return (image * np.exp(exponent)[..., None]).astype(np.float32)


def lower_resolution(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Averages over voxels that are 1 + strength times as long, and interpolates back.

    Args:
      image: any.
      strength: 1 halves the resolution along every spatial axis.
      rng: not used.
    """
    del rng
    if strength == 0:
        return image.astype(np.float32)
    result = image.astype(np.float32)
    for axis in range(image.ndim - 1):
        matrix = _coarsening(image.shape[axis], 1.0 + strength)
        result = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
    return np.ascontiguousarray(result)


ACQUIRED: Mapping[str, Artefact] = {
    "noise": add_rician_noise,
    "ghosting": add_ghosts,
    "bias_field": add_bias_field,
    "resolution": lower_resolution,
}
"""Artefacts of the scanner: they come before any normalisation."""

NORMALISED: Mapping[str, Artefact] = {
    "intensity_shift": shift_intensity,
    "intensity_scale": scale_intensity,
}
"""Changes that a normalisation would take away: they come after it."""

STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "intensity_shift": (-0.5, 0.5, 1.0),
    "intensity_scale": (-0.4, -0.2, 0.2, 0.4),
    "noise": (0.1, 0.25, 0.5, 1.0),
    "ghosting": (1.0, 2.0, 4.0),
    "bias_field": (0.25, 0.5, 1.0),
    "resolution": (1.0, 2.0, 3.0),
}
"""From what a careful site sees to what a reader would reject."""


def present_subsets(modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every choice of at least one modality, the largest first: 15 of four.

    >>> present_subsets(("t1", "t2"))
    [('t1', 't2'), ('t1',), ('t2',)]
    """
    return [
        chosen
        for count in range(len(modalities), 0, -1)
        for chosen in itertools.combinations(modalities, count)
    ]


def artefact_generator(seed: int, name: str, case_id: str) -> np.random.Generator:
    """Random numbers of one artefact in one case: the same for every strength and every run."""
    words = [zlib.crc32(text.encode()) for text in (name, case_id)]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def _deviation(values: np.ndarray) -> float:
    signal = values[values > 0]
    return float(signal.std(dtype=np.float64)) if signal.size else 0.0


def _coarsening(count: int, size: float) -> np.ndarray:
    """The matrix ``[count, count]`` of averages over ``size`` voxels, interpolated linearly.

    Long voxels lie side by side from the first one's outer face on; the last is cut off at
    the image's end. Rows sum to 1.
    """
    faces = np.minimum(size * np.arange(np.ceil(count / size) + 1), count)
    voxel = np.arange(count)
    shared = np.minimum(faces[1:, None], voxel + 1) - np.maximum(faces[:-1, None], voxel)
    averages = np.maximum(shared, 0) / np.diff(faces)[:, None]  # [long voxels, count]
    centres = (faces[1:] + faces[:-1]) / 2
    between = [np.interp(voxel + 0.5, centres, unit) for unit in np.eye(len(centres))]
    return (np.array(between).T @ averages).astype(np.float32)
