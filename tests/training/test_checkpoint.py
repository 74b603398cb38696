"""Checkpoints: whole or absent, newest and best kept, damage told or passed over."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.training import Checkpoints

RUN = {"position": {"batch": 3}, "config": {"seed": 0}, "modalities": ["flair"]}


def at(state, step: int):
    return state.replace(
        step=jnp.int32(step),
        params=jax.tree.map(lambda leaf: jnp.full_like(leaf, step), state.params),
    )


def test_state_comes_back_bit_for_bit(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(at(state, 5), RUN)
        checkpoints.wait()
    with Checkpoints(tmp_path / "c") as checkpoints:
        restored, run = checkpoints.restore_latest(state)
    assert run == RUN
    wanted = at(state, 5)
    assert jax.tree.structure(restored) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(restored), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_the_newest_and_the_best_are_kept(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c", keep_latest=2) as checkpoints:
        for step, score in ((1, 0.1), (2, 0.9), (3, None), (4, 0.5), (5, 0.2), (6, None)):
            checkpoints.save(at(state, step), RUN, score=score)
        checkpoints.wait()
        assert checkpoints.latest_step == 6
        assert checkpoints.best_step == 2
    assert sorted(int(p.name) for p in (tmp_path / "c").iterdir() if p.name.isdigit()) == [2, 5, 6]


def test_those_of_every_few_steps_stay(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c", keep_latest=1, keep_every_steps=3) as checkpoints:
        for step in (1, 2, 3, 4, 6, 7):
            checkpoints.save(at(state, step), RUN)
        checkpoints.wait()
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        assert checkpoints.steps == [3, 6, 7]


def test_a_score_that_is_not_a_number_is_never_the_best(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(at(state, 1), RUN, score=0.5)
        checkpoints.save(at(state, 2), RUN, score=float("nan"))
        checkpoints.wait()
        assert checkpoints.best_step == 1


def test_a_damaged_newest_checkpoint_is_passed_over(state, tmp_path, capsys) -> None:
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in (1, 2):
            checkpoints.save(at(state, step), RUN)
        checkpoints.wait()
    for file in (tmp_path / "c" / "2" / "training").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with Checkpoints(tmp_path / "c") as checkpoints:
        restored, _ = checkpoints.restore_latest(state)
        assert int(restored.step) == 1
    assert "cannot be read" in capsys.readouterr().out


def test_damage_everywhere_is_one_clear_error(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(at(state, 1), RUN)
        checkpoints.wait()
    for file in (tmp_path / "c" / "1").rglob("*"):
        if file.is_file():
            file.write_bytes(b"{")
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(InputError, match="1: checkpoint"),
    ):
        checkpoints.restore_latest(state)


def test_nothing_saved_is_none_and_reading_nowhere_is_an_error(state, tmp_path) -> None:
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.restore_latest(state) is None
        assert checkpoints.best_step is None
    with pytest.raises(InputError, match="no checkpoints here"):
        Checkpoints(tmp_path / "missing", read_only=True)


def test_model_alone_gives_the_average(state, tmp_path) -> None:
    saved = state.replace(
        step=jnp.int32(1), average=jax.tree.map(lambda leaf: leaf + 1, state.params)
    )
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(saved, RUN)
        checkpoints.wait()
        variables = checkpoints.restore_model(1, jax.eval_shape(lambda: state))
    for a, b in zip(
        jax.tree.leaves(variables["params"]), jax.tree.leaves(saved.average), strict=True
    ):
        np.testing.assert_array_equal(a, b)
