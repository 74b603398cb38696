"""Trained networks, ready to segment, from nothing but the paths of their checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from brainjax import __version__, experiment
from brainjax.errors import InputError
from brainjax.experiment import Experiment
from brainjax.inference import (
    Predict,
    SlidingWindowOptions,
    Variables,
    WholeVolumeOptions,
    automatic_patch_batch,
    segment_volume,
    segment_with_uncertainty,
)
from brainjax.jobs.fit import CHECKPOINTS
from brainjax.jobs.temperature import read_temperature
from brainjax.layers.manual_axes import BATCH_AXIS
from brainjax.parallel import ParallelOptions, lift_prediction, local_mesh, place_variables
from brainjax.scans import CONVENTIONS, Volume
from brainjax.training import Checkpoints, predict_step
from brainjax.weights import cga_unet, load_tensors

WEIGHTS = (".pth", ".pt", ".safetensors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """One network, or several whose probabilities are averaged.

    Attributes:
      experiment: what the (first) network was trained by.
      predict: ``(variables, patches) -> probabilities``, compiled once for all.
      variables: one tree for each checkpoint.
      modalities: order of the input's channels.
      label_convention: of the scans that it was trained on.
      steps: after how many updates each checkpoint was saved.
      training_patients: those that any of the networks was trained on.
      parallel: how ``predict`` is spread over this process's devices.
      temperature: divides the log-probabilities; 1 before calibration.
    """

    experiment: Experiment
    predict: Predict
    variables: tuple[Variables, ...]
    modalities: tuple[str, ...]
    label_convention: str
    steps: tuple[int, ...]
    training_patients: frozenset[str]
    temperature: float
    parallel: ParallelOptions = dataclasses.field(default_factory=ParallelOptions)

    def segment(self, volume: Volume, **options: Any) -> Any:
        """Classes, and probabilities if asked for: see ``inference.segment_volume``."""
        return segment_volume(
            volume,
            self.predict,
            self.variables,
            window_for_devices(self.experiment.inference.window, self.parallel),
            modalities=self.modalities,
            postprocessing=self.experiment.inference.postprocess,
            regions=self.experiment.trains_regions,
            **options,
        )

    def segment_with_uncertainty(self, volume: Volume, **options: Any) -> Any:
        """Classes, probabilities, uncertainty: see ``inference.segment_with_uncertainty``.

        Raises:
          InputError: the network was trained on regions, whose probabilities overlap.
        """
        if self.experiment.trains_regions:
            raise InputError(
                "uncertainty is of classes that exclude each other; this network was trained with "
                "objective.target=regions"
            )
        return segment_with_uncertainty(
            volume,
            self.predict,
            self.variables,
            window_for_devices(self.experiment.inference.window, self.parallel),
            modalities=self.modalities,
            postprocessing=self.experiment.inference.postprocess,
            **options,
        )

    @property
    def several(self) -> bool:
        """Whether a prediction is the mean of several: of checkpoints or mirror images."""
        return len(self.variables) > 1 or self.experiment.inference.window.mirror


def output_convention(predictor: Predictor, volume: Volume) -> str:
    """In which values a segmentation is written.

    Those of the scan's own data set, as its names suggest, where they know all the
    network's classes; otherwise, or when the network was trained with a convention
    that its user named, those that it was trained on.
    """
    suggested, trained = volume.label_convention, predictor.label_convention
    named = predictor.experiment.data.label_convention != "auto"
    alike = CONVENTIONS[suggested].classes == CONVENTIONS[trained].classes
    return suggested if alike and not named else trained


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers, and the device."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    return {
        "brainjax": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def compiled_predict(model: Any, options: ParallelOptions, *, regions: bool) -> Predict:
    """The network's prediction as one function for all checkpoints of that network."""
    return lift_prediction(functools.partial(predict_step, model=model, regions=regions), options)


def window_for_devices(
    window: SlidingWindowOptions | WholeVolumeOptions, options: ParallelOptions
) -> SlidingWindowOptions | WholeVolumeOptions:
    """A sliding window with as many patches at a time as give every device here its share."""
    parts = local_mesh(options).shape[BATCH_AXIS]
    if parts == 1 or not isinstance(window, SlidingWindowOptions):
        return window
    asked = window.patch_batch or parts * automatic_patch_batch(window.patch_shape)
    return dataclasses.replace(window, patch_batch=-(-asked // parts) * parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Trained:
    """One checkpoint as it was read."""

    path: Path
    experiment: Experiment
    model: nn.Module
    variables: Variables
    label_convention: str
    step: int
    training_patients: frozenset[str]
    temperature: float


def task_of(path: Path) -> str:
    """What a run or a checkpoint was trained for: ``segmentation`` or ``classification``.

    Raises:
      InputError: there is no checkpoint, or it cannot be read.
    """
    if path.suffix in WEIGHTS:
        return "segmentation"
    folder, step = find_checkpoint(path)
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.best_step if step is None else step
        if step is None:
            raise InputError(f"{folder}: no checkpoint has been saved here yet")
        return checkpoints.read_run(step)["config"].get("task", "segmentation")


def load_predictor(
    paths: Sequence[Path],
    *,
    overrides: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    parallel: ParallelOptions | None = None,
) -> Predictor:
    """Reads checkpoints.

    Args:
      paths: each a run's folder (its best checkpoint), the folder
        ``checkpoints`` in it, one checkpoint, or a ``.pth`` or ``.safetensors``
        file with weights named as the CGA paper's authors released them.
      overrides: dotted names of the configuration to new values; only
        ``inference...``, ``evaluation...`` and ``parallel...`` may change.
      config: what network and modality order a file of weights is for; our own
        checkpoints know that themselves.
      parallel: how predictions are spread over this process's devices; what ``overrides``
        say by default, not how the training was.

    Raises:
      InputError: nothing is there, it is damaged, or the checkpoints are of
        different networks, modality orders or label conventions.
    """
    found = [
        _read_released_weights(path, config)
        if path.suffix in WEIGHTS
        else _read_checkpoint(path, overrides or {})
        for path in paths
    ]
    first = found[0]
    for other in found[1:]:
        same = (
            other.model == first.model
            and other.experiment.trains_regions == first.experiment.trains_regions
            and other.experiment.data.modalities == first.experiment.data.modalities
            and other.label_convention == first.label_convention
        )
        if not same:
            raise InputError(
                f"{other.path}: network, modalities or label convention differ from those of "
                f"{first.path}; only checkpoints of one kind can be averaged"
            )
    options = parallel or first.experiment.parallel
    return Predictor(
        experiment=first.experiment,
        predict=compiled_predict(first.model, options, regions=first.experiment.trains_regions),
        variables=tuple(place_variables(trained.variables, options) for trained in found),
        modalities=first.experiment.data.modalities,
        label_convention=first.label_convention,
        steps=tuple(trained.step for trained in found),
        training_patients=frozenset().union(*(trained.training_patients for trained in found)),
        parallel=options,
        temperature=math.exp(sum(math.log(one.temperature) for one in found) / len(found)),
    )


def _read_checkpoint(path: Path, overrides: Mapping[str, Any]) -> _Trained:
    folder, step = find_checkpoint(path)
    with Checkpoints(folder, read_only=True) as checkpoints:
        if step is None:
            step = checkpoints.best_step
        if step is None:
            raise InputError(f"{folder}: no checkpoint has been saved here yet")
        run = checkpoints.read_run(step)
        built = _for_segmentation(overridden(run["config"], overrides), path)
        model = built.make_model(len(CONVENTIONS[run["label_convention"]].classes))
        variables = checkpoints.restore_model(step, built.abstract_state(model))
    return _Trained(
        path=path,
        experiment=built,
        model=model,
        variables=variables,
        label_convention=run["label_convention"],
        step=step,
        training_patients=frozenset(run["training_patients"]),
        temperature=read_temperature(
            folder.parent,
            step=step,
            mirror=built.inference.window.mirror,
            setting="inference.mirror",
        ),
    )


def _for_segmentation(config: Mapping[str, Any], path: Path) -> Experiment:
    built = experiment.build(config)
    if not isinstance(built, Experiment):
        raise InputError(f"{path}: belongs to a classifier, expected a segmentation network")
    return built


def _read_released_weights(path: Path, config: Mapping[str, Any] | None) -> _Trained:
    if config is None:
        raise InputError(
            f"{path}: a file of weights does not say what it is for; "
            "add --config=configs/cga.py:released"
        )
    built = _for_segmentation(config, path)
    if built.trains_regions:
        raise InputError(
            f"{path}: the released network knows classes; set objective.target=classes"
        )
    convention = built.data.label_convention
    convention = "brats2019" if convention == "auto" else convention
    num_classes = len(CONVENTIONS[convention].classes)
    variables = cga_unet.convert(
        load_tensors(path),
        in_channels=len(built.data.modalities),
        num_classes=num_classes,
        base_width=built.config["model"]["base_width"],
    )
    return _Trained(
        path=path,
        experiment=built,
        model=built.make_model(num_classes),
        variables={**variables, "batch_stats": {}},
        label_convention=convention,
        step=0,
        training_patients=frozenset(),
        temperature=1.0,
    )


def find_checkpoint(path: Path) -> tuple[Path, int | None]:
    """The folder of checkpoints that a path means, and the step if it names one.

    Raises:
      InputError: nothing of the kind is there.
    """
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing"
        raise InputError(f"{path}: expected the folder of a run or a checkpoint, found {kind}")
    if (path / CHECKPOINTS).is_dir():
        return path / CHECKPOINTS, None
    if path.name.isdigit() and (path / "model").is_dir():
        return path.absolute().parent, int(path.name)
    if any(child.name.isdigit() for child in path.iterdir()):
        return path, None
    raise InputError(
        f"{path}: no checkpoints here; expected the folder that --workdir named while training"
    )


def overridden(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A saved configuration with settings of prediction and evaluation changed.

    Raises:
      InputError: another setting would change, or one that does not exist.
    """
    changed = experiment.complete_saved(config)
    # The training's devices are not ours.
    changed["parallel"] = experiment.ADDED[changed["task"]]["parallel"]
    for name, value in overrides.items():
        section, _, key = name.partition(".")
        known = section in ("inference", "evaluation", "explain", "parallel")
        if not known or key not in changed.get(section, ()):
            raise InputError(
                f"--config.{name}: a trained network's own settings stay; "
                "only inference, evaluation, explain and parallel settings can change here"
            )
        changed[section] = {**changed[section], key: value}
    return changed
