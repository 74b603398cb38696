"""Maps of a classifier of slices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import MapScore
from brainjax.explain import class_target
from brainjax.jobs.classifier import TrainedClassifier, load_classifier
from brainjax.jobs.explain import (
    Sanity,
    check_sanity,
    choose_cases,
    choose_pictures,
    file_name,
    finish_explanation,
    home_of,
)
from brainjax.jobs.explainer import Explainer
from brainjax.jobs.fit import latest_run
from brainjax.jobs.predict import check_writable
from brainjax.jobs.slices import check_slice_data, find_slice_data
from brainjax.records import fit_image, fit_region, texture_features
from brainjax.report import MapPicture, draw_maps, save_figure
from brainjax.scans import (
    SliceFile,
    find_slices,
    find_slices_to_predict,
    read_boxes,
    read_region,
    read_slice,
)
from brainjax.training import ProgressPrinter

LAYER = "body"
"""Every classifier's last feature map, for Grad-CAM."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceCase:
    """One slice, ready for the network.

    Attributes:
      number: in the order of the explained cases.
      file: what it was read from.
      image: float32 [1, H, W, C], 0 to 1; one channel where all are alike.
      aims: class [1] that the network says, and texture [1, F] where it takes that.
      probability: of the class, not calibrated.
      region: bool [H, W], or None where nothing says where the tumour is.
    """

    number: int
    file: SliceFile
    image: np.ndarray
    aims: dict[str, jax.Array]
    probability: float
    region: np.ndarray | None


def explain_slices(
    run: Path, *, inputs: Sequence[Path], output: Path, overrides: Mapping[str, Any]
) -> int:
    """Explains the slices of a run's test part, else of its validation, or other ones.

    Args:
      run: the trained classifier.
      inputs: images to explain instead; ``boxes.csv`` in a folder says where tumours are.
      output: gets ``cases/``, ``scores.csv``, ``summary.json`` and ``explanation.html``.
      overrides: dotted names of the configuration to new values.

    Returns:
      0.

    Raises:
      InputError: no checkpoint, or images that cannot be used.
    """
    trained = load_classifier([run], overrides=overrides)
    options = trained.experiment.explain
    files, boxes, notes = _find(trained, run, inputs)
    files = [files[n] for n in choose_cases([file.slice_id for file in files], options)]
    check_writable(output)
    network = _Network(trained)
    explainer = Explainer(
        options, target_of=network.target, probability=network.probability,
        variables=trained.variables[0], layer=LAYER,
    )  # fmt: skip
    scores: list[MapScore] = []
    cases: dict[str, SliceCase] = {}
    without = 0
    progress = ProgressPrinter("explained", unit="images")
    for number, file in enumerate(files):
        case = network.read(file, number, boxes)
        cases[file.slice_id] = case
        without += case.region is None
        maps = _first(explainer.maps(case.image, case.aims, number=number))
        scores += explainer.score(
            file.slice_id, file.patient_id, case.image[0],
            jax.tree.map(lambda leaf: leaf[0], case.aims), case.region, maps,
        )  # fmt: skip
        progress(number + 1, len(files))
    if without:
        notes.append(f"{without} of {len(files)} images have no box or mask: not localised there.")
    sanity = _check(trained, network, explainer, list(cases.values()))
    pictures = []
    for name in choose_pictures(list(cases), scores, options):
        path = output / "cases" / f"{file_name(name)}.png"
        drawn = _picture(trained, cases[name], explainer, scores)
        save_figure(path, draw_maps(drawn))
        pictures.append((f"{name}: {drawn.words}", path))
    finish_explanation(
        output, scores, sanity, title=f"What {trained.experiment.config['model']['name']} looks at",
        config=trained.experiment.config, options=options, pictures=pictures, notes=notes,
    )  # fmt: skip
    return 0


class _Network:
    """The classifier as the explainer wants it."""

    def __init__(self, trained: TrainedClassifier) -> None:
        self.trained = trained
        self.model = trained.experiment.make_model(len(trained.class_names))
        self.repeated = trained.experiment.images.channels
        self._predict = jax.jit(self._logits)

    def _logits(self, variables: Any, images: jax.Array, aims: Mapping[str, Any]) -> jax.Array:
        if images.shape[-1] == 1 < self.repeated:
            images = jnp.repeat(images, self.repeated, axis=-1)
        output: Any = self.model.apply(variables, images, aims.get("texture"), train=False)
        return output.logits

    def target(self, variables: Any) -> Callable[[jax.Array, Any], jax.Array]:
        """The logit of the class in the aims."""

        def target(images: jax.Array, aims: Mapping[str, Any]) -> jax.Array:
            own = class_target(lambda x: self._logits(variables, x, aims))
            return own(images, aims["class"])

        return target

    def probability(self, variables: Any, images: jax.Array, aims: Mapping[str, Any]) -> jax.Array:
        """Probability [N] of the class in the aims."""
        shares = jax.nn.softmax(self._logits(variables, images, aims), axis=-1)
        return jnp.take_along_axis(shares, aims["class"][:, None], axis=-1)[:, 0]

    def read(self, file: SliceFile, number: int, boxes: Mapping[str, Any]) -> SliceCase:
        """Reads a slice, fits it, and asks the network for its class."""
        raw = read_slice(file).image
        options = self.trained.experiment.images
        fitted = fit_image(raw, options)
        region = read_region(file, (raw.shape[0], raw.shape[1]), boxes)
        if region is not None:
            region = fit_region(region, raw, options)
            region = region if 0 < np.count_nonzero(region) < region.size else None
        # The gradient with respect to a grey value is that of its copies together.
        grey = bool((fitted == fitted[..., :1]).all())
        image = (fitted[..., :1] if grey else fitted)[None].astype(np.float32) / 255
        aims: dict[str, jax.Array] = {}
        if self.trained.experiment.data.texture:
            aims["texture"] = jnp.asarray(texture_features(fitted[None]))
        logits = self._predict(self.trained.variables[0], jnp.asarray(image), aims)
        aims["class"] = jnp.argmax(logits, axis=-1)
        probability = float(jax.nn.softmax(logits[0])[aims["class"][0]])
        return SliceCase(
            number=number, file=file, image=image, aims=aims, probability=probability,
            region=region,
        )  # fmt: skip


def _find(
    trained: TrainedClassifier, run: Path, inputs: Sequence[Path]
) -> tuple[list[SliceFile], dict[str, Any], list[str]]:
    """The slices, the boxes of their data set, and notes."""
    built = trained.experiment
    if inputs:
        found = find_slices_to_predict(inputs, options=built.series)
        return list(found.slices), read_boxes(found.root), list(found.notes)
    home = home_of(run)
    data = find_slice_data(built, home)
    own = latest_run(run)
    if own is None:
        raise InputError(f"{run}: not the folder of a run; add --input=IMAGES to explain others")
    check_slice_data(data, own, run)
    part = "test" if data.split.test else "validation"
    root = Path(built.data.root) if built.data.root else home / "made_up"
    source = built.data.source if built.data.root else built.made_up.layout
    files = {file.slice_id: file for file in find_slices(root, source, options=built.series).slices}
    notes = [f"The {part} part of {root}.", *data.notes]
    return [files[name] for name in data.slice_ids(part)], read_boxes(root), notes


def _check(
    trained: TrainedClassifier,
    network: _Network,
    explainer: Explainer,
    cases: Sequence[SliceCase],
) -> Sanity:
    options = trained.experiment.explain
    places = np.linspace(0, len(cases) - 1, min(options.sanity_cases, len(cases)))
    chosen = [cases[n] for n in places.round().astype(int)] if options.sanity_cases else []
    control = None
    if options.compare:
        other = load_classifier([Path(options.compare)])
        if other.experiment.config["model"] != trained.experiment.config["model"]:
            raise InputError(f"explain.compare={options.compare}: holds another network")
        if not other.experiment.permute_labels:
            raise InputError(
                f"explain.compare={options.compare}: was not trained with permute_labels=true"
            )
        control = other.variables[0]

    def start() -> dict[str, Any]:
        key = jax.random.key(options.seed + 1)
        state = trained.experiment.create_state(key, model=network.model, steps_per_epoch=1)
        return state.variables()

    full = [(case.number, case.image, case.aims) for case in chosen]
    first = cases[0].aims
    return check_sanity(
        explainer, lambda variables, images: network._logits(variables, images, first),
        start, full, control,
    )  # fmt: skip


def _first(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values[0] for name, values in maps.items()}


def _picture(
    trained: TrainedClassifier, case: SliceCase, explainer: Explainer, scores: Sequence[MapScore]
) -> MapPicture:
    said = trained.class_names[int(case.aims["class"][0])]
    label = case.file.label
    truth = "" if label is None else f"{trained.class_names[label]}, "
    return MapPicture(
        case_id=case.file.slice_id,
        words=f"{truth}predicted {said} {case.probability:.2f}",
        image=case.image[0].mean(axis=-1),
        region=case.region,
        maps=_first(explainer.maps(case.image, case.aims, number=case.number)),
        scores={
            score.method: score.values.get("auroc", float("nan"))
            for score in scores
            if score.case_id == case.file.slice_id
        },
    )
