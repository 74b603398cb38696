"""A classification experiment as checked objects."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from brainjax.augment import ImageAugmentOptions, augment_slices
from brainjax.batches import SlicePipelineOptions
from brainjax.errors import InputError
from brainjax.experiment.classification_options import (
    ClassificationEvaluationOptions,
    MadeUpOptions,
    SliceDataOptions,
    SmoteOptions,
    WeightsOptions,
)
from brainjax.experiment.explain_options import ExplainOptions
from brainjax.experiment.sections import (
    check_keys,
    make,
    make_batches,
    make_section,
    pick_dtype,
)
from brainjax.experiment.variants import Variants, read_variants
from brainjax.losses import ClassificationObjective
from brainjax.models import CLASSIFIERS
from brainjax.parallel import ParallelOptions
from brainjax.records import TEXTURE_FEATURES, SliceRecordOptions, SliceSplitOptions
from brainjax.scans import SeriesOptions
from brainjax.training import (
    Augment,
    LoopOptions,
    OptimizerOptions,
    TrainState,
    create_state,
    learning_rate_schedule,
    make_optimizer,
    plateau_factor,
    scale_rate,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationExperiment:
    """One experiment as checked objects.

    Attributes:
      config: what it was made from.
      accumulate: micro-batches of a step, see ``training.train_step``.
      permute_labels: whether the training images get each other's labels: a control, whose
        maps should differ from those of a network that has learnt something.
    """

    config: dict[str, Any]
    seed: int
    repeats: int
    score: str
    data: SliceDataOptions
    made_up: MadeUpOptions
    series: SeriesOptions
    images: SliceRecordOptions
    split: SliceSplitOptions
    batches: SlicePipelineOptions
    accumulate: int
    smote: SmoteOptions
    augment: ImageAugmentOptions
    weights: WeightsOptions
    optimizer: OptimizerOptions
    loop: LoopOptions
    evaluation: ClassificationEvaluationOptions
    explain: ExplainOptions
    permute_labels: bool
    parallel: ParallelOptions
    published: tuple[tuple[str, float], ...]
    variants: Variants

    def make_model(self, num_classes: int, *, pretrained: bool = False) -> nn.Module:
        """The network for so many classes.

        Args:
          num_classes: K.
          pretrained: whether its body has pretrained weights, which ``weights.train``
            may keep as they are; random ones are always trained.
        """
        options = dict(self.config["model"])
        name, dtype = options.pop("name"), options.pop("dtype")
        if name not in CLASSIFIERS:
            raise InputError(f"model.name {name!r} is not one of {sorted(CLASSIFIERS)}")
        network = CLASSIFIERS[name]
        known = {field.name for field in dataclasses.fields(network)} - {
            "parent",
            "name",
            "num_classes",
            "freeze_body",
        }
        check_keys("model", options, known | {"name", "dtype"}, needed=set())
        return make(
            network,
            "model",
            dict(
                options,
                num_classes=num_classes,
                dtype=pick_dtype(dtype),
                freeze_body=pretrained and self.weights.train == "head",
            ),
        )

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """What the network takes for one slice, by name."""
        height, width = self.images.image_size
        channels = self.images.channels
        inputs = {"image": jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)}
        if self.data.texture:
            inputs["texture"] = jax.ShapeDtypeStruct((1, TEXTURE_FEATURES), jnp.float32)
        return inputs

    def create_state(
        self, key: jax.Array, *, model: nn.Module, steps_per_epoch: int, pretrained: bool = False
    ) -> TrainState:
        """A fresh state of the network, from random weights."""
        inputs = self.inputs
        return create_state(
            key,
            inputs.pop("image"),
            inputs=inputs,
            model=model,
            optimizer=self.make_optimizer(steps_per_epoch, model=model, pretrained=pretrained),
            keep_average=self.optimizer.average_decay > 0,
        )

    def abstract_variables(self, model: nn.Module) -> dict[str, Any]:
        """Shapes of the network's variables.

        Raises:
          InputError: the network cannot take images of ``images.image_size``.
        """
        inputs = self.inputs
        try:
            variables: Any = jax.eval_shape(
                functools.partial(model.init, train=False), jax.random.key(0), **inputs
            )
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(f"model: {error}") from error
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    def abstract_state(self, model: nn.Module) -> TrainState:
        """Shapes of everything that training saves, without computing any of it."""
        create = functools.partial(self.create_state, model=model, steps_per_epoch=1)
        return jax.eval_shape(create, jax.random.key(0))

    def make_objective(self) -> ClassificationObjective:
        """The loss."""
        return make_section(ClassificationObjective, "objective", self.config["objective"])

    def make_augment(self, num_classes: int) -> Augment:
        """What the training step does with a batch before the network gets it."""
        options = dataclasses.replace(self.augment, num_classes=num_classes)
        return functools.partial(augment_slices, options=options)

    def make_optimizer(
        self, steps_per_epoch: int, *, model: nn.Module, pretrained: bool = False
    ) -> optax.GradientTransformation:
        """The optimiser over the whole run; random bodies learn at the head's rate."""
        frozen = self.weights.train == "head"
        body_rate = (0.0 if frozen else self.optimizer.body_rate) if pretrained else 1.0
        return make_optimizer(
            dataclasses.replace(self.optimizer, body_rate=body_rate),
            steps=self.loop.total_steps(steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
            params=self.abstract_variables(model)["params"],
        )

    def make_learning_rate(self, steps_per_epoch: int) -> optax.Schedule:
        """Its learning rate as a function of the step."""
        steps = self.loop.total_steps(steps_per_epoch)
        return learning_rate_schedule(self.optimizer, steps=steps, steps_per_epoch=steps_per_epoch)

    def rate_factor(self, scores: list[float]) -> float:
        """Factor of the learning rate after validation scores (higher is better)."""
        if self.optimizer.schedule != "plateau":
            return 1.0
        return plateau_factor(
            scores,
            patience=self.optimizer.plateau_patience,
            factor=self.optimizer.decay_factor,
            minimum=self.optimizer.final_fraction,
            threshold=self.optimizer.plateau_threshold,
        )


def build_classification(plain: Mapping[str, Any]) -> ClassificationExperiment:
    """Checks a configuration and makes an experiment of it.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    sections = {
        "data": SliceDataOptions,
        "made_up": MadeUpOptions,
        "series": SeriesOptions,
        "images": SliceRecordOptions,
        "smote": SmoteOptions,
        "weights": WeightsOptions,
        "optimizer": OptimizerOptions,
        "loop": LoopOptions,
        "evaluation": ClassificationEvaluationOptions,
        "explain": ExplainOptions,
        "parallel": ParallelOptions,
    }
    plain = _with_made_up(plain)
    known = {*sections, "augment", "batches", "model", "objective", "permute_labels", "published",
             "repeats", "score", "seed", "split", "task", "variants"}  # fmt: skip
    check_keys("config", plain, known, needed=known)
    if not isinstance(plain["repeats"], int) or plain["repeats"] < 1:
        raise InputError(f"repeats {plain['repeats']}: expected 1 or more runs")
    made: dict[str, Any] = {
        name: make_section(options, name, plain[name])  # type: ignore[type-var]
        for name, options in sections.items()
    }
    made["augment"] = make_section(
        ImageAugmentOptions, "augment", dict(plain["augment"], num_classes=2)
    )
    if made["parallel"].space > 1:
        raise InputError(f"parallel.space {made['parallel'].space}: only volumes can be split")
    batches, accumulate = make_batches(SlicePipelineOptions, plain["batches"], seed=plain["seed"])
    made["optimizer"] = scale_rate(made["optimizer"], batches.batch_size)
    built = ClassificationExperiment(
        config=dict(plain),
        seed=plain["seed"],
        repeats=plain["repeats"],
        score=plain["score"],
        permute_labels=bool(plain["permute_labels"]),
        split=make_section(
            SliceSplitOptions, "split", dict(plain["split"], by=plain["data"]["split"])
        ),
        batches=batches,
        accumulate=accumulate,
        variants=read_variants(plain["variants"]),
        published=tuple((str(name), float(value)) for name, value in plain["published"].items()),
        **made,
    )
    built.abstract_variables(built.make_model(num_classes=4))
    built.make_objective()
    return built


def _with_made_up(plain: Mapping[str, Any]) -> Mapping[str, Any]:
    """Image size and epochs that fit the made-up set, where there is no other."""
    data, made_up = plain.get("data", {}), plain.get("made_up", {})
    if data.get("root") or not {"image_size", "epochs"} <= set(made_up):
        return plain
    return {
        **plain,
        "images": {**plain.get("images", {}), "image_size": made_up["image_size"]},
        "loop": {**plain.get("loop", {}), "epochs": made_up["epochs"], "steps": 0},
    }
