"""The temperature of a run, kept beside the checkpoint and the kind of prediction it is for."""

from __future__ import annotations

from pathlib import Path

from brainjax.files import read_json, write_json

CALIBRATION = "calibration.json"


def write_temperature(workdir: Path, temperature: float, *, step: int, mirror: bool) -> None:
    """Keeps a temperature in a run's folder.

    Args:
      workdir: the run.
      temperature: divides the log-probabilities.
      step: of the checkpoint that it was fitted to.
      mirror: whether these predictions were averaged over mirror images.
    """
    write_json(workdir / CALIBRATION, {"temperature": temperature, "step": step, "mirror": mirror})


def read_temperature(workdir: Path, *, step: int, mirror: bool, setting: str) -> float:
    """The temperature that belongs to this checkpoint and kind of prediction, else 1.

    Args:
      workdir: the run.
      step: of the checkpoint.
      mirror: whether predictions are averaged over mirror images.
      setting: dotted name of that setting, for a note.
    """
    path = workdir / CALIBRATION
    if not path.is_file():
        return 1.0
    found = read_json(path)
    if (found["step"], found.get("mirror", False)) == (step, mirror):
        return float(found["temperature"])
    print(
        f"note: {path} is for another checkpoint or {setting} than step "
        f"{step} with mirror={mirror}: these probabilities are not calibrated",
        flush=True,
    )
    return 1.0
