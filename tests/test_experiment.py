"""Configurations become checked objects, or one clear error."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from brainjax import experiment
from brainjax.errors import InputError

CONFIGS = Path(__file__).parent.parent / "configs"


def config(variant: str = "demo"):
    return runpy.run_path(str(CONFIGS / "cga.py"))["get_config"](variant)


@pytest.mark.parametrize("variant", ["demo", "paper", "released"])
def test_every_configuration_builds(variant: str) -> None:
    built = experiment.build(config(variant))
    state = built.abstract_state(built.make_model(num_classes=4))
    parameters = sum(leaf.size for leaf in _leaves(state.params))
    assert parameters == {"demo": 1_201_800, "paper": 5_327_720, "released": 4_768_616}[variant]


def test_a_checkpoint_s_json_builds_the_same_experiment() -> None:
    built = experiment.build(config("paper"))
    again = experiment.build(json.loads(json.dumps(built.config)))
    assert again == built


def test_the_inter_class_term_starts_after_its_epochs() -> None:
    assert experiment.build(config("paper")).make_objective(37).inter_start_step == 740


@pytest.mark.parametrize(
    ("section", "key", "told"),
    [
        ("optimizer", "lr", "known are algorithm, average_decay"),
        ("model", "widths", "known are attention_from, base_width"),
        ("inference", "tta", "known are"),
        ("objective", "focal", "known are attention_weight"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(section: str, key: str, told: str) -> None:
    plain = config().to_dict()
    plain[section][key] = 1
    with pytest.raises(InputError, match=key) as caught:
        experiment.build(plain)
    assert told in str(caught.value)


def test_a_missing_key_or_section_is_named() -> None:
    plain = config().to_dict()
    del plain["optimizer"]["power"]
    with pytest.raises(InputError, match="optimizer lacks the key power"):
        experiment.build(plain)
    plain = config().to_dict()
    del plain["loop"]
    with pytest.raises(InputError, match="config lacks the key loop"):
        experiment.build(plain)


def _leaves(tree) -> list:
    return (
        [leaf for branch in tree.values() for leaf in _leaves(branch)]
        if isinstance(tree, dict)
        else [tree]
    )
