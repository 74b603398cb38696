"""The rows of ``benchmarks.complexity``: modules and networks, and what papers print of them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers import ContextPrior, SelfAttention, SupervisedAttention
from brainjax.models import (
    CNN,
    VGG,
    AttentionUNet,
    CGAUNet,
    DenseNet,
    KiUNet3D,
    PlainConvUNet,
    ResidualEncoderUNet,
    ResNet,
    UNet,
    UNet3D,
    VNet,
)

WIDTHS = {8: 128, 4: 64, 2: 32}  # of the U-Net's features, by how much smaller they are


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: a module, the shapes of its inputs, and what papers print.

    Attributes:
      name: of the row.
      module: called with arrays of ``shapes``.
      shapes: of the inputs, f32.
      network: whether it is a whole network, measured forward only.
      published_parameters: None where nothing is printed.
      published_macs: the same.
      counted: takes the variables and inputs to what the published figure counts; the
        whole module by default.
    """

    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    network: bool = True
    published_parameters: float | None = None
    published_macs: float | None = None
    counted: Callable[..., Any] | None = None

    @property
    def inputs(self) -> list[jax.ShapeDtypeStruct]:
        """The inputs' shapes and types."""
        return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.shapes]

    @property
    def variables(self) -> Any:
        """Shapes and types of parameters and running statistics."""
        return jax.eval_shape(self.module.init, jax.random.key(0), *self.inputs)


def module_case(kind: str, rate: int, size: int = 128, **published: Any) -> Case:
    """An attention module on the U-Net's features of an image of ``size`` cubed."""
    features = (1, *(size // rate,) * 3, WIDTHS[rate])
    if kind != "sam":
        module = SelfAttention() if kind == "self_attention" else ContextPrior()
        return Case(
            name=f"{kind}_rate{rate}", module=module, shapes=(features,), network=False, **published
        )
    attention = SupervisedAttention(rate=rate)
    return Case(
        name=f"sam_rate{rate}",
        module=attention,
        shapes=((1, size, size, size, 4), features),
        network=False,
        counted=lambda *inputs: attention.apply(*inputs)[1],
        **published,
    )


def cases() -> list[Case]:
    """All rows."""
    volume, picture = ((1, 128, 128, 128, 4),), ((1, 224, 224, 3),)
    # Each convolution by its own output, as the published figures are counted.
    cga = CGAUNet(variant="released", join_linear=False)
    unguided = CGAUNet(variant="released", intra=False, join_linear=False)

    def networks_convolutions(*inputs: Any) -> tuple[Any, ...]:
        output: Any = unguided.apply(*inputs)  # the attention map is made, but not used
        return output.logits, output.attention

    rows = [
        module_case("sam", 8, published_parameters=0.095e6, published_macs=0.675e9),
        module_case("sam", 4, published_parameters=0.034e6, published_macs=1.97e9),
        module_case("sam", 2, published_parameters=0.01e6, published_macs=2.89e9),
        module_case("self_attention", 8, published_parameters=0.492e6, published_macs=4.495e9),
        module_case("context_prior", 8, published_parameters=0.328e6, published_macs=2.284e9),
        Case(
            name="cga_unet",
            module=cga,
            shapes=volume,
            published_parameters=4.77e6,
            published_macs=151.12e9,
            counted=networks_convolutions,
        ),
        Case(name="unet", module=UNet(variant="released", join_linear=False), shapes=volume),
        Case(name="cga_unet_paper_table1", module=CGAUNet(variant="paper"), shapes=volume),
        *_comparators(volume),
    ]
    printed = {18: 1.8e9, 34: 3.6e9, 50: 3.8e9, 101: 7.6e9, 152: 11.3e9}
    for depth, macs in printed.items():
        networks = {f"resnet{depth}": ResNet(depth=depth)}
        if depth >= 50:  # basic blocks have no choice
            networks[f"resnet{depth}_stride_on_1x1"] = ResNet(depth=depth, stride_on="1x1")
        rows += [
            Case(name=name, module=module, shapes=picture, published_macs=macs)
            for name, module in networks.items()
        ]
    rows += [
        Case(name="vgg16", module=VGG(depth=16), shapes=picture),
        Case(name="densenet121", module=DenseNet(depth=121), shapes=picture),
        Case(
            name="kaggle4_baseline",
            module=CNN(num_classes=4),
            shapes=((1, 30, 30, 1),),
            published_parameters=46_596,
        ),
        *_from_config("kaggle4_improved", num_classes=4),
        Case(
            name="figshare_cnn",
            module=CNN(
                num_classes=3,
                widths=(64, 256, 512, 1024, 1024, 1024),
                hidden=(128,),
                dropout=0.1,
                padding="same",
            ),
            shapes=((1, 512, 512, 3),),
        ),
    ]
    return rows


def _comparators(volume: tuple[tuple[int, ...], ...]) -> list[Case]:
    """The networks that papers compare with the CGA U-Net, as published, for four classes.

    The 3D U-Net's printed number is of three channels and labels and without batch norm's;
    nnU-Net's two are as the CGA paper's literature cites them, of logits at full resolution.
    The papers of the others print none for such an input.
    """
    networks: dict[str, tuple[nn.Module, dict[str, float]]] = {
        "unet3d": (UNet3D(), {"published_parameters": 19_069_955}),
        "vnet": (VNet(), {}),
        "attention_unet": (AttentionUNet(), {}),
        "kiunet3d": (KiUNet3D(), {}),
        "nnunet_3d_fullres": (
            PlainConvUNet(),
            {"published_parameters": 31.2e6, "published_macs": 475.7e9},
        ),
        "resenc_unet": (ResidualEncoderUNet(), {}),
    }
    return [
        Case(name=name, module=module, shapes=volume, counted=_logits_of(module), **published)
        for name, (module, published) in networks.items()
    ]


def _logits_of(module: nn.Module) -> Callable[..., Any]:
    """The network without coarser heads, as it predicts."""

    def logits(*inputs: Any) -> Any:
        output: Any = module.apply(*inputs)
        return output.logits

    return logits


def _from_config(name: str, *, num_classes: int) -> list[Case]:
    """The network of a configuration, or nothing where there is no such configuration."""
    if importlib.util.find_spec(f"configs.{name}") is None:
        return []
    from brainjax.experiment import build

    experiment: Any = build(importlib.import_module(f"configs.{name}").get_config())
    shape = experiment.inputs["image"].shape
    return [Case(name=name, module=experiment.make_model(num_classes), shapes=(shape,))]
