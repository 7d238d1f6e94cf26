"""The reference page of the keys of a class, and a JSON schema of the objects that override them."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nnunetv2_mlbseg.settings.rules import NO_UNIT, Section, rule_of
from nnunetv2_mlbseg.settings.training import TrainingSettings

DRAFT = "https://json-schema.org/draft/2020-12/schema"
WIDTH = 100
"""Of a line of prose on the page, in columns."""


def markdown(settings_class: type[TrainingSettings]) -> str:
    """The body of a page: for every section a heading, a sentence and a table with a row for every key.

    A row is narrow enough for a screen: what a key does stands in one cell with what it accepts, unit and sources.
    """
    others = [preset for preset in settings_class.PRESETS if preset != "default"]
    columns = ["key", "default", *(f"`{name}`" for name in others), "what it does"]
    parts = []
    for section, keys in _sections(settings_class).items():
        rows = table(columns, [[f"`{key}`", *_cells(settings_class, key, others)] for key in keys])
        parts.append("\n\n".join(filter(None, [f"## {section.title}", textwrap.fill(section.about, WIDTH), rows])))
    return "\n\n".join(parts) + "\n"


def own_keys(settings_class: type[TrainingSettings], beside: type[TrainingSettings]) -> str:
    """A table of the keys that another class does not have, or for which it has another default; may be empty."""
    common, own = beside.model_fields, settings_class.model_fields
    keys = [key for key in own if key not in common or own[key].default != common[key].default]
    rows = [[f"`{key}`", *_cells(settings_class, key, [])] for key in keys]
    return table(["key", "default", "what it does"], rows) + "\n" if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join([_row(columns), "|---" * len(columns) + "|", *map(_row, rows)])


def json_schema(settings_class: type[TrainingSettings]) -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of an object of overrides: any of the keys, no other.

    A key has its ``default`` and ``description``, its unit as ``x-unit`` and its source as ``x-source``. Keys that do
    not fit together are not described.
    """
    schema = settings_class.model_json_schema()
    for key, about in schema["properties"].items():
        about.pop("title", None)
        about["description"] = meaning(settings_class, key)
    schema["description"] = f"Overrides of {settings_class.__name__}."
    return {"$schema": DRAFT, **_without_needless_fractions(schema)}


def meaning(settings_class: type[TrainingSettings], key: str) -> str:
    """What a key does, on one line."""
    told = [" ".join(inspect.cleandoc(settings_class.model_fields[key].description or "").split())]
    off = settings_class.SWITCHED_OFF.get(key, {})
    if off:
        told.append(
            "false also sets " + ", ".join(f"`{other}` to {_code(value)}" for other, value in off.items()) + "."
        )
    return " ".join(told)


def _sections(settings_class: type[TrainingSettings]) -> dict[Section, list[str]]:
    """The keys of every section; sections in the order in which their first key is declared."""
    found: dict[Section, list[str]] = {}
    for key in settings_class.model_fields:
        found.setdefault(rule_of(settings_class, key).section, []).append(key)
    return found


def _cells(settings_class: type[TrainingSettings], key: str, presets: list[str]) -> Iterator[str]:
    yield _code(settings_class.model_fields[key].default)
    for preset in presets:
        values = {"preset": preset, **settings_class.PRESETS[preset]}
        yield _code(values[key]) if key in values else ""
    yield f"{meaning(settings_class, key)}<br>{' '.join(_details(settings_class, key, presets))}"


def _details(settings_class: type[TrainingSettings], key: str, presets: list[str]) -> Iterator[str]:
    rule = rule_of(settings_class, key)
    yield f"Accepts {rule.expected}."
    if rule.unit != NO_UNIT:
        yield f"Unit: {rule.unit}."
    if rule.source:
        yield f"Source: {rule.source}."
    for preset in presets:
        source = settings_class.PRESET_SOURCES.get(preset, {}).get(key)
        if source:
            yield f"Source of `{preset}`: {source}."


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def _without_needless_fractions(schema: Any) -> Any:
    """1 for 1.0, so that every version of pydantic writes the same text."""
    if isinstance(schema, dict):
        return {key: _without_needless_fractions(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_without_needless_fractions(value) for value in schema]
    return int(schema) if isinstance(schema, float) and schema.is_integer() else schema
