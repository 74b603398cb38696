"""The command line: flags, one experiment, one job.

python -m brainjax.main --config=configs/cga.py --workdir=runs/cga
python -m brainjax.main --workdir=runs/cga --mode=predict --input=CASE_FOLDER
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from brainjax import __version__
from brainjax.errors import InputError

GARBAGE_THRESHOLD = 100_000
"""Objects made between two searches for garbage: tracing makes millions, and keeps them."""

MODES = (
    "train", "crossvalidate", "prepare", "evaluate", "robustness", "tune", "predict", "compare",
    "explain",
)  # fmt: skip

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "What to do: a file of configs/, with :VARIANT where it has several."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made when missing.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "Which job to run.")
_INPUT = flags.DEFINE_multi_string(
    "input",
    [],
    "predict, compare, explain: a case folder, a folder of cases, or files; may be repeated.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "predict, compare, explain: folder to write to; else WORKDIR/predictions, /explanation.",
)
_CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint",
    [],
    "predict, evaluate, robustness: runs or checkpoints to average; explain: one; else WORKDIR's. "
    "compare: those to draw beside one another.",
)
_FOLD = flags.DEFINE_integer("fold", None, "crossvalidate: train this fold only, from 0; all.")
_VARIANT = flags.DEFINE_multi_string(
    "variant", [], "train, crossvalidate of an ablation: run this variant only; may be repeated."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Several processes: HOST:PORT of the first; found out under Slurm and MPI."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Several processes: how many.")
_PROCESS = flags.DEFINE_integer("process", None, "Several processes: number of this one, from 0.")
_PROBABILITIES = flags.DEFINE_bool("probabilities", False, "predict: write probabilities as well.")
_VIEWER = flags.DEFINE_bool(
    "viewer", False, "predict: write a page that shows each segmented case in the browser as well."
)
_UNCERTAINTY = flags.DEFINE_bool(
    "uncertainty", False, "predict: write entropy and the ensemble's disagreement as well."
)


def main(arguments: Sequence[str]) -> int:
    """Runs one job; returns the exit code."""
    if len(arguments) > 1:
        raise InputError(f"{arguments[1]}: unexpected word; options look like --name=value")
    gc.set_threshold(GARBAGE_THRESHOLD)
    from brainjax import jobs, parallel

    parallel.start(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    with parallel.ending_together():
        return jobs.run(
            _MODE.value,
            config=_CONFIG.value,
            overrides=_overrides(),
            workdir=None if _WORKDIR.value is None else Path(_WORKDIR.value),
            inputs=[Path(path) for path in _INPUT.value],
            output=None if _OUTPUT.value is None else Path(_OUTPUT.value),
            checkpoints=[Path(path) for path in _CHECKPOINT.value],
            write_probabilities=_PROBABILITIES.value,
            fold=_FOLD.value,
            variants=_VARIANT.value,
            with_viewer=_VIEWER.value,
            with_uncertainty=_UNCERTAINTY.value,
        )


def _overrides() -> dict[str, Any]:
    """What --config.x.y=z changed, dotted names to values."""
    if _CONFIG.value is None:
        return {}
    return config_flags.get_override_values(flags.FLAGS["config"])


def run() -> None:
    """Entry point: a user's mistake ends in one line and exit code 2."""
    logging.set_verbosity(logging.ERROR)
    try:
        sys.argv = _with_config_found(sys.argv)  # where ml_collections looks for --config
        app.run(main, argv=sys.argv, flags_parser=_parse_flags)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # At once: reading a damaged checkpoint leaves orbax with tasks that would print
        # tracebacks while Python shuts down.
        os._exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    if any(word in ("--version", "-version") for word in arguments[1:]):
        print(__version__)
        sys.exit(0)
    try:
        return list(flags.FLAGS(arguments))
    except (KeyError, AttributeError) as error:
        told = " ".join(str(error).strip("\"'").replace("\\n", " ").split())
        raise InputError(f"command line: the configuration has no {told}") from error
    except Exception as error:
        if isinstance(error, flags.UnrecognizedFlagError) and error.flagname.startswith("config."):
            raise InputError(
                f"command line: --{error.flagname} changes a configuration, and none is given; "
                "name the file it changes too, --config=configs/NAME.py"
            ) from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        inside = any(line.endswith("Traceback (most recent call last):") for line in lines)
        told = lines[-1] if inside else " ".join(lines)
        raise InputError(f"command line: {told or type(error).__name__}") from error


def _with_config_found(arguments: Sequence[str]) -> list[str]:
    """Points ``--config=configs/x.py`` at the installed configs where this folder has none."""
    found, previous = [], ""
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name.lstrip("-") == "config":
            word = f"{name}={_find_config(value)}"
        elif previous.startswith("-") and previous.lstrip("-") == "config":
            word = _find_config(word)
        found.append(word)
        previous = word
    return _config_first(found)


def _config_first(words: list[str]) -> list[str]:
    """Puts ``--config`` before ``--config.x``, which the flags library asks for."""
    for place, word in enumerate(words):
        name, equals, _ = word.partition("=")
        if name.startswith("-") and name.lstrip("-") == "config":
            taken = words[place : place + 1 if equals else place + 2]
            return [words[0], *taken, *words[1:place], *words[place + len(taken) :]]
    return words


def _find_config(value: str) -> str:
    path, colon, variant = value.partition(":")
    package = Path(__file__).parent
    installed = [package / "configs", package.parent / "configs"]
    candidates = [Path(path)]
    if Path(path).parent in (Path("configs"), Path(".")):
        candidates += [folder / Path(path).name for folder in installed]
    for candidate in candidates:
        if candidate.is_file():
            return f"{candidate}{colon}{variant}"
    known = sorted({file.name for folder in installed for file in folder.glob("[!_]*.py")})
    raise InputError(f"--config={path}: no such file; brainjax brings {', '.join(known)}")


if __name__ == "__main__":
    run()
