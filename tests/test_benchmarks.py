"""Every benchmark at least loads and tells its options; running them is for a quiet machine."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

NAMES = sorted(
    file.stem
    for file in (Path(__file__).parent.parent / "benchmarks").glob("*.py")
    if not file.stem.startswith("_")
)


@pytest.mark.parametrize("name", NAMES)
def test_help(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    assert "--json" in capsys.readouterr().out
