"""A made-up classifier's report: calibrated and uncalibrated predictions of a few classes."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.report.classification_report import ClassificationReport, EvaluatedPart, SampleImage

NAMES = ("glioma", "meningioma", "notumor", "pituitary")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def make_part(class_names=NAMES, images: int = 60, **changes) -> EvaluatedPart:
    random, classes = np.random.default_rng(0), len(class_names)
    labels = np.arange(images) % classes
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 2.0
    probabilities = softmax(logits)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    curve = (np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.8, 1.0]))
    values = {
        "name": "test",
        "labels": labels,
        "probabilities": probabilities,
        "uncalibrated": softmax(3 * logits),
        "confusion": confusion,
        "roc": dict.fromkeys(class_names, curve),
        "precision_recall": dict.fromkeys(class_names, (curve[0], curve[1][::-1])),
    }
    return EvaluatedPart(**(values | changes))


def make_sample(**changes) -> SampleImage:
    image = np.zeros((30, 20), np.uint8)
    image[8:20, 5:15] = 200
    return SampleImage(**({"image": image, "title": "Tr_1.jpg", "truth": "glioma"} | changes))


def make_report(**changes) -> ClassificationReport:
    wrong = make_sample(title="Te_7.jpg", prediction="pituitary", probability=0.981)
    values = {
        "title": "kaggle4_improved",
        "command": "python -m brainjax.main --config=configs/kaggle4_improved.py",
        "config": {"model": {"name": "cnn"}, "seed": 0},
        "history": [
            {"step": 10 * n, "epoch": n, "train/loss": 1 / n, "train/learning_rate": 1e-3}
            | {"train/accuracy": 0.1 * n, "val/loss": 1.2 / n, "val/accuracy": 0.09 * n}
            for n in range(1, 6)
        ],
        "summary": {
            "test/accuracy": 0.87654,
            "test/accuracy_low": 0.85,
            "test/accuracy_high": 0.9,
            "test/balanced_accuracy": float("nan"),
            "test/f1/macro": 0.861,
            "test/recall/glioma": 0.75,
            "test/auroc/glioma": 0.95,
            "test/auroc_low/glioma": 0.93,
            "test/auroc_high/glioma": 0.97,
            "test/ece": 0.021,
            "test/ece_uncalibrated": 0.084,
            "val/accuracy": 0.9,
            "model/parameters": 46596.0,
        },
        "class_names": NAMES,
        "parts": (make_part(),),
        "class_counts": {
            "training": (100, 90, 120, 80),
            "training with SMOTE": (102, 102, 120, 102),
            "test": (15, 15, 15, 15),
        },
        "samples": tuple(make_sample(truth=name) for name in NAMES for _ in range(2)),
        "mistakes": (wrong,),
        "uncertain": (make_sample(prediction="glioma", probability=0.31),),
        "published": (
            ("test/accuracy", (0.8871, 0.0053), "paper 4, section 5"),
            ("test/f1", 0.886, "paper 4, section 5"),
            ("test/recall/glioma", 0.91, "paper 4, Table 3"),
        ),
        "comparison": {
            "slice split": {"accuracy": (0.951, 0.004), "patients on both sides": 212},
            "patient split": {"accuracy": 0.882, "patients on both sides": 0},
        },
        "comparison_caption": "Split by slice and by patient",
        "duplicates": {"exact duplicates across parts": 0, "dropped": 297},
        "environment": {"jax": "0.10.2"},
        "notes": ("Best weights by validation accuracy.",),
    }
    return ClassificationReport(**(values | changes))


@pytest.fixture
def classification_report():
    return make_report


@pytest.fixture
def evaluated_part():
    return make_part


@pytest.fixture
def sample_image():
    return make_sample
