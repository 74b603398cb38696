"""A user's mistake ends in one line that says what to do, and exit code 2."""

from __future__ import annotations

import fcntl
import os
import runpy
from pathlib import Path

import pytest

from brainjax import jobs
from brainjax.errors import InputError
from tests.jobs.command_line import DEMO, ROOT


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config=configs/cgga.py"], "no such file; brainjax brings cga.py"),
        (["--config=configs/cga.py:papr"], "use :demo, :paper or :released"),
        (["--config=/nowhere/cga.py"], "/nowhere/cga.py: no such file"),
        ([DEMO, "--config.data.rot=y"], 'Did you mean "root"'),
        ([DEMO, "--config.model.depth=(1,)"], "the configuration has no depth"),
        ([DEMO, "--config.loop.steps=many"], "invalid literal for int"),
        ([DEMO, "--mode=test"], "should be one of"),
        ([DEMO, "--workdr=x"], "workdr"),
        ([DEMO, "train"], "unexpected word"),
        ([], "--config is missing"),
        (["--config.seed=1"], "--config.seed changes a configuration, and none is given"),
    ],
)
def test_command_line(arguments, told, command, tmp_path) -> None:
    output = command(f"--workdir={tmp_path / 'run'}", *arguments, code=2)
    [line] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert told in line, output
    assert not (tmp_path / "run").exists()


def run(mode: str = "train", *, variant: str = "demo", workdir: Path | None = None, **changes):
    config = runpy.run_path(str(ROOT / "configs" / "cga.py"))["get_config"](variant)
    config.phantom.cases, config.phantom.shape = 4, (32, 32, 32)
    inputs = changes.pop("inputs", [])
    checkpoints = changes.pop("checkpoints", [])
    config.update_from_flattened_dict({name.replace("__", "."): v for name, v in changes.items()})
    return jobs.run(
        mode, config=config, overrides={}, workdir=workdir, inputs=inputs, output=None,
        checkpoints=checkpoints, write_probabilities=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"variant": "paper"}, "--config.data.root=FOLDER"),
        ({"data__root": "/nowhere"}, "/nowhere: no such folder"),
        ({"model__variant": "papr"}, "papr"),
        ({"model__name": "swin"}, "not one of ['attention_unet', 'cga_unet'"),
        ({"model__dtype": "float8"}, "not one of ['bfloat16', 'float32']"),
        ({"optimizer__algorithm": "sgdd"}, "sgdd"),
        ({"inference__mode": "both"}, "['sliding_window', 'whole_volume']"),
        ({"split__fold": 7}, "from 0 to folds - 1"),
        ({"split__folds": 9}, "more than the 4 patients"),
        ({"evaluation__convention": "brats1999"}, "brats1999"),
        ({"evaluation__hd95_method": "median"}, "median"),
        ({"evaluation__test_root": "/nowhere"}, "/nowhere: no such folder"),
        ({"optimizer__learning_rate": -1.0}, "expected 0 or more"),
        ({"loop__steps": -5}, "set one of them"),
        ({"loop__epochs": 3}, "set one of them"),
        ({"batches__patch_shape": (20, 16, 16)}, "try (16, 16, 16)"),
        ({"batches__accumulate": 4}, "batch_size 2 does not divide by batches.accumulate 4"),
        ({"batches__accumulate": 0}, "batches.accumulate 0: expected a whole number, 1 or more"),
        ({"mode": "evaluate"}, "no checkpoints here"),
        ({"mode": "predict"}, "--input=PATH"),
        ({"mode": "predict", "checkpoints": [Path("/nowhere")], "inputs": [Path("x")]}, "/nowhere"),
    ],
)
def test_jobs(changes, told, tmp_path) -> None:
    with pytest.raises(InputError, match=r".") as caught:
        run(workdir=tmp_path / "run", **changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(workdir=tmp_path / "file" / "run")


def test_two_processes_in_one_folder(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            run(workdir=tmp_path / "run")
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_no_workdir() -> None:
    with pytest.raises(InputError, match="--workdir is missing"):
        run()


def test_released_weights_need_a_config(tmp_path) -> None:
    with pytest.raises(InputError, match=r"cga\.py:released"):
        jobs.run(
            "predict", config=None, overrides={}, workdir=None, inputs=[tmp_path],
            output=tmp_path, checkpoints=[tmp_path / "model.pth"], write_probabilities=False,
        )  # fmt: skip
