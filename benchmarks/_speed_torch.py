"""The child of ``benchmarks.speed`` that runs the same networks in PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks._speed_cases import CASES, Case, peer_variants
from benchmarks._speed_child import serve
from benchmarks.torch_reference import cga_unet, classifier_cnn, resnet

COMPILE_OPTIONS: dict[str, dict[str, Any]] = {
    "compile": {},
    "graphs": {"mode": "reduce-overhead"},
}


class Torch:
    """One case in one variant at a time."""

    _run: Callable[[int], None]

    def device(self) -> dict[str, Any]:
        """What PyTorch can compute on."""
        gpu = torch.cuda.is_available()
        return {
            "device": torch.cuda.get_device_name() if gpu else "cpu",
            "gpu": gpu,
            "threads": torch.get_num_threads(),
        }

    def load(self, *, case: str, gpu: bool, variant: str) -> dict[str, Any]:
        """Makes the network and, where the variant says so, has it compiled at its first call.

        Raises:
          ValueError: there is no such variant of this case.
          RuntimeError: JAX has a GPU and PyTorch has none.
        """
        found = CASES[case]
        if variant not in peer_variants(found, gpu=gpu):
            raise ValueError(f"{case} has no variant {variant}")
        if gpu and not torch.cuda.is_available():
            raise RuntimeError("JAX has a GPU here, PyTorch has none")
        if gpu:  # as JAX does by default: TF32, and the fastest of cuDNN's algorithms
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        prepare = _training if found.work == "train" else _inference
        self._run = prepare(found, variant, torch.device("cuda" if gpu else "cpu"))
        return {}

    def run(self, calls: int) -> None:
        """Runs so many steps or predictions."""
        self._run(calls)

    def device_peak_mb(self) -> float | None:
        """The most memory that PyTorch held on a GPU."""
        if not torch.cuda.is_initialized():
            return None
        return torch.cuda.max_memory_allocated() / 2**20


def _make_network(case: Case) -> torch.nn.Module:
    if case.network == "cga_unet":
        return cga_unet.CGAUNet("released", width=16)
    if case.network == "resnet18":
        return resnet.ResNet(18, classes=case.input.classes)
    return classifier_cnn.CNN((32, 32), (32,), 32 * 6 * 6, case.input.classes)


def _prepare(
    case: Case, variant: str, device: torch.device
) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor, Callable[[], Any]]:
    """The network, image [B, C, *spatial], labels, and a maker of contexts that set the type."""
    _, layout, *way = variant.split("/")
    torch.manual_seed(0)
    arrays = case.arrays(gpu=device.type == "cuda")
    image = torch.from_numpy(np.moveaxis(arrays["image"], -1, 1).copy())
    labels = torch.from_numpy(arrays["labels"]).to(device)
    network: Any = _make_network(case)  # the stubs of its "to" know no memory formats
    dtype = torch.bfloat16 if way == ["cast"] else torch.float32
    memory_format = torch.contiguous_format
    if layout != "contiguous":
        memory_format = getattr(torch, layout)
    network = network.to(device, dtype).to(memory_format=memory_format)
    image = image.to(device, dtype).to(memory_format=memory_format)

    def typed() -> Any:
        if way == ["autocast"]:
            return torch.autocast(device.type, torch.bfloat16)
        return contextlib.nullcontext()

    return network, image, labels if case.input.dense else labels.long(), typed


def _inference(case: Case, variant: str, device: torch.device) -> Callable[[int], None]:
    """A function that predicts so often, each result waited for."""
    network, image, _, typed = _prepare(case, variant, device)
    network.eval()

    def predict(image: torch.Tensor) -> torch.Tensor:
        with typed():
            output = network(image)
        if case.input.dense:
            return output[0].float()  # the softmax
        return functional.log_softmax(output.float(), dim=1)

    predict = _compiled(predict, variant)

    def run(calls: int) -> None:
        with torch.inference_mode():
            for _ in range(calls):
                predict(image)
                _wait(device)

    return run


def _training(case: Case, variant: str, device: torch.device) -> Callable[[int], None]:
    """A function that goes on by so many steps of Adam."""
    network, image, labels, typed = _prepare(case, variant, device)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def loss(image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with typed():
            output = network(image)
        if case.input.dense:
            softmax, attention, distance = (part.float() for part in output)
            return cga_unet.total_loss("released", softmax, attention, distance, labels)
        return functional.cross_entropy(output.float(), labels)

    loss = _compiled(loss, variant)

    def run(calls: int) -> None:
        for _ in range(calls):
            optimizer.zero_grad(set_to_none=True)
            torch.compiler.cudagraph_mark_step_begin()
            loss(image, labels).backward()
            optimizer.step()
        _wait(device)

    return run


def _compiled(function: Callable[..., torch.Tensor], variant: str) -> Callable[..., torch.Tensor]:
    mode = variant.split("/")[0]
    if mode == "eager":
        return function
    return torch.compile(function, dynamic=False, **COMPILE_OPTIONS[mode])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    serve(Torch())
