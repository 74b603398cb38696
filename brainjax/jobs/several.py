"""What commands of several runs share: variants, folders, and which runs are finished."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment import with_changes
from brainjax.files import read_json
from brainjax.jobs import saved_run
from brainjax.jobs.fit import CHECKPOINTS
from brainjax.jobs.reconstruction_snapshots import AUTOENCODER, CLASSIFIER

_SETS = "seed_*", "fold_*"
"""Folders of runs that are averaged to predict."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One of several ways to run an experiment.

    Attributes:
      name: of its folder and of its row; empty when there is only one.
      changes: dotted names of the configuration to new values.
    """

    name: str
    changes: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name as a folder's: ``focal + SMOTE`` becomes ``focal_smote``."""
        return folder_name(self.name)

    def change(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration with the changes made.

        Raises:
          InputError: it has no such key.
        """
        try:
            return with_changes(config, self.changes)
        except InputError as error:
            raise InputError(f"variants: {self.name!r} changes the unknown {error}") from error


def folder_name(name: str) -> str:
    """A variant's name in small letters, digits and underscores."""
    return "_".join(re.findall(r"[a-z0-9]+", name.lower()))


def is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether everything of this very configuration is done, its summary included."""
    return (folder / "summary.json").is_file() and saved_run.is_finished(folder, config)


def check_kind(workdir: Path, *, several: bool) -> None:
    """Compares what a folder holds with what a command is about to put there.

    Args:
      workdir: the command's folder.
      several: whether it makes several runs, each in a folder below.

    Raises:
      InputError: the folder holds a single run where several are wanted, or the reverse.
    """
    holds_one = (workdir / CHECKPOINTS).is_dir()
    inside = [path.parent.name for path in sorted(workdir.glob(f"*/{CHECKPOINTS}"))]
    inside += [path.parent.parent.name for path in sorted(workdir.glob(f"*/*/{CHECKPOINTS}"))]
    if several and holds_one:
        raise InputError(
            f"{workdir}: holds a single run, this configuration asks for several; choose another "
            "--workdir"
        )
    if inside and not several:
        raise InputError(
            f"{workdir}: holds several runs ({', '.join(dict.fromkeys(inside))}); repeat the first "
            "command's options to go on with them, or choose another --workdir"
        )


def runs_in(path: Path) -> list[Path]:
    """The trained networks that a path means.

    That is all seeds or folds of one experiment, the classifier of a reconstruction, or itself.

    Raises:
      InputError: several experiments lie there, or folds that are not finished.
    """
    if not path.is_dir() or (path / CHECKPOINTS).is_dir():
        return [path]
    runs = _members(path)
    if runs:
        _check_folds(runs)
        return runs
    if (path / AUTOENCODER).is_dir() and (path / CLASSIFIER / CHECKPOINTS).is_dir():
        return [path / CLASSIFIER]
    variants = sorted(
        child for child in path.iterdir() if (child / CHECKPOINTS).is_dir() or _members(child)
    )
    if variants:
        raise InputError(
            f"{path}: holds several experiments ({', '.join(one.name for one in variants)}); "
            f"choose one, such as {variants[0]}"
        )
    return [path]


def _members(folder: Path) -> list[Path]:
    found = [path for kind in _SETS for path in folder.glob(kind) if (path / CHECKPOINTS).is_dir()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _check_folds(runs: list[Path]) -> None:
    """Folds are averaged when all are there; half of an ensemble is nobody's wish."""
    folds = [run for run in runs if run.name.startswith("fold_")]
    if not folds:
        return
    done = [run for run in folds if (run / saved_run.FINISHED).is_file()]
    wanted = read_json(done[0] / saved_run.FINISHED)["split"]["folds"] if done else len(folds)
    if len(done) < wanted:
        raise InputError(
            f"{folds[0].parent}: {len(done)} of its {wanted} folds are finished; finish the others "
            "with --mode=crossvalidate, or name those to average with --checkpoint=FOLD"
        )
