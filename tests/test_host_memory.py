"""Memory that a step frees is there for the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from brainjax.host_memory import _SET_BY_USER, keep_freed_memory

STEPS = """
import resource
import sys
from brainjax import parallel
if "keep" in sys.argv:
    parallel.start()
import jax, jax.numpy as jnp

@jax.jit
def step(x):
    return jnp.cumsum(jnp.cumsum(x * 2.0)[::-1] + x)[-1:]  # holds arrays as large as x

x = jnp.ones(2**23)
for _ in range(3):
    step(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _SET_BY_USER}


def page_faults(*arguments: str, environment: dict[str, str]) -> int:
    """Of five steps, each of which needs 2^13 pages at the least."""
    found = subprocess.run(
        [sys.executable, "-c", STEPS, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(found.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
@pytest.mark.slow
def test_pages_are_not_cleared_anew_in_every_step(plain_environment: dict[str, str]) -> None:
    without = page_faults(environment=plain_environment)
    kept = page_faults("keep", environment=plain_environment)
    assert kept < without / 4


@pytest.mark.parametrize("name", _SET_BY_USER)
def test_a_users_own_settings_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
