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
from brainjax.evaluation import PublishedScores
from brainjax.experiment.explain_options import ExplainOptions
from brainjax.experiment.sections import (
    Options,
    check_keys,
    make,
    make_batches,
    make_section,
    pick_dtype,
    plain_values,
)
from brainjax.experiment.segmentation_options import (
    DataOptions,
    EvaluationOptions,
    InferenceOptions,
    PhantomOptions,
    SplitOptions,
)
from brainjax.experiment.variants import Variants, read_published, read_variants
from brainjax.inference import PostprocessOptions, SlidingWindowOptions, WholeVolumeOptions
from brainjax.losses import Objective
from brainjax.models import MODELS
from brainjax.parallel import ParallelOptions
from brainjax.scans import TISSUES, painted_regions
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

TARGETS = ("classes", "regions")
"""What a network's outputs are: one class a voxel, or the overlapping regions WT, TC and ET."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment as checked objects.

    Attributes:
      config: what it was made from.
      accumulate: micro-batches of a step, see ``training.train_step``.
      variants: name to dotted names and new values, for an ablation; empty of a single run.
      published: what a paper prints of the variants.
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
    explain: ExplainOptions
    parallel: ParallelOptions
    variants: Variants
    published: tuple[PublishedScores, ...]

    @property
    def trains_regions(self) -> bool:
        """Whether the network's outputs are overlapping regions and not classes."""
        return self.config["objective"].get("target") == "regions"

    def make_model(self, num_classes: int) -> nn.Module:
        """The network for scans of so many classes.

        Raises:
          InputError: the section does not fit the network, or there are classes that
            belong to no region in region-wise training.
        """
        options = dict(self.config["model"])
        name, dtype = options.pop("name"), options.pop("dtype")
        if name not in MODELS:
            raise InputError(f"model.name {name!r} is not one of {sorted(MODELS)}")
        network = MODELS[name]
        fields = {field.name for field in dataclasses.fields(network)}
        known = fields - {"parent", "name", "attention_classes"}
        if options.get("intra_classes") == ():
            options["intra_classes"] = None
        check_keys("model", options, known | {"name", "dtype"}, needed=set())
        outputs = num_classes
        if self.trains_regions:
            if num_classes != len(TISSUES):
                raise InputError(
                    f"objective.target 'regions' is for scans of {', '.join(TISSUES)}; these have "
                    f"{num_classes} classes: use target='classes'"
                )
            outputs = len(painted_regions())
            if "attention_classes" in fields:
                options["attention_classes"] = num_classes
        return make(network, "model", dict(options, num_classes=outputs, dtype=pick_dtype(dtype)))

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
        """The loss; its inter-class term joins after so many epochs.

        Raises:
          InputError: a key is missing or unknown, or a value is refused.
        """
        options = dict(self.config["objective"])
        if "inter_start_epoch" not in options:
            raise InputError("objective.inter_start_epoch is missing")
        start = options.pop("inter_start_epoch") * steps_per_epoch
        target = options.pop("target", None)
        if target not in TARGETS:
            raise InputError(f"objective.target {target!r}: expected one of {list(TARGETS)}")
        if target == "regions":
            options["regions"] = tuple(classes for classes, _ in painted_regions())
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
        "explain": ExplainOptions,
        "parallel": ParallelOptions,
    }
    known = {*sections, "task", "seed", "batches", "model", "objective", "inference"}
    check_keys("config", plain, known | {"variants", "published"}, needed=known)
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
        variants=read_variants(plain.get("variants", ())),
        published=read_published(plain.get("published", ())),
        **made,
    )
    model = experiment.make_model(num_classes=len(TISSUES))
    experiment.abstract_state(model)
    _check_window(experiment.inference.window, model)
    experiment.make_objective(steps_per_epoch=1)
    return experiment


def _check_window(window: SlidingWindowOptions | WholeVolumeOptions, model: Any) -> None:
    """Refuses windows that the network cannot halve, before training instead of after."""
    step = 2**model.halvings
    sizes: tuple[int, ...]
    if isinstance(window, SlidingWindowOptions):
        key, sizes = "patch_shape", window.patch_shape
    else:
        key, sizes = "multiple", (window.multiple,)
    if any(size % step for size in sizes):
        raise InputError(
            f"inference.{key} {sizes if len(sizes) > 1 else sizes[0]} does not divide by {step}: "
            f"the network halves each axis {model.halvings} times; use a multiple of {step}"
        )


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
