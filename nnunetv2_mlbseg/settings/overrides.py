"""The places where a user overrides a key.

Order of precedence, weakest first: the preset, what a 3D configuration changes in it, the key ``mlbseg`` of the
configuration in nnU-Net's plans file, the environment variable ``MLBSEG_CONFIG`` (a JSON object, or the path of a file
that holds one), what a trainer variant fixes. What a variant merely changes the default of comes before the plans file.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from nnunetv2_mlbseg.settings.rules import Settings, rule_of
from nnunetv2_mlbseg.settings.training import TrainingSettings
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import parse_json, read_json

ENVIRONMENT_VARIABLE = "MLBSEG_CONFIG"
PLANS_KEY = "mlbseg"

SettingsT = TypeVar("SettingsT", bound=TrainingSettings)


def resolve(
    settings_class: type[SettingsT],
    plans_overrides: Mapping[str, Any] | None = None,
    environment: str | None = None,
    variant: Mapping[str, Any] | None = None,
    variant_defaults: Mapping[str, Any] | None = None,
    dims: int = 2,
) -> SettingsT:
    """Merge preset, plans, environment and variant into one checked object.

    Args:
        settings_class: The class of the method, which has the keys, the presets and what switches do.
        plans_overrides: The value of the key ``mlbseg`` of the configuration in the plans file, if any.
        environment: The value of ``MLBSEG_CONFIG``, if set.
        variant: What a trainer subclass fixes.
        variant_defaults: What it changes the default of.
        dims: Of a patch: in 3D some defaults differ.

    Raises:
        InputError: an unknown key or a bad value; the line names the source, the key, the value and what is expected.
            Or keys that do not fit together.
    """
    sources = {
        f"the key '{PLANS_KEY}' in the plans file": plans_overrides or {},
        f"the environment variable {ENVIRONMENT_VARIABLE}": read_environment(environment),
        "the trainer variant": variant or {},
    }
    preset = "default"
    for where, overrides in sources.items():
        check_overrides(settings_class, where, overrides)
        preset = overrides.get("preset", preset)
    check_overrides(settings_class, "the trainer variant", variant_defaults or {})
    merged: dict[str, Any] = {"preset": preset, **settings_class.PRESETS[preset]}
    merged |= {**(settings_class.IN_3D if dims == 3 else {}), **(variant_defaults or {})}
    for overrides in sources.values():
        merged.update(overrides)
    for switch, values in settings_class.SWITCHED_OFF.items():
        if not merged.get(switch, settings_class.model_fields[switch].default):
            merged.update(values)
    try:
        return settings_class(**merged)
    except ValidationError as error:
        raise InputError(_first_line(error)) from None


def read_environment(value: str | None) -> dict[str, Any]:
    """The overrides that ``MLBSEG_CONFIG`` holds: a JSON object, or the path of a file with one."""
    if value is None or not value.strip():
        return {}
    if not value.lstrip().startswith("{"):
        overrides = read_json(Path(value).expanduser())
        where = value
    else:
        where = ENVIRONMENT_VARIABLE
        overrides = parse_json(value, where)
    if not isinstance(overrides, dict):
        raise InputError(f"{where}: got a JSON {type(overrides).__name__}, expected an object of configuration keys")
    return overrides


def environment_value() -> str | None:
    """The raw value of ``MLBSEG_CONFIG``."""
    return os.environ.get(ENVIRONMENT_VARIABLE)


def check_overrides(settings_class: type[Settings], where: str, overrides: Any) -> None:
    """Refuse an unknown key or a bad value; the line begins with ``where``."""
    if not isinstance(overrides, Mapping):
        raise InputError(f"{where}: got {type(overrides).__name__}, expected an object of configuration keys")
    known = settings_class.model_fields
    bad = _bad_keys(settings_class, {key: value for key, value in overrides.items() if key in known})
    for key, value in overrides.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "known keys: " + ", ".join(sorted(known))
            raise InputError(f"{where}: unknown configuration key '{key}'; {hint}")
        if key in bad:
            expected = rule_of(settings_class, key).expected
            raise InputError(f"{where}: {key} is {json.dumps(value, default=str)}, expected {expected}")


def _bad_keys(settings_class: type[Settings], overrides: Mapping[str, Any]) -> set[Any]:
    """Keys whose own value is wrong. Keys that do not fit together are left to `resolve`, which sees all of them."""
    try:
        settings_class.model_validate(overrides)
    except ValidationError as error:
        return {found["loc"][0] for found in error.errors() if found["loc"]}
    return set()


def _first_line(error: ValidationError) -> str:
    """What is wrong: the text of a check of several keys, or of a value that the code itself brought in."""
    found = error.errors()[0]
    reason = found.get("ctx", {}).get("error", found["msg"])
    return ": ".join([*map(str, found["loc"]), str(reason)])
