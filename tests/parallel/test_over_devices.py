"""One device, eight devices in every way: the same numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.jobs.command_line import ENVIRONMENT, ROOT

NAMES = (
    *(f"{problem}/{lift}/8"
      for problem in ("batch_norm", "group_norm", "slices")
      for lift in ("jit", "shard_map", "pmap")),
    "batch_norm/jit/2",
    "batch_norm/shard_parameters",
    "batch_norm/space",
    "group_norm/space",
    "accumulate/shard_map/4",
    "predict/8/jit/space1",
    "predict/3/jit/space2",
    "predict/8/shard_map/space1",
    "predict/3/shard_map/space1",
)  # fmt: skip


@pytest.fixture(scope="module")
def told() -> dict[str, float]:
    """What ``over_devices`` found, by name."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.parallel.over_devices"],
        cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("devices", [1, 6])
def test_a_state_in_parts_is_restored_on_other_devices(
    devices: int, told: dict[str, float]
) -> None:
    assert told[f"restored/{devices}"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_predictions_are_those_of_one_device(name: str, told: dict[str, float]) -> None:
    assert told[name] < 1e-4


def test_each_device_keeps_an_eighth_of_parameters_and_optimiser(told: dict[str, float]) -> None:
    assert told["kept/kernel"] == pytest.approx(1 / 8)
    assert told["kept/optimizer"] == pytest.approx(1 / 8)


def test_neighbours_along_depth_exchange_what_convolutions_need(told: dict[str, float]) -> None:
    assert told["batch_norm/space/exchanges"] > 0
    assert told["batch_norm/jit/8/exchanges"] == 0


def test_a_depth_that_does_not_divide_is_refused(told: dict[str, float]) -> None:
    assert told["odd_depth_refused"] == 1
