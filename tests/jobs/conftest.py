"""Runs of the command line that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from brainjax.jobs import evaluate_classifier, repeat
from brainjax.scans import write_phantom_slices
from tests.jobs.classification import COMMAND
from tests.jobs.command_line import DEMO, TINY, CommandLine


@pytest.fixture(scope="session")
def command() -> CommandLine:
    return CommandLine()


@pytest.fixture(scope="session")
def train(command: CommandLine) -> Callable[..., str]:
    def run(workdir: Path, *more: str, code: int = 0) -> str:
        return command(DEMO, f"--workdir={workdir}", *TINY, *more, code=code)

    return run


@pytest.fixture(scope="session")
def finished(train: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("finished")
    train(workdir)
    return workdir


@pytest.fixture(scope="session")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and Testing of four classes: 32 and 8 images, copies included."""
    root = tmp_path_factory.mktemp("kaggle") / "images"
    return write_phantom_slices(root, layout="image_folder", slices_per_class=8, seed=0)


@pytest.fixture(scope="session")
def classifier(
    command: CommandLine, kaggle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A classifier's run of three epochs that was never interrupted; not to be changed."""
    workdir = tmp_path_factory.mktemp("classifier")
    command(*COMMAND, f"--config.data.root={kaggle}", f"--workdir={workdir}")
    return workdir


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pages, which take longer than training; tests/report looks at them."""
    nothing = lambda *arguments, **options: ()  # noqa: E731
    monkeypatch.setattr(evaluate_classifier, "write_classification_report", nothing)
    monkeypatch.setattr(repeat, "write_comparison_report", nothing)
