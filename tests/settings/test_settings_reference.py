"""The reference page and the JSON schema of the keys."""

from __future__ import annotations

from typing import ClassVar

import pytest

from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.settings.reference import json_schema, markdown
from nnunetv2_mlbseg.settings.rules import Section, flag, interval, number, optional_whole
from nnunetv2_mlbseg.settings.training import TEACHER, Presets, TrainingSettings, one_of_presets

SIZES = Section("Sizes", "How large things are. " * 8)


class Example(TrainingSettings):
    """Keys in a section of their own, and one in a shared section."""

    PRESETS: ClassVar[Presets] = {"default": {}, "paper": {"depth_mm": 2, "epochs": 100, "edge_mm": None}}
    PRESET_SOURCES: ClassVar = {"paper": {"depth_mm": "section 3"}}
    IN_3D: ClassVar = {"edge_mm": 5}
    SWITCHED_OFF: ClassVar[Presets] = {"thick": {"depth_mm": 0.0}}
    preset: str = one_of_presets(PRESETS)

    depth_mm: float = number(0.5, least=0, unit="mm", section=SIZES, source="a|b")
    """How deep.

    Or how shallow.
    """
    thick: bool = flag(True, section=SIZES)
    """Whether there is depth."""
    edge_mm: int | None = optional_whole(3, least=1, unit="mm", section=SIZES)
    """Length of an edge."""
    hue: tuple[float, float] = interval((0, 0.5), least=0, most=1, section=TEACHER)
    """Colours of the teacher."""


def section(page: str, title: str) -> list[str]:
    return page.split(f"## {title}\n\n")[1].split("\n\n## ")[0].splitlines()


def test_a_section_has_a_sentence_and_a_row_for_every_key():
    lines = section(markdown(Example), "Sizes")
    about = lines[: lines.index("")]
    assert len(about) > 1 and max(map(len, about)) <= 100
    assert lines[len(about) + 1 :] == [
        "| key | default | `paper` | what it does |",
        "|---|---|---|---|",
        r"| `depth_mm` | `0.5` | `2` | How deep. Or how shallow.<br>Accepts a number, 0 or more. Unit: mm. "
        r"Source: a\|b. Source of `paper`: section 3. |",
        "| `thick` | `true` |  | Whether there is depth. false also sets `depth_mm` to `0.0`.<br>"
        "Accepts true or false. |",
        "| `edge_mm` | `3` | `null` | Length of an edge.<br>In 3D: `5`. "
        "Accepts a whole number, 1 or more, or null. Unit: mm. |",
    ]


def test_sections_come_in_the_order_of_declaration_and_shared_ones_take_keys_of_the_method():
    page = markdown(Example)
    titles = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["Preset", "Schedule", "Optimiser", "Batches", "Teacher", "Data and repeatability", "Sizes"]
    hue = "Colours of the teacher.<br>Accepts two numbers [low, high] between 0 and 1."
    assert section(page, "Teacher")[-1] == f"| `hue` | `[0, 0.5]` |  | {hue} |"


@pytest.mark.parametrize("settings_class", [TrainingSettings, MLBSegSettings, Example])
def test_every_key_has_one_row_with_all_cells(settings_class):
    rows = [line for line in markdown(settings_class).splitlines() if line.startswith("| `")]
    keys = [row.split("`")[1] for row in rows]
    assert sorted(keys) == sorted(settings_class.model_fields)
    cells = 4 if len(settings_class.PRESETS) > 1 else 3
    assert {row.replace(r"\|", "").count("|") for row in rows} == {cells + 1}


def test_the_schema_describes_type_bounds_unit_and_source():
    schema = json_schema(Example)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False and "required" not in schema
    assert list(schema["properties"]) == list(Example.model_fields)
    assert schema["properties"]["depth_mm"] == {
        "default": 0.5,
        "description": "How deep. Or how shallow.",
        "minimum": 0,
        "type": "number",
        "x-source": "a|b",
        "x-unit": "mm",
    }
    assert schema["properties"]["preset"]["enum"] == ["default", "paper"]
    assert schema["properties"]["edge_mm"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "null"}]


def test_the_schema_accepts_what_the_settings_accept():
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema(MLBSegSettings))
    validator.check_schema(validator.schema)
    for overrides in ({}, MLBSegSettings().as_dict(), dict(MLBSegSettings.PRESETS["paper"])):
        assert validator.is_valid(overrides)
    wrong = [
        {"epoch": 1},
        {"epochs": -1},
        {"epochs": 1.5},
        {"epochs": True},
        {"initial_lr": 0},
        {"initial_lr": 10},
        {"views": "flip"},
        {"views": ["shear"]},
        {"zoom_in": [0.5, 2]},
        {"zoom_in": [1, 2, 3]},
        {"zoom_out": [0.1, 0.5]},
        {"weighting": "none"},
        {"seed": -1},
        {"seed": 2**32},
        {"preset": "papier"},
    ]
    assert [overrides for overrides in wrong if validator.is_valid(overrides)] == []
