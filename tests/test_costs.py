"""Costs against those in ``costs.json``: no clock, so that a busy machine says the same.

Where a change of costs is meant, record anew:

    python -m benchmarks.costs --json tests/costs.json
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from benchmarks import costs as benchmark
from benchmarks._cost_runs import CONFIGS
from brainjax.files import read_json

RECORD = read_json(Path(__file__).parent / "costs.json")
MAY_RISE = ("bytes_accessed", "temporary_bytes", "held_bytes")
TOLERANCE = 0.02
"""By what share those may rise; all others have to be as recorded."""
SLOW_TO_TRACE = ("kaggle4_densenet121",)
HOW = "if that is meant, record anew: python -m benchmarks.costs --json tests/costs.json"


@functools.cache
def measured(name: str) -> benchmark.Compiled:
    return benchmark.measure(name)


def differences(found: dict[str, Any], recorded: dict[str, Any]) -> str:
    """What costs more than recorded, or is another than recorded; empty for nothing."""
    told = []
    for name in sorted({*found, *recorded}):
        now, then = found.get(name), recorded.get(name)
        if name in MAY_RISE and now is not None and then is not None:
            if now > then * (1 + TOLERANCE):
                told.append(
                    f"{name} rose by {now / then - 1:.1%}, from {then:,.0f} to {now:,.0f}; "
                    f"{TOLERANCE:.0%} is let pass"
                )
        elif (list(now) if isinstance(now, tuple) else now) != then:
            told.append(f"{name} was {then}, now is {now}")
    return "\n".join([*told, HOW]) if told else ""


def test_every_configuration_is_recorded() -> None:
    assert set(RECORD["counted"]) == set(benchmark.NAMES), HOW
    assert set(RECORD["compiled"]) == set(benchmark.COMPILED), HOW
    files = {name.partition(":")[0] for name in benchmark.NAMES}
    # The ablations leave out parts of cga; a reconstruction trains several networks.
    files |= {"cga_ablations", "figshare_saliency_unet"}
    assert files == {file.stem for file in CONFIGS.glob("[!_]*.py")}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_TO_TRACE else [])
        for name in benchmark.NAMES
    ],
)
def test_macs(name: str) -> None:
    found = dataclasses.asdict(benchmark.count(name))
    told = differences(found, RECORD["counted"][name])
    assert not told, f"{name}: {told}"


@pytest.mark.parametrize("name", benchmark.COMPILED)
def test_a_step_is_compiled_once(name: str) -> None:
    found = measured(name)
    assert found.compilations == RECORD["compiled"][name]["compilations"] == 1
    assert found.compilations_resumed == RECORD["compiled"][name]["compilations_resumed"]
    assert found.compilations_resumed in ((1,) if name in benchmark.RESUMED else (None,))


@pytest.mark.parametrize("name", benchmark.COMPILED)
def test_bytes_and_memory(name: str) -> None:
    here, there = benchmark.compiler(), RECORD["compiler"]
    other = [f"{key} {here[key]}, not {there[key]}" for key in here if here[key] != there[key]]
    if other:
        pytest.skip(f"another compiler than recorded gives other figures: {'; '.join(other)}")
    told = differences(dataclasses.asdict(measured(name)), RECORD["compiled"][name])
    assert not told, f"{name}: {told}"


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("counted", {"macs_step": 101}, "macs_step was 100, now is 101"),
        ("counted", {"macs_step": 99}, "macs_step was 100, now is 99"),
        ("counted", {"macs_step_frozen": None}, "macs_step_frozen was 100, now is None"),
        ("counted", {"batch": (3, 8, 8)}, "batch was"),
        ("compiled", {"bytes_accessed": 103}, "bytes_accessed rose by 3.0%, from 100 to 103"),
        ("compiled", {"bytes_accessed": 102}, ""),
        ("compiled", {"bytes_accessed": 50}, ""),
        ("compiled", {"bytes_accessed": None}, "bytes_accessed was 100, now is None"),
        ("compiled", {"temporary_bytes": 103}, "temporary_bytes rose by 3.0%"),
        ("compiled", {"held_bytes": 200}, "held_bytes rose by 100.0%"),
        ("compiled", {"compilations": 2}, "compilations was 100, now is 2"),
    ],
)
def test_higher_costs_are_told(table: str, change: dict[str, Any], message: str) -> None:
    kind = {"counted": benchmark.Counted, "compiled": benchmark.Compiled}[table]
    record = {field.name: 100 for field in dataclasses.fields(kind)} | {"batch": [2, 8, 8]}
    told = differences(record | {"batch": (2, 8, 8)} | change, record)
    assert message in told
    assert (HOW in told) == bool(message)


def test_compilations_are_counted() -> None:
    def named(x: jax.Array) -> jax.Array:
        return x + 1

    function = jax.jit(named)
    with benchmark._compilations("jit(named)") as found:
        function(jax.numpy.ones(2))
        function(jax.numpy.zeros(2))
        assert len(found) == 1
        function(jax.numpy.ones(3))
        jax.jit(lambda x: x - 1)(jax.numpy.ones(3))
    function(jax.numpy.ones(4))
    assert len(found) == 2


def test_the_benchmark_writes_its_rows(tmp_path, monkeypatch, capsys) -> None:
    rows = tmp_path / "rows.json"
    arguments = ["--case=kaggle4_baseline", "--no-compile", f"--json={rows}"]
    monkeypatch.setattr(sys, "argv", ["costs", *arguments])
    benchmark.main()
    assert "| kaggle4_baseline | 32 x 30 x 30 x 1 | 46,596 |" in capsys.readouterr().out
    found = read_json(rows)
    assert set(found) == {"compiler", "counted", "compiled"}
    assert found["compiler"]["jax"] == jax.__version__
    assert found["counted"] == {"kaggle4_baseline": RECORD["counted"]["kaggle4_baseline"]}
