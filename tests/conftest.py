"""Settings and fixtures that all tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile a lot and run little: code that is slower but sooner there.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Programs with the oneDNN call are in no cache; the tests of convolutions ask for them.
os.environ.setdefault("BRAINJAX_CPU_CONV", "plain")

import jax
import numpy as np
import pytest
from absl import flags

gc.set_threshold(100_000)  # as the command line has it
jax.config.update("jax_numpy_rank_promotion", "raise")
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --run-slow"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scans that BRAINJAX_DATA names; skips where there is none."""
    folder = os.environ.get("BRAINJAX_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BRAINJAX_DATA does not name a folder with real scans")
    return Path(folder)
