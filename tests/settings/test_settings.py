"""Configuration: precedence, presets, and the lines that a wrong key or value gives."""

from __future__ import annotations

import json

import pytest

from nnunetv2_mlbseg.settings.training import PAPER, RULES, MLBSegConfig, resolve_config
from noise_synthesis.safe_io.errors import InputError


def test_without_overrides_the_preset_default_applies():
    assert resolve_config() == MLBSegConfig()


def test_paper_preset_has_the_numbers_of_section_4_1():
    config = resolve_config({"preset": "paper"})
    assert (config.warmup_epochs, config.epochs, config.warmup_batch_size) == (30, 100, 16)
    assert (config.initial_lr, config.momentum, config.weight_decay) == (0.005, 0.9, 0.0005)
    assert config.ema_decay == 0.99
    assert sorted(config.views) == ["flip", "zoom_in", "zoom_out", "zoom_out"]
    assert (config.weight_normalization, config.clean_loss, config.pseudo_label_network) == ("sum", "ce", "student")


def test_every_default_and_every_preset_value_satisfies_its_own_rule():
    for values in (MLBSegConfig().__dict__, PAPER):
        for key, value in values.items():
            assert RULES[key][0](value), f"{key} = {value!r} breaks its own rule"


def test_environment_beats_plans_and_a_variant_beats_both():
    config = resolve_config(
        {"epochs": 1, "warmup_epochs": 1, "seed": 1}, '{"epochs": 2, "warmup_epochs": 2}', {"epochs": 3}
    )
    assert (config.epochs, config.warmup_epochs, config.seed) == (3, 2, 1)


def test_a_preset_chosen_in_the_environment_does_not_undo_keys_of_the_plans():
    config = resolve_config({"epochs": 7}, '{"preset": "paper"}')
    assert (config.preset, config.epochs, config.warmup_epochs) == ("paper", 7, 30)


def test_environment_may_name_a_file(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"views": ["flip"], "zoom_in": [1.2, 1.3]}))
    config = resolve_config(None, str(path))
    assert (config.views, config.zoom_in) == (("flip",), (1.2, 1.3))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"warmup_epoch": 1}, "unknown configuration key 'warmup_epoch'; did you mean 'warmup_epochs'?"),
        ({"zzz": 1}, "unknown configuration key 'zzz'; known keys:"),
        ({"epochs": -1}, "epochs is -1, expected a whole number, 0 or more"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a whole number"),
        ({"epochs": True}, "epochs is true, expected a whole number"),
        ({"initial_lr": 0}, "initial_lr is 0, expected a number between 0 and 10"),
        ({"initial_lr": float("nan")}, "initial_lr is NaN"),
        ({"momentum": 1}, "momentum is 1, expected a number from 0 to 0.9999"),
        ({"views": ["zoom_in", "shear"]}, 'views is ["zoom_in", "shear"], expected a list of zoom_in, zoom_out, flip'),
        ({"views": "flip"}, 'views is "flip", expected a list'),
        ({"zoom_in": [1.4, 1.1]}, "zoom_in is [1.4, 1.1], expected two numbers [low, high] between 1 and 4"),
        ({"inference_network": "both"}, 'inference_network is "both", expected one of student, teacher'),
        ({"preset": "papier"}, 'preset is "papier", expected one of default, paper'),
        ({"seed": "1"}, 'seed is "1"'),
    ],
)
def test_wrong_key_or_value_names_source_key_value_and_expectation(overrides, words):
    with pytest.raises(InputError) as caught:
        resolve_config(overrides)
    message = str(caught.value)
    assert words in message
    assert "the key 'mlbseg' in the plans file" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "MLBSEG_CONFIG: not valid JSON"),
        ("/nowhere/at/all.json", "/nowhere/at/all.json: no such file"),
        ('{"epochs": "many"}', "the environment variable MLBSEG_CONFIG: epochs is"),
    ],
)
def test_bad_environment_is_one_clear_line(value, words):
    with pytest.raises(InputError, match=words):
        resolve_config(None, value)


def test_environment_file_must_hold_an_object(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(InputError, match="got a JSON list, expected an object"):
        resolve_config(None, str(path))


def test_keys_that_contradict_each_other_are_errors():
    with pytest.raises(InputError, match="both 0"):
        resolve_config({"epochs": 0, "warmup_epochs": 0})
    with pytest.raises(InputError, match="nesterov"):
        resolve_config({"momentum": 0})


def test_as_dict_is_json():
    config = MLBSegConfig()
    assert json.loads(json.dumps(config.as_dict())) == config.as_dict()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"weight_normalization": "accepted"},
            "accepted with weighting tied.*expected joint or sum, or weighting meta",
        ),
        ({"weighted_labels": "imperfect"}, "imperfect with weighting tied.*expected both, or weighting meta"),
        ({"weighted_labels": "pseudo"}, "pseudo with weighting tied"),
    ],
)
def test_settings_that_would_make_tied_weights_uniform_are_refused(overrides, words):
    with pytest.raises(InputError, match=words):
        resolve_config(overrides)
    assert resolve_config({**overrides, "weighting": "meta"}).weighting == "meta"
