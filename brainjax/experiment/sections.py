"""Sections of a configuration to checked dataclasses, with errors that name the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.training import check_micro_batches

Options = TypeVar("Options")

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def plain_values(value: Any) -> Any:
    """Nested dictionaries and tuples, as JSON can give back but with tuples for lists."""
    if hasattr(value, "items"):
        return {str(name): plain_values(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain_values(item) for item in value)
    return value


def make_section(options: type[Options], name: str, values: Mapping[str, Any]) -> Options:
    """Makes a dataclass of a section.

    Raises:
      InputError: a key is missing or unknown, or a value is refused.
    """
    fields = dataclasses.fields(options)  # type: ignore[arg-type]
    needed = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    check_keys(name, values, {field.name for field in fields}, needed=needed)
    return make(options, name, values)


def make_batches(
    options: type[Options], values: Mapping[str, Any], *, seed: int
) -> tuple[Options, int]:
    """Makes the pipeline's dataclass of the section ``batches``, and takes ``accumulate`` out.

    Raises:
      InputError: a key is missing or unknown, a value is refused, or ``batch_size`` does
        not divide by ``accumulate``.
    """
    known = {field.name for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    check_keys("batches", values, known | {"accumulate"}, needed={"accumulate"})
    drawn = {name: value for name, value in values.items() if name != "accumulate"}
    made = make_section(options, "batches", dict(drawn, seed=seed))
    check_micro_batches(drawn["batch_size"], values["accumulate"])
    return made, values["accumulate"]


def make(made: type[Options], name: str, values: Mapping[str, Any]) -> Options:
    """Calls a class with the values of the section ``name``.

    Raises:
      InputError: a value is refused.
    """
    try:
        return made(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error


def check_keys(name: str, values: Mapping[str, Any], known: set[str], *, needed: set[str]) -> None:
    """Compares the keys of a section with the known ones.

    Raises:
      InputError: names unknown or missing keys.
    """
    unknown = sorted(set(values) - known)
    missing = sorted(needed - set(values))
    if unknown:
        raise InputError(
            f"{name} has the unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    if missing:
        raise InputError(f"{name} lacks the key {', '.join(missing)}")


def pick_dtype(name: Any) -> Any:
    """The type of a network's computations from ``model.dtype``.

    Raises:
      InputError: it is not one of ``DTYPES``.
    """
    if name not in DTYPES:
        raise InputError(f"model.dtype {name!r} is not one of {sorted(DTYPES)}")
    return DTYPES[name]
