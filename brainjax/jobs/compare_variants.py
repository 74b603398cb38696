"""An ablation's variants side by side, with a paper's figures beside ours."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from brainjax.evaluation import (
    COMPARED,
    MethodDifference,
    compare_methods,
    differences_table,
    published_table,
    spreads_of,
    summarize,
    table_markdown,
)
from brainjax.experiment import Experiment
from brainjax.files import write_json, write_text
from brainjax.jobs.pool_folds import Scored
from brainjax.jobs.predictor import versions
from brainjax.jobs.prepare import Data
from brainjax.jobs.several import folder_name
from brainjax.report import write_methods_report


def compare_variants(
    built: Experiment, workdir: Path, variants: Sequence[Scored], data: Data
) -> None:
    """Writes the tables of an ablation: scores, differences to the first variant, p-values.

    Args:
      built: the experiment.
      workdir: gets ``summary.json``, ``summary.md`` and ``report.html``.
      variants: those that are finished, all on the same cases.
      data: the scans.

    Raises:
      InputError: the variants were scored on different cases.
    """
    patients = {case.case_id: case.patient_id for case in data.cohort.cases}
    differences = compare_methods(
        {variant.name: variant.scores for variant in variants}, patients, seed=built.seed
    )
    printed = {one.name: one for one in built.published}
    titles = {
        one.name: printed[one.name].title if one.name in printed else one.name for one in variants
    }
    spreads = {titles[one.name]: spreads_of(one.scores) for one in variants}
    theirs = {
        titles[name]: published.spreads for name, published in printed.items() if name in titles
    }
    reference = titles[variants[0].name]
    cases = len({score.case_id for score in variants[0].scores})
    made_up = not built.data.root
    whose = "on phantoms, " if made_up else ""
    scores = [
        published_table(
            spreads, theirs, metric,
            caption=f"{title}: mean ± standard deviation, {whose}over {cases} cases",
        )
        for metric, title in COMPARED.items()
    ]  # fmt: skip
    between = [
        differences_table(
            differences, metric, titles,
            caption=f"{title}: difference to {reference}, paired by patient",
        )
        for metric, title in COMPARED.items()
    ]  # fmt: skip
    notes = [*data.notes, *_explanations(reference, made_up=made_up)]
    missing = [name for name, _ in built.variants if name not in titles]
    if missing:
        notes.append(f"Not finished and not in the tables: {', '.join(missing)}.")
    write_json(workdir / "summary.json", _summary(variants, differences))
    text = [f"# {built.config['model']['name']}: {len(variants)} variants\n"]
    text += [f"> {note}\n" for note in notes]
    text += ["## Scores\n", *map(table_markdown, scores)]
    text += ["## Differences\n", *map(table_markdown, between)]
    write_text(workdir / "summary.md", "\n".join(text))
    write_methods_report(
        workdir / "report.html",
        title=f"{built.config['model']['name']}: {len(variants)} variants in {workdir.name}",
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=built.config,
        scores=scores,
        differences=between,
        drawn=differences,
        titles=titles,
        environment=versions(),
        notes=notes,
    )
    print("\n" + "\n".join(map(table_markdown, [*scores, *between])), flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)


def _explanations(reference: str, *, made_up: bool) -> list[str]:
    form = "; beside phantoms they show the form of the table, not a comparison" if made_up else ""
    return [
        f"Differences are to {reference} on the same cases; intervals are 95 % percentile "
        "bootstrap over patients. p: two-sided Wilcoxon signed-rank test of one difference for "
        "each patient, zero differences dropped; p (Holm): adjusted for all rows of a metric "
        "and region.",
        f"Columns marked 'published' are the paper's, on its own scans{form}.",
    ]


def _summary(
    variants: Sequence[Scored], differences: Sequence[MethodDifference]
) -> dict[str, float]:
    """Scores as ``<variant>/dice/WT``, differences as ``<variant>/dice_difference/WT``."""
    summary: dict[str, float] = {}
    for one in variants:
        summary |= summarize(one.scores, prefix=folder_name(one.name))
    for found in differences:
        pair = found.difference
        numbers = {
            "difference": pair.mean,
            "difference_low": pair.low,
            "difference_high": pair.high,
            "difference_p": pair.p_value,
            "difference_p_holm": found.p_holm,
        }
        for end, value in numbers.items():
            if not math.isnan(value):
                name = f"{folder_name(found.method)}/{found.metric}_{end}/{found.region}"
                summary[name] = value
    return summary
