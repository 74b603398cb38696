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


COMPARATORS = {  # parameters: narrow, and published
    "unet3d": (299_232, 19_075_556),
    "vnet": (3_880_508, 61_996_700),
    "attention_unet": (1_556_343, 6_215_447),
    "kiunet3d": (2_794, 2_794),
    "nnunet": (352_036, 31_199_796),
    "resenc_unet": (1_622_388, 102_353_972),
}


def comparator(variant: str):
    return runpy.run_path(str(CONFIGS / "comparators.py"))["get_config"](variant)


@pytest.mark.parametrize("name", COMPARATORS)
def test_every_comparator_builds_narrow_and_as_published(name: str) -> None:
    for variant, expected in zip((name, f"{name}_full"), COMPARATORS[name], strict=True):
        built = experiment.build(comparator(variant))
        assert built.data.needs_root == (variant != name)
        state = built.abstract_state(built.make_model(num_classes=4))
        assert sum(leaf.size for leaf in _leaves(state.params)) == expected
    assert experiment.build(json.loads(json.dumps(built.config))) == built


def test_an_unknown_comparator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"comparators.py:unet does not exist; use :unet3d, :vnet"):
        comparator("unet")


@pytest.mark.parametrize(
    ("mode", "key", "value", "step"),
    [
        ("sliding_window", "patch_shape", (48, 48, 44), 8),
        ("whole_volume", "multiple", 4, 8),
    ],
)
def test_a_window_that_the_network_cannot_halve_is_refused_before_training(
    mode: str, key: str, value, step: int
) -> None:
    plain = comparator("nnunet").to_dict()
    plain["inference"] |= {"mode": mode, key: value}
    with pytest.raises(InputError, match=f"inference.{key} .* does not divide by {step}"):
        experiment.build(plain)


@pytest.mark.parametrize("name", ["cga", "nnunet"])
def test_region_wise_training_has_three_outputs_and_classes_for_the_attention(name: str) -> None:
    plain = (config() if name == "cga" else comparator(name)).to_dict()
    plain["objective"]["target"] = "regions"
    built = experiment.build(plain)
    assert built.trains_regions
    assert built.make_objective(1).regions == ((1, 2, 3), (1, 3), (3,))
    params = built.abstract_state(built.make_model(num_classes=4)).params
    assert params["head"]["bias"].shape == (3,)
    if name == "cga":
        assert params["attention"]["conv3"]["bias"].shape == (4,)
    with pytest.raises(InputError, match="these have 5 classes: use target='classes'"):
        built.make_model(num_classes=5)
    plain["objective"]["target"] = "labels"
    with pytest.raises(InputError, match=r"objective\.target 'labels': expected one of"):
        experiment.build(plain)


def test_a_run_from_before_regions_and_deep_supervision_still_builds() -> None:
    plain = config().to_dict()
    del plain["objective"]["target"], plain["model"]["norm"], plain["model"]["deep_supervision"]
    saved = experiment.complete_saved(plain)
    assert experiment.build(saved) == experiment.build(config())
    classifier = classifier_config("kaggle4_baseline").to_dict()
    assert experiment.complete_saved(classifier) == classifier


ROWS = {  # the paper's Table 4: intra, inter, classes written back, sign of the inter-class loss
    "baseline": (False, False, (), 1),
    "intra": (True, False, (), 1),
    "intra_class1": (True, False, (1,), 1),
    "intra_class2": (True, False, (2,), 1),
    "intra_class4": (True, False, (3,), 1),
    "inter": (False, True, (), 1),
    "minus_inter": (False, True, (), -1),
    "intra_inter": (True, True, (), 1),
}


@pytest.mark.parametrize("row", ROWS)
def test_rows_of_the_ablation(row: str) -> None:
    for recipe in ("", "paper_", "released_"):
        found = config(f"{recipe}ablation_{row}")
        model, sign = found.model, found.objective.inter_sign
        assert (model.intra, model.inter, tuple(model.intra_classes), sign) == ROWS[row]
        base = config(recipe.removesuffix("_") or "demo")
        assert found.batches == base.batches
        assert "variants" not in found


def test_an_ablation_holds_its_rows_and_the_paper_s_figures() -> None:
    built = experiment.build(config("paper_ablation"))
    assert [name for name, _ in built.variants] == list(ROWS)
    published = {one.name: one for one in built.published}
    assert set(published) == set(ROWS)
    assert published["intra_class4"].title == "Baseline + Intra (class4)"
    assert published["intra"].spreads["dice"]["ET"] == pytest.approx((0.7860, 0.2914))
    assert published["intra_inter"].spreads["hd100_mm"]["TC"] == (19.833, 20.23)
    with pytest.raises(ValueError, match="after ablation_ comes one of baseline, intra"):
        config("ablation_class3")


@pytest.mark.parametrize(
    ("section", "value", "told"),
    [
        ("variants", (("a", ()), ("a", ())), "expected different names, found a, a"),
        ("variants", ("intra",), r"expected \(name, "),
        ("published", (("a", "A", (("dice", 1.0, 2.0),)),), r"expected \(variant, title"),
        ("published", (("a", "A", (("iou", 1.0, 2.0, 3.0),)),), "scores of dice, hd95_mm"),
    ],
)
def test_sections_of_several_runs(section: str, value: tuple, told: str) -> None:
    with pytest.raises(InputError, match=told):
        experiment.build({**config().to_dict(), section: value})


CLASSIFIERS = {
    "mgmt_resnet18": (2, 11_177_538),  # ResNet-18 without ImageNet's 1000 classes
    "figshare_cnn": (3, 33_314_819),
    "figshare_vgg16": (3, 17_926_467),
    "kaggle4_baseline": (4, 46_596),  # the paper's
    "kaggle4_improved": (4, 960_772),
    "kaggle4_improved:ablation": (4, 960_772),
    "kaggle4_improved:search": (4, 960_772),
    "kaggle4_vgg16:model1": (4, 14_731_236),  # VGG-16's 14,714,688 and the head's
    "kaggle4_vgg16:model2": (4, 14_976_996),
    "kaggle4_vgg16:model2_texture": (4, 14_976_996 + 12 * 32),
    "kaggle4_resnet50": (4, 23_573_732),
    "kaggle4_densenet121": (4, 6_986_788),
}


def classifier_config(name: str, *, root: str = "somewhere"):
    """A configuration as with a data set of the user's, or without where ``root`` is empty."""
    file, _, variant = name.partition(":")
    get_config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"]
    found = get_config(variant) if variant else get_config()
    found.data.root = root
    return found


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_builds(name: str) -> None:
    classes, expected = CLASSIFIERS[name]
    built = experiment.build(classifier_config(name))
    variables = built.abstract_variables(built.make_model(classes))
    assert sum(leaf.size for leaf in _leaves(variables["params"])) == expected
    built.make_optimizer(10, model=built.make_model(classes), pretrained=True)
    assert experiment.build(json.loads(json.dumps(built.config))) == built


def test_every_configuration_file_is_covered() -> None:
    covered = {name.partition(":")[0] for name in CLASSIFIERS} | {
        "cga", "cga_ablations", "comparators", "figshare_saliency_unet", "kaggle4_best",
    }  # fmt: skip
    assert covered == {path.stem for path in CONFIGS.glob("[!_]*.py")}


@pytest.mark.parametrize("name", [*CLASSIFIERS, "kaggle4_best"])
def test_without_data_the_made_up_set_s_size_and_epochs_count(name: str) -> None:
    built = experiment.build(classifier_config(name, root=""))
    assert built.images.image_size == tuple(built.made_up.image_size)
    assert built.loop.epochs == built.made_up.epochs


def test_the_saliency_unet_builds_with_and_without_data() -> None:
    built = experiment.build(classifier_config("figshare_saliency_unet"))
    assert isinstance(built, experiment.ReconstructionExperiment)
    assert (built.loop.epochs, built.classification.loop.epochs) == (30, 160)
    classifier = built.classification.make_model(3)
    found = built.classification.abstract_variables(classifier)["params"]
    assert sum(leaf.size for leaf in _leaves(found)) == 388_896 + 16 * 16 * 256 * 3 + 3
    assert built.make_autoencoder().widths == classifier.widths
    assert experiment.build(json.loads(json.dumps(built.config))) == built
    made_up = experiment.build(classifier_config("figshare_saliency_unet", root=""))
    assert made_up.config["images"]["image_size"] == (64, 64)
    assert experiment.build(json.loads(json.dumps(made_up.config))) == made_up


def test_random_bodies_are_trained_whatever_is_asked_of_pretrained_ones() -> None:
    built = experiment.build(classifier_config("kaggle4_resnet50"))
    assert built.make_model(4, pretrained=True).freeze_body
    assert not built.make_model(4).freeze_body


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
        ("batches", "micro", "known are accumulate, batch_size"),
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


@pytest.mark.parametrize(
    "plain", [config().to_dict(), classifier_config("mgmt_resnet18").to_dict()]
)
def test_a_run_from_before_micro_batches_still_builds(plain: dict) -> None:
    del plain["batches"]["accumulate"]
    with pytest.raises(InputError, match="batches lacks the key accumulate"):
        experiment.build(plain)
    saved = experiment.complete_saved(plain)
    assert experiment.build(saved).accumulate == 1
    assert "accumulate" not in plain["batches"]
    saved["batches"]["accumulate"] = 2
    assert experiment.build(experiment.complete_saved(saved)).accumulate == 2


def _leaves(tree) -> list:
    return (
        [leaf for branch in tree.values() for leaf in _leaves(branch)]
        if isinstance(tree, dict)
        else [tree]
    )
