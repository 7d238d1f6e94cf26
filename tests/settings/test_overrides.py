"""Where keys are overridden: precedence, and the lines that a wrong key, value or place gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from conftest import REPOSITORY

from nnunetv2_mlbseg.settings.overrides import check_overrides, environment_value, read_environment, resolve
from nnunetv2_mlbseg.settings.rules import flag, number
from nnunetv2_mlbseg.settings.training import Presets, TrainingSettings, one_of_presets
from noise_synthesis.safe_io.errors import InputError


class Example(TrainingSettings):
    """A preset and a switch beside the shared keys."""

    PRESETS: ClassVar[Presets] = {"default": {}, "short": {"warmup_epochs": 30, "epochs": 100}}
    IN_3D: ClassVar[Mapping[str, Any]] = {"epochs": 8}
    SWITCHED_OFF: ClassVar[Presets] = {"extra": {"extra_weight": 0.0, "inference_network": "student"}}
    preset: str = one_of_presets(PRESETS)
    extra: bool = flag(True)
    extra_weight: float = number(1.0, least=0)


def test_environment_beats_plans_and_a_variant_beats_both():
    settings = resolve(
        Example, {"epochs": 1, "warmup_epochs": 1, "seed": 1}, '{"epochs": 2, "warmup_epochs": 2}', {"epochs": 3}
    )
    assert (settings.epochs, settings.warmup_epochs, settings.seed) == (3, 2, 1)


def test_a_preset_chosen_in_the_environment_does_not_undo_keys_of_the_plans():
    settings = resolve(Example, {"epochs": 7}, '{"preset": "short"}')
    assert (settings.preset, settings.epochs, settings.warmup_epochs) == ("short", 7, 30)


def test_what_differs_in_3d_beats_the_preset_and_nothing_else():
    assert resolve(Example, {"preset": "short"}, dims=3).epochs == 8
    assert resolve(Example, {"preset": "short"}, dims=2).epochs == 100
    assert resolve(Example, {"epochs": 6}, dims=3).epochs == 6
    assert resolve(Example, None, None, None, {"epochs": 5}, dims=3).epochs == 5


def test_the_last_preset_that_was_named_counts():
    assert resolve(Example, {"preset": "short"}, '{"preset": "default"}').epochs == 800
    assert resolve(Example, {"preset": "default"}, None, {"preset": "short"}).epochs == 100


def test_a_default_of_a_variant_beats_the_preset_and_nothing_else():
    defaults = {"epochs": 5}
    assert resolve(Example, {"preset": "short"}, None, None, defaults).epochs == 5
    assert resolve(Example, {"epochs": 6}, None, None, defaults).epochs == 6
    assert resolve(Example, None, '{"epochs": 7}', None, defaults).epochs == 7


def test_a_switch_that_is_off_wins_over_what_depends_on_it():
    settings = resolve(Example, {"extra": False, "extra_weight": 2}, '{"inference_network": "teacher"}')
    assert (settings.extra_weight, settings.inference_network) == (0.0, "student")
    settings = resolve(Example, {"extra": True, "extra_weight": 2})
    assert (settings.extra_weight, settings.inference_network) == (2, "teacher")


@pytest.mark.parametrize("overrides", [{}, {"preset": "short", "epochs": 3}, {"extra": False}, {"initial_lr": 1}])
def test_what_a_checkpoint_stores_gives_the_same_settings_again(overrides):
    settings = resolve(Example, overrides)
    stored = settings.as_dict()
    assert resolve(Example, None, json.dumps(stored)) == settings == Example(**stored)
    assert resolve(Example, None, json.dumps(stored)).as_dict() == stored


def test_environment_may_name_a_file(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"allow_leakage": ["a"], "epochs": 4}))
    settings = resolve(Example, None, str(path))
    assert (settings.allow_leakage, settings.epochs) == (("a",), 4)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_environment_overrides_nothing(value):
    assert read_environment(value) == {}


def test_the_environment_variable_has_its_name(monkeypatch):
    monkeypatch.setenv("MLBSEG_CONFIG", "{}")
    assert environment_value() == "{}"
    monkeypatch.delenv("MLBSEG_CONFIG")
    assert environment_value() is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "MLBSEG_CONFIG: not valid JSON"),
        ("/nowhere/at/all.json", "/nowhere/at/all.json: no such file"),
        ('{"epochs": "many"}', "the environment variable MLBSEG_CONFIG: epochs is"),
        ('{"epochs": 1, "epochs": 2}', "MLBSEG_CONFIG: the key 'epochs' occurs twice"),
        ('{"initial_lr": 1e999}', "initial_lr is Infinity, expected a number between 0 and 10"),
    ],
)
def test_bad_environment_is_one_clear_line(value, words):
    with pytest.raises(InputError, match=words):
        resolve(Example, None, value)


def test_environment_file_must_hold_an_object(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(InputError, match="got a JSON list, expected an object"):
        resolve(Example, None, str(path))


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (({"epoch": 1},), "the key 'mlbseg' in the plans file"),
        ((None, '{"epoch": 1}'), "the environment variable MLBSEG_CONFIG"),
        ((None, None, {"epoch": 1}), "the trainer variant"),
        ((None, None, None, {"epoch": 1}), "the trainer variant"),
    ],
)
def test_the_place_of_a_wrong_key_is_named(arguments, where):
    with pytest.raises(InputError) as caught:
        resolve(Example, *arguments)
    assert str(caught.value) == f"{where}: unknown configuration key 'epoch'; did you mean 'epochs'?"


def test_the_first_mistake_is_named():
    with pytest.raises(InputError, match="epochs is -1"):
        check_overrides(Example, "here", {"seed": 1, "epochs": -1, "epoch": 1, "momentum": 2})
    with pytest.raises(InputError, match="'epoch'"):
        check_overrides(Example, "here", {"epoch": 1, "epochs": -1})
    with pytest.raises(InputError, match="unknown configuration key '5'; known keys: "):
        check_overrides(Example, "here", {5: 1})


def test_keys_of_one_place_are_not_held_against_defaults():
    """Momentum 0 does not fit the default of nesterov, which another place may change."""
    check_overrides(Example, "here", {"momentum": 0})
    assert resolve(Example, {"momentum": 0}, '{"nesterov": false}').momentum == 0


def test_overrides_are_an_object():
    with pytest.raises(InputError, match="here: got list, expected an object of configuration keys"):
        check_overrides(Example, "here", [1])


def test_a_preset_with_a_bad_value_names_its_key():
    class Wrong(TrainingSettings):
        PRESETS: ClassVar[Presets] = {"default": {"epochs": -1}}

    with pytest.raises(InputError, match=r"^epochs: "):
        resolve(Wrong)


def test_settings_are_read_without_torch_and_without_the_rest_of_the_package():
    code = (
        "import sys, nnunetv2_mlbseg.settings.overrides, nnunetv2_mlbseg.settings.reference\n"
        "print([name for name in sys.modules if name in ('torch', 'nnunetv2', 'numpy')\n"
        "       or name.startswith('nnunetv2_mlbseg.') and not name.startswith('nnunetv2_mlbseg.settings')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert ran.stdout.strip() in ("[]", "['nnunetv2_mlbseg.extension_path']")  # the latter by the installed .pth
