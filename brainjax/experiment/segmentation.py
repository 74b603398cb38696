"""A segmentation experiment as checked objects."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from brainjax.augment import AugmentOptions, augment_volumes
from brainjax.batches import PipelineOptions
from brainjax.errors import InputError
from brainjax.evaluation import HD95_METHODS, get_convention
from brainjax.experiment.sections import (
    Options,
    check_keys,
    make,
    make_batches,
    make_section,
    pick_dtype,
    plain_values,
)
from brainjax.inference import PostprocessOptions, SlidingWindowOptions, WholeVolumeOptions
from brainjax.losses import Objective
from brainjax.models import MODELS
from brainjax.parallel import ParallelOptions
from brainjax.scans import LabelConvention
from brainjax.training import (
    Augment,
    LoopOptions,
    OptimizerOptions,
    TrainState,
    create_state,
    learning_rate_schedule,
    make_optimizer,
    scale_rate,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which scans.

    Attributes:
      root: folder of scans; empty makes phantoms unless ``needs_root``.
      records: folder for prepared records; empty is ``WORKDIR/records``.
      label_convention: ``auto`` or a name in ``scans.CONVENTIONS``.
      modalities: channel order of the network's input.
      needs_root: whether the experiment only makes sense on the user's own scans.
    """

    root: str
    records: str
    label_convention: str
    modalities: tuple[str, ...]
    needs_root: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomOptions:
    """The made-up cohort that stands in where no scans are given.

    Attributes:
      cases: how many heads.
      shape: voxels of each.
      seed: of the cohort.
    """

    cases: int
    shape: tuple[int, int, int]
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Which patients train and which validate.

    Attributes:
      folds: patients are dealt into so many folds; 1 validates on the training cases.
      fold: the one that validates.
      seed: of the deal.
    """

    folds: int
    fold: int
    seed: int

    def __post_init__(self) -> None:
        if self.folds < 1 or not 0 <= self.fold < self.folds:
            raise ValueError(
                f"split.fold {self.fold} of split.folds {self.folds}: "
                "expected 1 fold or more, and a fold from 0 to folds - 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How segmentations are scored.

    Attributes:
      convention: of empty masks, ``auto`` follows the data set's year.
      hd95_method: ``auto`` follows the convention.
      tolerance_mm: of the normalised surface Dice.
      validation_cases: scored during training, the first so many of the fold; 0 is all.
      test_root: another folder of labelled scans to score after training; empty for none.
    """

    convention: str
    hd95_method: str
    tolerance_mm: float
    validation_cases: int
    test_root: str

    def __post_init__(self) -> None:
        if self.convention != "auto":
            get_convention(self.convention)
        if self.hd95_method not in ("auto", *HD95_METHODS):
            raise ValueError(
                f"hd95_method {self.hd95_method!r}: expected auto or {sorted(HD95_METHODS)}"
            )
        if self.validation_cases < 0 or not self.tolerance_mm >= 0:
            raise ValueError(
                f"validation_cases {self.validation_cases}, tolerance_mm {self.tolerance_mm}: "
                "expected 0 or more"
            )

    def convention_for(self, labels_of: LabelConvention) -> str:
        """The convention's name; ``auto`` is that of the labels' challenge."""
        return labels_of.evaluation if self.convention == "auto" else self.convention


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How a whole case is segmented.

    Attributes:
      window: a sliding window, or the whole volume at once as in the paper.
      postprocess: rules for the labels.
    """

    window: SlidingWindowOptions | WholeVolumeOptions
    postprocess: PostprocessOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment as checked objects.

    Attributes:
      config: what it was made from.
      accumulate: micro-batches of a step, see ``training.train_step``.
    """

    config: dict[str, Any]
    seed: int
    data: DataOptions
    phantom: PhantomOptions
    split: SplitOptions
    batches: PipelineOptions
    accumulate: int
    augment: AugmentOptions
    optimizer: OptimizerOptions
    loop: LoopOptions
    inference: InferenceOptions
    evaluation: EvaluationOptions
    parallel: ParallelOptions

    def make_model(self, num_classes: int) -> nn.Module:
        """The network for so many classes."""
        options = dict(self.config["model"])
        name, dtype = options.pop("name"), options.pop("dtype")
        if name not in MODELS:
            raise InputError(f"model.name {name!r} is not one of {sorted(MODELS)}")
        network = MODELS[name]
        known = {field.name for field in dataclasses.fields(network)} - {"parent", "name"}
        if options.get("intra_classes") == ():
            options["intra_classes"] = None
        check_keys("model", options, known | {"name", "dtype"}, needed=set())
        return make(
            network, "model", dict(options, num_classes=num_classes, dtype=pick_dtype(dtype))
        )

    def abstract_state(self, model: nn.Module) -> TrainState:
        """Shapes of everything that training saves, without computing any of it.

        Raises:
          InputError: the network cannot take patches of ``batches.patch_shape``.
        """
        create = functools.partial(
            create_state,
            image=self.patch,
            model=model,
            optimizer=self.make_optimizer(steps_per_epoch=1),
            keep_average=self.optimizer.average_decay > 0,
        )
        try:
            return jax.eval_shape(create, jax.random.key(0))
        except ValueError as error:
            raise InputError(f"model: {error}") from error

    @property
    def patch(self) -> jax.ShapeDtypeStruct:
        """One patch as the network gets it, [1, D, H, W, C]."""
        shape = (1, *self.batches.patch_shape, len(self.data.modalities))
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def make_objective(self, steps_per_epoch: int) -> Objective:
        """The loss; its inter-class term joins after so many epochs."""
        options = dict(self.config["objective"])
        if "inter_start_epoch" not in options:
            raise InputError("objective.inter_start_epoch is missing")
        start = options.pop("inter_start_epoch") * steps_per_epoch
        return make_section(Objective, "objective", dict(options, inter_start_step=start))

    def make_augment(self) -> Augment:
        """What the training step does with a batch before the network gets it."""
        return functools.partial(augment_volumes, options=self.augment)

    def make_optimizer(self, steps_per_epoch: int) -> optax.GradientTransformation:
        """The optimiser over the whole run."""
        steps = self.loop.total_steps(steps_per_epoch)
        return make_optimizer(self.optimizer, steps=steps, steps_per_epoch=steps_per_epoch)

    def make_learning_rate(self, steps_per_epoch: int) -> optax.Schedule:
        """Its learning rate as a function of the step."""
        steps = self.loop.total_steps(steps_per_epoch)
        return learning_rate_schedule(self.optimizer, steps=steps, steps_per_epoch=steps_per_epoch)


def build_segmentation(config: Mapping[str, Any]) -> Experiment:
    """Checks a configuration and makes an experiment of it.

    Args:
      config: a ``ConfigDict`` or the plain dictionary kept in a checkpoint.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    plain = plain_values(config)
    sections = {
        "data": DataOptions,
        "phantom": PhantomOptions,
        "split": SplitOptions,
        "augment": AugmentOptions,
        "optimizer": OptimizerOptions,
        "loop": LoopOptions,
        "evaluation": EvaluationOptions,
        "parallel": ParallelOptions,
    }
    known = {*sections, "task", "seed", "batches", "model", "objective", "inference"}
    check_keys("config", plain, known, needed=known)
    made: dict[str, Any] = {
        name: make_section(options, name, plain[name])  # type: ignore[type-var]
        for name, options in sections.items()
    }
    batches, accumulate = make_batches(PipelineOptions, plain["batches"], seed=plain["seed"])
    made["optimizer"] = scale_rate(made["optimizer"], batches.batch_size)
    experiment = Experiment(
        config=plain,
        seed=plain["seed"],
        batches=batches,
        accumulate=accumulate,
        inference=_inference(plain["inference"], plain["batches"]["patch_shape"]),
        **made,
    )
    experiment.abstract_state(experiment.make_model(num_classes=4))
    experiment.make_objective(steps_per_epoch=1)
    return experiment


def _inference(options: dict[str, Any], training_patch: tuple[int, ...]) -> InferenceOptions:
    """Deals the flat section out to the kind of window and the rules for labels."""
    if not options.get("patch_shape"):
        options = {**options, "patch_shape": training_patch}
    kinds = {"sliding_window": SlidingWindowOptions, "whole_volume": WholeVolumeOptions}
    if options.get("mode") not in kinds:
        raise InputError(f"inference.mode {options.get('mode')!r}: expected one of {list(kinds)}")
    parts = {kind: {field.name for field in dataclasses.fields(kind)}
             for kind in (*kinds.values(), PostprocessOptions)}  # fmt: skip
    check_keys("inference", options, {"mode"}.union(*parts.values()), needed={"mode"})

    def pick(kind: type[Options]) -> Options:
        return make_section(
            kind, "inference", {k: v for k, v in options.items() if k in parts[kind]}
        )

    return InferenceOptions(
        window=pick(kinds[options["mode"]]), postprocess=pick(PostprocessOptions)
    )
