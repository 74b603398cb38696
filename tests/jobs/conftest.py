"""Runs of the command line that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
