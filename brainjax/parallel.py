"""Start-up, devices and the way from a host batch to arrays on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from brainjax.errors import InputError
from brainjax.layers import onednn

STEP_INPUTS = ("image", "labels", "texture")
"""What a training step may use of a batch."""


def cache_folder() -> Path:
    """The user's cache: ``BRAINJAX_CACHE_DIR``, else ``~/.cache/brainjax``."""
    named = os.environ.get("BRAINJAX_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "brainjax"


def start() -> None:
    """Turns on the persistent compilation cache, where that does not cost more than it saves.

    On a CPU where convolutions can go through oneDNN it stays off, since the cache cannot
    hold such programs: compiling anew takes some twenty seconds, every training step is
    half as long. With ``BRAINJAX_CPU_CONV=sum2d``, or a cache that jax itself was told of,
    it is the other way round.
    """
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    fast = os.environ.get("BRAINJAX_CPU_CONV", "auto") in ("auto", "onednn")
    if jax.default_backend() == "cpu" and fast and not onednn.unsupported():
        return
    folder = cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def make_mesh(batch_size: int) -> Mesh:
    """All local devices along one axis, ``data``, that the batch is split over.

    Raises:
      InputError: the batch does not divide by the number of devices.
    """
    devices = jax.local_devices()
    if batch_size % len(devices):
        below, above = batch_size - batch_size % len(devices), -(-batch_size // len(devices))
        raise InputError(
            f"batches.batch_size {batch_size} does not divide by the {len(devices)} devices here; "
            f"try {below or above * len(devices)}"
        )
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: parameters, optimiser state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def place_batch(batch: dict[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """What the training step needs of a host batch, the first axis split over the devices."""
    split = NamedSharding(mesh, PartitionSpec("data"))
    needed = {name: np.asarray(batch[name]) for name in STEP_INPUTS if name in batch}
    return jax.device_put(needed, split)
