"""MLB-Seg's keys: defaults, the preset of the paper, what switches do, and the lines for mistakes."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from nnunetv2_mlbseg.methods.mlbseg.paper import PAPER, SOURCES
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.stages import imperfect_draw
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.settings.rules import rule_of
from noise_synthesis.safe_io.errors import InputError


def test_without_overrides_the_preset_default_applies():
    assert resolve(MLBSegSettings) == MLBSegSettings()
    assert MLBSegSettings().preset == "default"


def test_paper_preset_has_the_numbers_of_section_4_1():
    settings = resolve(MLBSegSettings, {"preset": "paper"})
    assert (settings.warmup_epochs, settings.epochs, settings.warmup_batch_size) == (30, 100, 16)
    assert (settings.initial_lr, settings.momentum, settings.weight_decay) == (0.005, 0.9, 0.0005)
    assert settings.ema_decay == 0.99
    assert sorted(settings.views) == ["flip", "zoom_in", "zoom_out", "zoom_out"]
    assert (settings.weight_normalization, settings.clean_loss, settings.pseudo_label_network) == (
        "sum",
        "ce",
        "student",
    )
    assert settings.preset == "paper"


@pytest.mark.parametrize(
    ("values", "dims", "names", "images"),
    [
        ({}, 2, ("image", "zoom_in", "zoom_out", "zoom_out", "flip"), 2),
        ({}, 3, ("image", "drawn"), 6),
        ({"preset": "paper"}, 3, ("image", "drawn"), 6),
        ({"views_per_step": None}, 3, ("image", "zoom_in", "zoom_out", "zoom_out", "flip"), 2),
        ({"views_per_step": 3}, 2, ("image", "drawn 1", "drawn 2", "drawn 3"), 3),
        ({"views_per_step": 9, "views": ["flip"]}, 2, ("image", "flip"), 6),
        ({"views": []}, 3, ("image",), 12),
        ({"ple": False}, 3, ("image",), 6),
    ],
)
def test_a_step_shows_all_views_or_as_many_drawn_ones_as_were_asked_for(values, dims, names, images):
    """The plan's batch of twelve is divided by what a step shows of an image. In 3D one view is drawn."""
    settings = resolve(MLBSegSettings, values, dims=dims)
    assert settings.all_views == names
    assert imperfect_draw(settings, 12).images == images
    assert imperfect_draw(settings, 1).images == 1


@pytest.mark.parametrize(
    "values", [dict(MLBSegSettings()), PAPER, MLBSegSettings.IN_3D, *MLBSegSettings.SWITCHED_OFF.values()]
)
def test_every_default_and_every_preset_value_satisfies_its_own_rule(values):
    for key, value in values.items():
        try:
            MLBSegSettings.model_validate({key: value})
        except ValidationError as error:
            broken = [found for found in error.errors() if found["loc"]]  # alone it need not fit the other defaults
            assert not broken, f"{key} = {value!r} breaks its own rule"


def test_a_preset_chosen_in_the_environment_does_not_undo_keys_of_the_plans():
    settings = resolve(MLBSegSettings, {"epochs": 7}, '{"preset": "paper"}')
    assert (settings.preset, settings.epochs, settings.warmup_epochs) == ("paper", 7, 30)


def test_environment_may_name_a_file(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"views": ["flip"], "zoom_in": [1.2, 1.3]}))
    settings = resolve(MLBSegSettings, None, str(path))
    assert (settings.views, settings.zoom_in) == (("flip",), (1.2, 1.3))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"warmup_epoch": 1}, "unknown configuration key 'warmup_epoch'; did you mean 'warmup_epochs'?"),
        ({"zzz": 1}, "unknown configuration key 'zzz'; known keys: align_shares, allow_leakage, audit, "),
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
        ({"weighting": "none"}, 'weighting is "none", expected one of tied, meta, uniform'),
        ({"patient_regex": "("}, 'patient_regex is "(", expected a regular expression, or null'),
    ],
)
def test_wrong_key_or_value_names_source_key_value_and_expectation(overrides, words):
    with pytest.raises(InputError) as caught:
        resolve(MLBSegSettings, overrides)
    message = str(caught.value)
    assert words in message
    assert "the key 'mlbseg' in the plans file" in message
    assert "\n" not in message


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
        resolve(MLBSegSettings, overrides)
    assert resolve(MLBSegSettings, {**overrides, "weighting": "meta"}).weighting == "meta"


def test_checks_of_the_shared_keys_hold_here_too():
    with pytest.raises(InputError, match="both 0"):
        resolve(MLBSegSettings, {"epochs": 0, "warmup_epochs": 0})
    with pytest.raises(InputError, match="nesterov"):
        resolve(MLBSegSettings, {"momentum": 0})


def test_without_views_there_is_nothing_to_agree_and_without_teacher_the_student_serves():
    settings = resolve(MLBSegSettings, {"ple": False, "mean_teacher": False, "consistency_weight": 2})
    assert (settings.consistency_weight, settings.teacher_weight) == (0, 0)
    assert (settings.pseudo_label_network, settings.inference_network) == ("student", "student")
    settings = resolve(MLBSegSettings, {"consistency_weight": 2})
    assert (settings.consistency_weight, settings.teacher_weight, settings.inference_network) == (2, 1, "teacher")


def test_views_that_a_step_shows():
    settings = resolve(MLBSegSettings, {"views": ["flip", "zoom_in"]})
    assert settings.shown_views == ("flip", "zoom_in")
    assert settings.all_views == ("image", "flip", "zoom_in")
    without = resolve(MLBSegSettings, {"ple": False})
    assert (without.shown_views, without.all_views, len(without.views)) == ((), ("image",), 4)


@pytest.mark.parametrize("overrides", [{}, {"preset": "paper"}, {"ple": False, "views": []}, {"tied_strength": 3}])
def test_what_a_checkpoint_stores_gives_the_same_settings_again(overrides):
    settings = resolve(MLBSegSettings, overrides)
    stored = json.loads(json.dumps(settings.as_dict()))
    assert stored == settings.as_dict()
    assert resolve(MLBSegSettings, None, json.dumps(stored)) == settings


def test_every_key_has_a_meaning_and_a_unit():
    for key, field in MLBSegSettings.model_fields.items():
        assert field.description and field.description.endswith("."), key
        rule = rule_of(MLBSegSettings, key)
        assert rule.unit and rule.section.title and rule.section.about, key


def test_choices_that_were_made_elsewhere_have_a_source():
    parts = {"ple", "mean_teacher", "weighted_labels", "views", "zoom_in", "zoom_out"}
    weights = {"weighting", "weight_normalization", "clean_loss", "virtual_consistency", "pseudo_label_network"}
    weights.add("mirror_generated")
    terms = {"bootstrap_weight", "mixture_dice_weight", "generated_ramp_up", "align_shares", "consistency_weight"}
    for key in parts | weights | terms | {"teacher_weight", "supervised_weight", "ema_decay", "teacher_noise"}:
        assert rule_of(MLBSegSettings, key).source, key
    numbers = {"warmup_epochs", "epochs", "initial_lr", "momentum", "weight_decay", "warmup_batch_size", "ema_decay"}
    assert {key for key, source in SOURCES.items() if source == "section 4.1"} == numbers
