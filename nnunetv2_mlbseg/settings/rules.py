"""How a key is checked.

One line declares a key: a function of this file gives its default, what it accepts, its unit, its section on the
reference page and its source. The docstring below the line says what the key does. Type and bounds are checked by
pydantic, strictly: true is not 1, 1.0 is not a whole number, "3" is not 3, and NaN is no number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic.config import JsonDict

NO_UNIT = "none"


@dataclass(frozen=True)
class Section:
    """A section of the reference page: keys that belong together, and a sentence or two about them."""

    title: str
    about: str = ""


OWN = Section("The method", "Settings of this method alone.")
"""The section of keys that name none."""


def anything(value: Any) -> bool:
    """Accept all that has the right type and lies within the bounds."""
    return True


@dataclass(frozen=True)
class Rule:
    """What a key has beside its default, type and bounds.

    Attributes:
        expected: What it accepts, in words that complete "expected ...".
        accepts: What pydantic does not check.
        schema: The same for a JSON schema.
    """

    expected: str
    unit: str = NO_UNIT
    section: Section = OWN
    source: str = ""
    accepts: Callable[[Any], bool] = anything
    schema: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, schema: JsonDict) -> None:
        """Complete the key's JSON schema; pydantic calls this."""
        schema.update({**self.schema, "x-unit": self.unit})
        if self.source:
            schema["x-source"] = self.source


class Settings(BaseModel):
    """Keys with values that were checked. Nothing changes them later."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _check_and_keep(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Check a value and keep it as it was given: 1 stays 1 where 0.5 is possible. Lists become tuples."""
        value = tuple(value) if isinstance(value, list) else value
        handler(value)
        rule = rule_of(cls, str(info.field_name))
        if not rule.accepts(value):
            raise ValueError(f"expected {rule.expected}")
        return value

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the log and the checkpoint."""
        return json.loads(json.dumps(dict(self)))


def rule_of(settings_class: type[Settings], key: str) -> Rule:
    """The rule of a key."""
    rule = settings_class.model_fields[key].json_schema_extra
    if not isinstance(rule, Rule):
        raise TypeError(f"{settings_class.__name__}.{key} has no rule, expected a default from settings.rules")
    return rule


def number(default: float, *, least: float, most: float = math.inf, open_ends: bool = False, **about: Any) -> Any:
    """A number. ``open_ends``: neither ``least`` nor ``most`` itself.

    Args:
        about: Here and below ``unit``, ``section`` and ``source`` of the `Rule`.
    """
    if open_ends:
        return _key(default, f"a number between {least:g} and {most:g}", {"gt": least, "lt": most}, **about)
    if math.isinf(most):
        return _key(default, f"a number, {least:g} or more", {"ge": least}, **about)
    return _key(default, f"a number from {least:g} to {most:g}", {"ge": least, "le": most}, **about)


def whole(default: int, *, least: int, **about: Any) -> Any:
    """A whole number."""
    return _key(default, f"a whole number, {least} or more", {"ge": least}, **about)


def optional_whole(default: int | None, *, least: int, most: int | None = None, **about: Any) -> Any:
    """A whole number or None."""
    words = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"
    return _key(default, f"{words}, or null", {"ge": least, "le": most}, **about)


def flag(default: bool, **about: Any) -> Any:
    """True or False."""
    return _key(default, "true or false", {}, **about)


def automatic_flag(default: bool, **about: Any) -> Any:
    """True, False, or "auto": what the training finds out."""
    return _key(default, "auto, true or false", {}, **about)


def one_of(default: str, *, names: Iterable[str], **about: Any) -> Any:
    """One of some names."""
    known = tuple(names)
    expected = "one of " + ", ".join(known)
    return _key(default, expected, {}, accepts=known.__contains__, schema={"enum": [*known]}, **about)


def list_of(default: tuple[str, ...], *, names: Iterable[str], if_empty: str, **about: Any) -> Any:
    """Any number of some names, in any order. ``if_empty``: what no name means."""
    known = tuple(names)
    expected = f"a list of {', '.join(known)} (empty: {if_empty})"
    schema = {"items": {"type": "string", "enum": [*known]}}
    return _key(default, expected, {}, accepts=lambda value: set(value) <= set(known), schema=schema, **about)


def texts(default: tuple[str, ...], *, what: str, **about: Any) -> Any:
    """Any number of texts. ``what``: what they are, in the plural."""
    return _key(default, f"a list of {what}", {}, **about)


def interval(default: tuple[float, float], *, least: float, most: float, **about: Any) -> Any:
    """Two numbers, the lower one first."""
    ends = {"type": "number", "minimum": least, "maximum": most}
    return _key(
        default,
        f"two numbers [low, high] between {least:g} and {most:g}",
        {},
        accepts=lambda value: least <= value[0] <= value[1] <= most,
        schema={"prefixItems": [ends, ends]},
        **about,
    )


def optional_expression(default: str | None, **about: Any) -> Any:
    """A regular expression or None."""
    expected = "a regular expression, or null"
    return _key(default, expected, {}, accepts=_is_expression, schema={"format": "regex"}, **about)


def _is_expression(value: str | None) -> bool:
    try:
        return value is None or re.compile(value) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def _key(default: Any, expected: str, bounds: Mapping[str, Any], **about: Any) -> Any:
    return Field(default, json_schema_extra=Rule(expected, **about), **bounds)
