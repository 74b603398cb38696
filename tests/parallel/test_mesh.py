"""Mistakes in how devices and processes are asked for, and what holds on one device."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.experiment import complete_saved
from brainjax.layers.dropout import Dropout
from brainjax.parallel import ParallelOptions
from brainjax.parallel.connect import connect


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lift": "vmap"}, "expected one of auto, jit, shard_map, pmap"),
        ({"space": 0}, "1 or more"),
        ({"lift": "pmap", "space": 2}, "need lift='jit'"),
        ({"lift": "shard_map", "shard_parameters": True}, "need lift='jit'"),
    ],
)
def test_options_are_checked(options: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ParallelOptions(**options)


def test_batches_on_cpus_are_copied_when_they_are_placed() -> None:
    """A step given an unfinished copy would run, and allocate, in another thread."""
    batch = {"image": np.zeros((64, 1024, 1024), np.float32)}
    mesh = parallel.make_mesh(64, devices=jax.devices("cpu")[:1])
    placed = parallel.place_batch(batch, mesh)
    assert placed["image"].is_ready()


def test_space_has_to_divide_the_devices() -> None:
    number = jax.device_count() + 1
    with pytest.raises(InputError, match=rf"parallel\.space {number} does not divide the"):
        parallel.make_mesh(8, ParallelOptions(space=number))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("node1:99", None, None), "--processes, --process missing"),
        (("node1", 2, 0), "expected HOST:PORT"),
        (("node1:99", 2, 2), "a number from 0 to processes - 1"),
    ],
)
def test_flags_come_together(arguments: tuple, told: str) -> None:
    with pytest.raises(InputError, match=told):
        connect(*arguments)


def test_one_slurm_task_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    connect()
    assert not jax.distributed.is_initialized()


def test_runs_from_before_there_was_a_choice_choose_by_themselves() -> None:
    assert complete_saved({"task": "segmentation"})["parallel"] == {
        "lift": "auto", "space": 1, "shard_parameters": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("platform", "devices", "options", "chosen"),
    [
        ("cpu", 8, {}, "jit"),
        ("gpu", 1, {}, "jit"),
        ("gpu", 8, {}, "shard_map"),
        ("gpu", 8, {"space": 2}, "jit"),
        ("gpu", 8, {"shard_parameters": True}, "jit"),
        ("gpu", 8, {"lift": "jit"}, "jit"),
        ("gpu", 8, {"lift": "pmap"}, "pmap"),
    ],
)
def test_several_gpus_run_the_step_each(monkeypatch, platform, devices, options, chosen) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert ParallelOptions(**options).chosen == chosen


@pytest.mark.parametrize("broadcast", [(), (1, 2)])
def test_dropout_is_that_of_flax(broadcast: tuple[int, ...]) -> None:
    x = jnp.ones((3, 4, 4, 8))

    class Net(nn.Module):
        layer: type[nn.Module]

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.layer(0.3, broadcast_dims=broadcast, deterministic=False)(x)

    ours, theirs = (
        Net(layer).apply({}, x, rngs={"dropout": jax.random.key(1)})
        for layer in (Dropout, nn.Dropout)
    )
    np.testing.assert_array_equal(ours, theirs)
    assert 0 < np.count_nonzero(ours) < x.size
