"""The released CGA U-Net's names and layouts."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from brainjax.errors import InputError
from brainjax.weights import cga_unet, load_tensors

# Names and shapes read from the checkpoint that the authors published.
RELEASED = Path(__file__).with_name("cga_checkpoint_names.tsv")


@pytest.fixture(scope="module")
def mapping():
    rng = np.random.default_rng(0)
    with RELEASED.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    shapes = {row["name"]: ast.literal_eval(row["shape"]) for row in rows}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_released_names_and_shapes_go_round(tmp_path, mapping):
    assert sum(value.size for value in mapping.values()) == 4_768_617
    safetensors.numpy.save_file(mapping, tmp_path / "cga.safetensors")
    variables = cga_unet.convert(load_tensors(tmp_path / "cga.safetensors"))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 4_768_616
    back = cga_unet.export(variables)
    assert set(back) == set(mapping)
    for name, value in mapping.items():
        if name != cga_unet.UNUSED:
            np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_layouts(mapping):
    params = cga_unet.convert(mapping)["params"]
    ours = params["down1"]["kernel"]
    assert ours[0, 1, 2, 3, 4] == mapping["EnDown1.conv.weight"][4, 3, 0, 1, 2]
    ours = params["decoder3_up"]["kernel"]
    assert ours[0, 1, 1, 3, 4] == mapping["DeUp3.conv2.weight"][3, 4, 0, 1, 1]


def test_unused_scalar_is_not_needed(mapping):
    cga_unet.convert({k: v for k, v in mapping.items() if k != cga_unet.UNUSED})


def test_all_differences_are_listed_in_one_line(mapping):
    wrong = dict(mapping)
    del wrong["EndConv.conv.bias"], wrong["EnBlock1.bn1.weight"]
    wrong["extra.weight"] = np.zeros(3, np.float32)
    wrong["InitConv.conv.weight"] = np.zeros((16, 3, 3, 3, 3), np.float32)
    with pytest.raises(InputError) as caught:
        cga_unet.convert(wrong)
    message = str(caught.value)
    assert "4 differences" in message
    assert "missing EndConv.conv.bias" in message
    assert "missing EnBlock1.bn1.weight" in message
    assert "extra extra.weight" in message
    assert "InitConv.conv.weight has shape (16, 3, 3, 3, 3), expected (16, 4, 3, 3, 3)" in message
    assert "\n" not in message
