"""Several runs of one segmentation: the folds of a cross-validation, and an ablation's variants."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import read_case_table
from brainjax.experiment import Experiment, build
from brainjax.jobs.compare_variants import compare_variants
from brainjax.jobs.fit import INTERRUPTED, latest_run
from brainjax.jobs.folder_lock import FolderInUseError, alone_in
from brainjax.jobs.pool_folds import Fold, Scored, pool_folds, read_fold_scores
from brainjax.jobs.prepare import Data, find_data, split_again
from brainjax.jobs.saved_run import check_configuration, mark_finished
from brainjax.jobs.several import Variant, check_kind, folder_name, is_finished
from brainjax.jobs.train import train


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """One network of several.

    Attributes:
      variant: which way of running the experiment.
      fold: the one that it holds out; None in a single split.
      folder: where it is.
      experiment: of this variant and fold.
    """

    variant: Variant
    fold: int | None
    folder: Path
    experiment: Experiment

    @property
    def finished(self) -> bool:
        """Whether everything of this very configuration is done."""
        return is_finished(self.folder, self.experiment.config)


def crossvalidate(
    built: Experiment, workdir: Path, *, fold: int | None = None, variants: Sequence[str] = ()
) -> int:
    """Trains and scores a network for each fold, and reports on the cases that none had seen.

    Each fold has a folder ``fold_<n>`` and all share phantoms and records. A finished
    fold is kept, an interrupted one is resumed. Processes may share the work: each
    takes what no other is at. Whoever ends last writes the common report, for an
    ablation that of each variant and their comparison.

    Args:
      built: the experiment; ``split.folds`` says how many.
      workdir: the folder of them all.
      fold: train this one only.
      variants: of an ablation, train these only.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.

    Raises:
      InputError: scans, configuration, fold or variant cannot be used, the folder holds
        other runs, or another process is at work on the chosen fold.
    """
    folds = built.split.folds
    if folds == 1:
        raise InputError(
            "config.split.folds is 1: cross-validation needs 2 folds or more; "
            "try --config.split.folds=5"
        )
    if fold is not None and not 0 <= fold < folds:
        raise InputError(
            f"--fold={fold}: expected 0 to {folds - 1} (config.split.folds is {folds})"
        )
    runs = _plan(built, workdir, folds=range(folds))
    chosen = _choose(runs, variants, fold)
    return _train_and_compare(built, workdir, runs, chosen)


def train_variants(built: Experiment, workdir: Path, *, variants: Sequence[str] = ()) -> int:
    """Trains an ablation's variants on a single split and compares them; see ``crossvalidate``."""
    runs = _plan(built, workdir, folds=(None,))
    return _train_and_compare(built, workdir, runs, _choose(runs, variants, None))


def _plan(built: Experiment, workdir: Path, *, folds: Sequence[int | None]) -> list[_Run]:
    """Every run of the experiment, checked against what is there.

    Raises:
      InputError: the folder holds runs of another configuration.
    """
    check_kind(workdir, several=True)
    variants = [Variant(name=name, changes=dict(changes)) for name, changes in built.variants]
    runs = []
    for variant in variants or [Variant(name="", changes={})]:
        experiment = _changed(built, variant)
        for fold in folds:
            folder = workdir / variant.folder / ("" if fold is None else f"fold_{fold}")
            one = experiment if fold is None else _holding_out(experiment, fold)
            runs.append(_Run(variant=variant, fold=fold, folder=folder, experiment=one))
    planned = {run.folder for run in runs}
    for folder in sorted([*workdir.glob("fold_*"), *workdir.glob("*/fold_*")]):
        if folder not in planned:
            raise InputError(
                f"{workdir}: holds {folder.relative_to(workdir)}, not made by this command; "
                "repeat the first command's options, or choose another --workdir"
            )
    for run in runs:
        found = latest_run(run.folder)
        if found is not None:
            check_configuration(run.experiment, found, run.folder)
    return runs


def _changed(built: Experiment, variant: Variant) -> Experiment:
    single = {k: v for k, v in built.config.items() if k not in ("variants", "published")}
    changed = build(variant.change(single)) if variant.changes else built
    assert isinstance(changed, Experiment)
    return changed


def _holding_out(experiment: Experiment, fold: int) -> Experiment:
    split = dataclasses.replace(experiment.split, fold=fold)
    config = {**experiment.config, "split": dict(experiment.config["split"], fold=fold)}
    return dataclasses.replace(experiment, config=config, split=split)


def _choose(runs: Sequence[_Run], variants: Sequence[str], fold: int | None) -> list[_Run]:
    known = list(dict.fromkeys(run.variant.folder for run in runs))
    wanted = [folder_name(name) for name in variants] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(f"--variant={unknown[0]}: expected one of {', '.join(known)}")
    return [run for run in runs if run.variant.folder in wanted and fold in (None, run.fold)]


def _train_and_compare(
    built: Experiment, workdir: Path, runs: Sequence[_Run], chosen: Sequence[_Run]
) -> int:
    with parallel.first_goes_first():
        data = find_data(built, workdir)
    for run in runs:
        if run.fold is not None and run.finished:
            read_fold_scores(_fold_of(run, data))
    elsewhere = []
    for run in chosen:
        print(f"\n{run.folder}", flush=True)
        try:
            with alone_in(run.folder):
                if parallel.from_first(
                    functools.partial(is_finished, run.folder, run.experiment.config)
                ):
                    print("finished before; kept", flush=True)
                    continue
                if train(run.experiment, run.folder, home=workdir) == INTERRUPTED:
                    return INTERRUPTED
                if parallel.is_first():
                    mark_finished(run.folder, run.experiment.config)
        except FolderInUseError:
            if len(chosen) == 1:
                raise
            print("another process is at work there; passed over", flush=True)
            elsewhere.append(run)
    if parallel.is_first():
        _report(built, workdir, runs, data)
    if elsewhere:
        print(f"left to other processes: {', '.join(str(run.folder) for run in elsewhere)}")
    return 0


def _fold_of(run: _Run, data: Data) -> Fold:
    return Fold(folder=run.folder, data=split_again(run.experiment, data))


def _report(built: Experiment, workdir: Path, runs: Sequence[_Run], data: Data) -> None:
    """Pools the folds of every variant that is finished, and compares these variants."""
    groups: dict[str, list[_Run]] = {}
    for run in runs:
        groups.setdefault(run.variant.name, []).append(run)
    done: list[Scored] = []
    for name, group in groups.items():
        waiting = [run.folder.name for run in group if not run.finished]
        if waiting:
            print(f"not finished: {name or workdir}: {', '.join(waiting)}", flush=True)
        elif group[0].fold is None:
            scores = read_case_table(group[0].folder / "scores_val.csv")
            done.append(Scored(name=name, scores=scores))
        else:
            folds = [_fold_of(run, data) for run in group]
            folder = group[0].folder.parent
            done.append(pool_folds(name, folds, folder, config=group[0].experiment.config))
    if built.variants and len(done) > 1:
        compare_variants(built, workdir, done, data)
