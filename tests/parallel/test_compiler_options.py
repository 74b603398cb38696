"""Compiler options that an XLA does not have are left out."""

from __future__ import annotations

import jax
import pytest

from brainjax.parallel import compiler_options


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (compiler_options.FAST_COMPILE, True),
        ({"xla_cpu_no_such_option": "1"}, False),
        ({"xla_cpu_opt_preset": "NO_SUCH_PRESET"}, False),
    ],
    ids=["known", "unknown option", "unknown value"],
)
def test_training_compiles_whatever_xla_knows(
    options: dict[str, str], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler_options, "FAST_COMPILE", options)
    chosen = compiler_options.training_options()
    assert chosen is not None
    assert (options.items() <= chosen.items()) == known
    assert jax.jit(lambda x: x + 1.0, compiler_options=chosen)(1.0) == 2.0
