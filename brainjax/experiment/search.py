"""Which settings of an experiment are searched, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment.sections import check_keys, make_section

KINDS = ("float", "integer", "choice")
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "halving", "none")

NOT_SEARCHED = (
    "data", "evaluation", "made_up", "phantom", "published", "repeats", "score", "search", "seed",
    "series", "split", "task", "variants",
)  # fmt: skip
"""Sections that decide what is scored and on what: trials must have them in common."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter:
    """One searched setting.

    Attributes:
      name: its dotted name, such as ``optimizer.learning_rate``; a number picks an entry
        of a tuple, as in ``model.widths.0``.
      kind: ``float`` or ``integer`` between ``low`` and ``high`` (both included), or one
        of ``choices``.
      low: the least value.
      high: the greatest value.
      step: distance of values from ``low`` on; 0 is any float and every integer.
      log: whether values are drawn evenly on a logarithmic scale.
      choices: of any type that a configuration holds, tuples included.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {KINDS}")
        if self.kind == "choice":
            if len(self.choices) < 2 or len(set(map(str, self.choices))) < len(self.choices):
                raise ValueError(f"choices {self.choices}: expected two or more that differ")
            return
        if self.choices:
            raise ValueError(f"choices are for the kind 'choice', found kind {self.kind!r}")
        if not self.low < self.high:
            raise ValueError(f"low {self.low}, high {self.high}: expected low below high")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError(
                f"log: expected low above 0 and no step, found {self.low}, {self.step}"
            )
        whole = all(float(x).is_integer() for x in (self.low, self.high, self.step))
        if self.step < 0 or (self.kind == "integer" and not whole):
            raise ValueError(
                f"low {self.low}, high {self.high}, step {self.step}: expected a step of 0 or "
                "more, and whole numbers for the kind 'integer'"
            )

    def holds(self, value: Any) -> bool:
        """Whether the value is one of those that are searched."""
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind == "integer" and not float(value).is_integer():
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How the settings are searched.

    Attributes:
      space: the searched settings.
      trials: how many are begun in all, by all workers together; the first is the
        configuration as it is.
      sampler: ``tpe`` (tree-structured Parzen estimator) or ``random``.
      startup_trials: so many are drawn at random before ``tpe`` learns from them, and
        are finished before ``median`` stops any.
      pruner: ``median`` stops trials that are below the median of the others at the same
        validation, ``halving`` all but the best third at the validations 1, 3, 9 and so
        on; ``none`` stops none.
      warmup_validations: after so many a trial may be stopped.
      seed: of the sampler.
      storage: a database URL that the workers share; empty is ``WORKDIR/study.log``.
    """

    space: tuple[Parameter, ...]
    trials: int
    sampler: str = "tpe"
    startup_trials: int = 5
    pruner: str = "median"
    warmup_validations: int = 1
    seed: int = 0
    storage: str = ""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler {self.sampler!r}: expected one of {SAMPLERS}")
        if self.pruner not in PRUNERS:
            raise ValueError(f"pruner {self.pruner!r}: expected one of {PRUNERS}")
        for name, least in (("trials", 1), ("startup_trials", 1), ("warmup_validations", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: expected {least} or more")
        names = [parameter.name for parameter in self.space]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"space: expected at least one setting, each once; found {names}")


def make_search(config: Mapping[str, Any]) -> SearchOptions:
    """Checks the section ``search`` of a configuration against the rest of it.

    Raises:
      InputError: there is none, it names a setting that there is not or that trials must
        have in common, or the configuration itself lies outside of the space.
    """
    if "search" not in config:
        raise InputError(
            "the configuration has no section search: what to tune, between which values; "
            "see configs/kaggle4_improved.py:search"
        )
    section = dict(config["search"])
    check_keys("search", section, {*section, "space"}, needed={"space"})
    try:
        entries = [(str(name), dict(values)) for name, values in section["space"]]
    except (TypeError, ValueError) as error:
        raise InputError(
            "search.space: expected pairs of a dotted name and kind, low, high, step, log or "
            f"choices, found {section['space']!r}"
        ) from error
    space = tuple(
        make_section(Parameter, f"search.space {name}", {"name": name, **values})
        for name, values in entries
    )
    for parameter in space:
        if parameter.name.partition(".")[0] in NOT_SEARCHED:
            raise InputError(
                f"search.space: {parameter.name} decides what is scored, which all trials must "
                "have in common; search other settings"
            )
        value = value_of(config, parameter.name)
        if not parameter.holds(value):
            raise InputError(
                f"search.space: {parameter.name} is {value} in the configuration, where the "
                "search begins, but not among the searched values; widen them or change it"
            )
    return make_section(SearchOptions, "search", {**section, "space": space})


def value_of(config: Any, name: str) -> Any:
    """The setting with a dotted name; a number picks an entry of a tuple.

    Raises:
      InputError: there is none.

    >>> value_of({"model": {"widths": (16, 32)}}, "model.widths.1")
    32
    """
    value = config
    for key in name.split("."):
        value = _entry(value, key, name)
    return value


def with_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with some settings changed.

    Args:
      config: nested plain values; stays as it is.
      changes: dotted names to new values; a number picks an entry of a tuple.

    Raises:
      InputError: a setting does not exist.

    >>> with_changes({"model": {"widths": (16, 32)}}, {"model.widths.1": 64})
    {'model': {'widths': (16, 64)}}
    """
    changed: Any = dict(config)
    for name, value in changes.items():
        changed = _replaced(changed, name.split("."), value, name)
    return changed


def _replaced(config: Any, keys: list[str], value: Any, name: str) -> Any:
    if not keys:
        return value
    inner = _replaced(_entry(config, keys[0], name), keys[1:], value, name)
    if isinstance(config, Mapping):
        return {**config, keys[0]: inner}
    place = int(keys[0])
    return (*config[:place], inner, *config[place + 1 :])


def _entry(config: Any, key: str, name: str) -> Any:
    if isinstance(config, Mapping) and key in config:
        return config[key]
    if isinstance(config, (tuple, list)) and key.isdigit() and int(key) < len(config):
        return config[int(key)]
    known = (
        f"known are {', '.join(map(str, sorted(config)))}"
        if isinstance(config, Mapping)
        else f"it has {len(config)} entries"
        if isinstance(config, (tuple, list))
        else f"{config!r} has no parts"
    )
    raise InputError(f"{name}: there is no setting {key!r} of this name; {known}")
