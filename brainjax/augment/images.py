"""The augmentation of a batch of labelled images, to be compiled into the training step."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from brainjax.augment.mixing import mix_examples
from brainjax.augment.photometric import (
    add_noise,
    adjust_contrast,
    adjust_gamma,
    blur_gaussian,
    random_box,
)
from brainjax.augment.warp import Outside, affine_matrix, warp_affine
from brainjax.errors import InputError
from brainjax.layers.manual_axes import example_keys

PROBABILITIES = (
    "untouched", "flip_left_right", "flip_up_down", "cutout_probability", "mix_probability",
)  # fmt: skip
AMOUNTS = (
    "rotation_degrees", "shift", "shear_degrees", "brightness", "noise_sd", "mixup_alpha",
    "cutmix_alpha",
)  # fmt: skip
FACTORS = ("zoom", "stretch", "contrast", "gamma")  # ranges that must lie above 0
RANGES = (*FACTORS, "blur", "cutout_size")


@dataclass(frozen=True, kw_only=True)
class ImageAugmentOptions:
    """How labelled images are changed; by default not at all.

    Everything is drawn per example, uniformly where nothing else is said.

    Attributes:
      untouched: chance that an example stays as it is, but for mixing.
      flip_left_right: chance of mirroring left and right.
      flip_up_down: chance of mirroring top and bottom.
      rotation_degrees: greatest rotation either way.
      shift: greatest shift either way, as a fraction of height and of width.
      zoom: least and greatest factor of height and width together; above 1 enlarges.
      stretch: least and greatest factor of height over width, beside the zoom.
      shear_degrees: greatest shear either way.
      outside: what comes in from beyond the border, ``"zero"`` or ``"edge"``.
      contrast: least and greatest factor about the image's mean.
      brightness: greatest offset either way.
      gamma: least and greatest power.
      blur: least and greatest sigma of a Gaussian blur, in pixels.
      noise_sd: greatest standard deviation of additive normal noise.
      cutout_probability: chance that a box is set to 0 (DeVries and Taylor 2017).
      cutout_size: least and greatest side of that box, as a fraction of the image's.
      mixup_alpha: of mixup's Beta distribution, see ``mix_examples``; 0 is off.
      cutmix_alpha: of CutMix's; 0 is off.
      mix_probability: chance that an example is mixed where either is on.
      num_classes: K, needed where examples are mixed.
    """

    untouched: float = 0.0
    flip_left_right: float = 0.0
    flip_up_down: float = 0.0
    rotation_degrees: float = 0.0
    shift: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    stretch: tuple[float, float] = (1.0, 1.0)
    shear_degrees: float = 0.0
    outside: Outside = "zero"
    contrast: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    blur: tuple[float, float] = (0.0, 0.0)
    noise_sd: float = 0.0
    cutout_probability: float = 0.0
    cutout_size: tuple[float, float] = (0.1, 0.3)
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    mix_probability: float = 1.0
    num_classes: int = 0

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for name in AMOUNTS:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        for name in RANGES:
            limits = tuple(getattr(self, name))
            object.__setattr__(self, name, limits)
            if len(limits) != 2 or not 0 <= limits[0] <= limits[1] < math.inf:
                raise InputError(f"{name}: expected (least, greatest), found {limits}")
            if name in FACTORS and limits[0] == 0:
                raise InputError(f"{name}: expected factors above 0, found {limits}")
        if self.shear_degrees >= 90:
            raise InputError(f"shear_degrees: expected less than 90, found {self.shear_degrees}")
        if self.outside not in ("zero", "edge"):
            raise InputError(f"outside: expected 'zero' or 'edge', found {self.outside!r}")
        if self.mixes and self.num_classes < 2:
            raise InputError(
                f"num_classes: expected 2 or more where examples are mixed, "
                f"found {self.num_classes}"
            )

    @property
    def mixes(self) -> bool:
        """Whether targets become soft."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

    @property
    def warps(self) -> bool:
        """Whether images are resampled."""
        lengths = (self.rotation_degrees, self.shift, self.shear_degrees)
        chances = (self.flip_left_right, self.flip_up_down)
        return any((*lengths, *chances)) or self.zoom != (1, 1) or self.stretch != (1, 1)


def augment_images(
    key: jax.Array, image: jax.Array, labels: jax.Array, options: ImageAugmentOptions
) -> tuple[jax.Array, jax.Array]:
    """Changes each image of a batch with random numbers of its own, then mixes examples.

    A pure function of its arguments; ``options`` is static under ``jax.jit``. But for the
    mixing, what happens to an example depends on its place in the batch, not on the others.

    Args:
      key: random key of the step.
      image: f32 [B, H, W, C] in 0..1.
      labels: classes [B], integers.
      options: what to do.

    Returns:
      Image f32 [B, H, W, C] in 0..1, and targets: f32 [B, K] where examples are mixed,
      else the labels as they came.

    >>> options = ImageAugmentOptions(flip_left_right=1.0)
    >>> image = jnp.array([0.25, 0.5, 1.0]).reshape(1, 1, 3, 1)
    >>> augment_images(jax.random.key(0), image, jnp.array([2]), options)[0].ravel().tolist()
    [1.0, 0.5, 0.25]
    """
    warp_key, value_key, mix_key = jax.random.split(key, 3)
    image, batch = image.astype(jnp.float32), image.shape[0]
    before = image
    if options.warps:
        matrices = jax.vmap(lambda key: _draw_matrix(key, image.shape[1:3], options))(
            example_keys(warp_key, batch)
        )
        image = warp_affine(image, matrices, outside=options.outside)
    image = _change_values(value_key, image, options)
    if options.untouched:
        keys = example_keys(jax.random.fold_in(key, 1), batch)
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, options.untouched))(keys)
        image = jnp.where(keep[:, None, None, None], before, image)
    if not options.mixes:
        return image, labels
    return mix_examples(
        mix_key,
        image,
        labels,
        num_classes=options.num_classes,
        mixup_alpha=options.mixup_alpha,
        cutmix_alpha=options.cutmix_alpha,
        probability=options.mix_probability,
    )


def _draw_matrix(key: jax.Array, shape: tuple[int, ...], options: ImageAugmentOptions) -> jax.Array:
    flip, turn, move, resize, pull, lean = jax.random.split(key, 6)
    chances = jnp.array([options.flip_up_down, options.flip_left_right])
    sizes = jnp.array(shape, jnp.float32)
    zoom, stretch = _between(resize, options.zoom), jnp.sqrt(_between(pull, options.stretch))
    return affine_matrix(
        flip=jnp.where(jax.random.bernoulli(flip, chances), -1.0, 1.0),
        rotation=_either_way(turn, math.radians(options.rotation_degrees)),
        shear=_either_way(lean, math.radians(options.shear_degrees)),
        zoom=jnp.stack([zoom * stretch, zoom / stretch]),
        shift=_either_way(move, options.shift, (2,)) * sizes,
    )


def _change_values(key: jax.Array, image: jax.Array, options: ImageAugmentOptions) -> jax.Array:
    """Grey values of a batch, in the order of the options."""
    keys = jax.random.split(key, 7)  # each change has its own, whatever else is on

    def draw(key: jax.Array, limits: tuple[float, float]) -> jax.Array:
        """One number per example, [B]."""
        examples = example_keys(key, image.shape[0])
        return jax.vmap(lambda key: _between(key, limits))(examples)

    if options.contrast != (1, 1):
        image = jax.vmap(adjust_contrast)(image, draw(keys[0], options.contrast))
    if options.brightness:
        offset = draw(keys[1], (-options.brightness, options.brightness))
        image = image + offset[:, None, None, None]
    if options.gamma != (1, 1):
        image = jax.vmap(adjust_gamma)(jnp.clip(image, 0.0, 1.0), draw(keys[2], options.gamma))
    if options.blur[1]:
        image = blur_gaussian(image, draw(keys[3], options.blur), largest=options.blur[1])
    if options.noise_sd:
        image = add_noise(keys[4], image, draw(keys[5], (0.0, options.noise_sd)))
    if options.contrast != (1, 1) or options.brightness or options.noise_sd:
        image = jnp.clip(image, 0.0, 1.0)
    if options.cutout_probability:
        cut = functools.partial(_cut_out, options=options)
        image = jax.vmap(cut)(example_keys(keys[6], image.shape[0]), image)
    return image


def _cut_out(key: jax.Array, image: jax.Array, *, options: ImageAugmentOptions) -> jax.Array:
    chance_key, size_key, box_key = jax.random.split(key, 3)
    box = random_box(box_key, image.shape[:2], _between(size_key, options.cutout_size, (2,)))
    chosen = jax.random.bernoulli(chance_key, options.cutout_probability)
    return jnp.where(box & chosen, 0.0, image)


def _between(key: jax.Array, limits: tuple[float, float], shape: tuple[int, ...] = ()) -> jax.Array:
    return jax.random.uniform(key, shape, minval=limits[0], maxval=limits[1])


def _either_way(key: jax.Array, greatest: float, shape: tuple[int, ...] = ()) -> jax.Array:
    return _between(key, (-greatest, greatest), shape)
