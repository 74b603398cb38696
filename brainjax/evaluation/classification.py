"""Scores of a classifier: how often it is right, how well it ranks, and its curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainjax.evaluation.calibration import expected_calibration_error
from brainjax.evaluation.probabilities import check_class_names, check_probabilities
from brainjax.evaluation.ranking import count_runs, divide, rank_scores, ranking_scores

CLASS_METRICS = ("precision", "recall", "f1", "auroc", "average_precision")
WEIGHTED_METRICS = ("precision", "recall", "f1")
OVERALL_METRICS = ("accuracy", "balanced_accuracy", "log_loss", "brier", "ece")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassificationScores:
    """Scores of n cases of K classes; the predicted class is the most probable one.

    NaN is a score without a value. A class that no case has is in no average; a
    class that cases have and nobody predicts has precision and F1 of 0, since
    leaving it out would flatter whoever never dares.

    Attributes:
      class_names: names of the classes, K of them.
      counts: cases that truly are of each class ``[K]`` (the support).
      confusion: cases by true class (row) and predicted class (column) ``[K, K]``.
      accuracy: share of right predictions.
      balanced_accuracy: mean recall of the classes that cases have.
      precision: share of the predictions of a class that are right ``[K]``; NaN for
        a class that is neither there nor predicted.
      recall: share of the cases of a class that are found ``[K]``; NaN where there
        is none.
      f1: harmonic mean of the two, 2 TP / (2 TP + FP + FN) ``[K]``.
      auroc: area under the ROC curve, class against rest ``[K]``; NaN where all
        cases or none are of the class.
      average_precision: mean precision over recall, class against rest ``[K]``; NaN
        where there is no case.
      log_loss: mean negative log (natural) of the true class's probability, which
        counts as at least the resolution of its number type.
      brier: mean over cases of the squared error summed over classes (Brier 1950),
        0 to 2.
      ece: expected calibration error of the predicted class in 15 bins.
    """

    class_names: tuple[str, ...]
    counts: np.ndarray
    confusion: np.ndarray
    accuracy: float
    balanced_accuracy: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    auroc: np.ndarray
    average_precision: np.ndarray
    log_loss: float
    brier: float
    ece: float

    @property
    def cases(self) -> int:
        """Number of cases."""
        return int(self.counts.sum())

    @property
    def support(self) -> np.ndarray:
        """Cases that truly are of each class ``[K]``."""
        return self.counts

    def macro(self, metric: str) -> float:
        """Mean of a per-class metric over the classes that cases have and that define it."""
        values = getattr(self, metric)[self.counts > 0]
        defined = values[~np.isnan(values)]
        return float(defined.mean()) if len(defined) else math.nan

    def weighted(self, metric: str) -> float:
        """Mean of ``precision``, ``recall`` or ``f1`` weighted by the cases of each class."""
        there = self.counts > 0
        return float(np.average(getattr(self, metric)[there], weights=self.counts[there]))

    def numbers(self, prefix: str) -> dict[str, float]:
        """Flat names and numbers, such as ``test/accuracy`` and ``test/recall/glioma``.

        Per-class metrics have ``/macro`` besides, and precision, recall and F1 have
        ``/weighted``. ``{prefix}/cases`` and ``{prefix}/cases/<class>`` count. The
        names are the same for every set of cases; a score without a value is NaN.
        """
        named = {f"{prefix}/{metric}": getattr(self, metric) for metric in OVERALL_METRICS}
        for metric in CLASS_METRICS:
            values = getattr(self, metric)
            for name, value in zip(self.class_names, values, strict=True):
                named[f"{prefix}/{metric}/{name}"] = float(value)
            named[f"{prefix}/{metric}/macro"] = self.macro(metric)
            if metric in WEIGHTED_METRICS:
                named[f"{prefix}/{metric}/weighted"] = self.weighted(metric)
        named[f"{prefix}/cases"] = float(self.cases)
        for name, count in zip(self.class_names, self.counts, strict=True):
            named[f"{prefix}/cases/{name}"] = float(count)
        return named


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassCurves:
    """ROC and precision-recall curves of one class against the rest.

    Points go from the highest threshold to the lowest; the first is that of a
    threshold above every score. A class without cases has NaN for true positive
    rate and recall, one without others NaN for the false positive rate.

    Attributes:
      thresholds: probabilities ``[m]``; the first is infinite.
      fpr: share of the other cases at or above the threshold ``[m]``.
      tpr: share of the class's cases at or above it ``[m]``, which is recall.
      precision: share of the cases at or above it that are of the class ``[m]``,
        1 at the first point.
      recall: the same as ``tpr``.
    """

    thresholds: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    precision: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Share of the class's cases at or above each threshold ``[m]``."""
        return self.tpr


def score_classification(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> ClassificationScores:
    """Scores the probabilities of n cases.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: true classes ``[n]``, integers from 0 to K-1.
      class_names: K names.

    Raises:
      InputError: a shape, a row, a label or a name is wrong.
    """
    values = check_probabilities(probabilities, labels)
    cases, classes = values.shape
    names = check_class_names(class_names, classes)
    confusion = confusion_matrix(values.argmax(axis=1), labels, classes)
    right = confusion.diagonal().astype(np.float64)
    counts, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    recall = divide(right, counts)
    precision = divide(right, predicted)
    precision[(predicted == 0) & (counts > 0)] = 0.0
    auroc, average_precision = np.empty(classes), np.empty(classes)
    once = np.ones((cases, 1))
    for k in range(classes):
        area, mean = ranking_scores(rank_scores(values[:, k]), labels == k, once)
        auroc[k], average_precision[k] = area[0], mean[0]
    resolution = np.finfo(np.result_type(probabilities, np.float32)).eps
    of_truth = values[np.arange(cases), labels]
    return ClassificationScores(
        class_names=names,
        counts=counts,
        confusion=confusion,
        accuracy=float(right.sum() / cases),
        balanced_accuracy=float(recall[counts > 0].mean()),
        precision=precision,
        recall=recall,
        f1=divide(2 * right, counts + predicted),
        auroc=auroc,
        average_precision=average_precision,
        log_loss=-float(np.mean(np.log(np.maximum(of_truth, resolution)))),
        brier=float(np.mean(np.sum((values - np.eye(classes)[labels]) ** 2, axis=1))),
        ece=expected_calibration_error(values, labels),
    )


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts cases by true class (row) and predicted class (column), int64 ``[K, K]``.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    pairs = np.asarray(labels, np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def classification_curves(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, ClassCurves]:
    """Computes the ROC and the precision-recall curve of each class against the rest.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: true classes ``[n]``, integers from 0 to K-1.
      class_names: K names.

    Returns:
      Curves by class name, one point per distinct probability.

    Raises:
      InputError: a shape, a row, a label or a name is wrong.
    """
    values = check_probabilities(probabilities, labels)
    names = check_class_names(class_names, values.shape[1])
    curves = {}
    for k, name in enumerate(names):
        ranking = rank_scores(values[:, k])
        runs = count_runs(ranking, labels == k, np.ones((len(values), 1)))
        true, false = (np.r_[0.0, np.cumsum(run[:, 0])] for run in runs)
        precision = divide(true, true + false)
        precision[0] = 1.0
        curves[name] = ClassCurves(
            thresholds=np.r_[np.inf, ranking.thresholds],
            fpr=divide(false, np.full_like(false, false[-1])),
            tpr=divide(true, np.full_like(true, true[-1])),
            precision=precision,
        )
    return curves
