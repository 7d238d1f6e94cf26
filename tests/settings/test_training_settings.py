"""The keys that every training has, and that a method of its own file adds to them."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError, model_validator

from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.settings.rules import number, rule_of
from nnunetv2_mlbseg.settings.training import Presets, TrainingSettings, one_of_presets
from noise_synthesis.safe_io.errors import InputError


class EntropySettings(TrainingSettings):
    """A method with one key, a preset and a check of two keys together."""

    PRESETS: ClassVar[Presets] = {"default": {}, "short": {"epochs": 2, "entropy_weight": 0.5}}
    preset: str = one_of_presets(PRESETS)
    entropy_weight: float = number(0.1, least=0, source="a paper")
    """Factor of the entropy of predictions for unlabeled images."""

    @model_validator(mode="after")
    def _entropy_needs_bootstrapping(self) -> EntropySettings:
        if self.entropy_weight > 0 and self.epochs == 0:
            raise InputError("entropy_weight is above 0 with epochs 0")
        return self


def test_without_overrides_the_defaults_apply():
    assert resolve(TrainingSettings) == TrainingSettings()


def test_another_method_has_the_shared_keys_and_its_own():
    settings = resolve(EntropySettings, {"entropy_weight": 1, "momentum": 0.9})
    assert (settings.entropy_weight, settings.momentum, settings.epochs) == (1, 0.9, 800)
    assert list(settings.as_dict()) == [*TrainingSettings.model_fields, "entropy_weight"]


def test_another_method_has_presets_of_its_own():
    settings = resolve(EntropySettings, {"entropy_weight": 0}, '{"preset": "short"}')
    assert (settings.preset, settings.epochs, settings.entropy_weight) == ("short", 2, 0)
    with pytest.raises(InputError, match='preset is "paper", expected one of default, short'):
        resolve(EntropySettings, {"preset": "paper"})
    with pytest.raises(InputError, match=r'preset is "short", expected one of default$'):
        resolve(TrainingSettings, {"preset": "short"})


def test_a_wrong_key_of_another_method_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown configuration key 'entropy_wight'; did you mean 'entropy_weight'\?"):
        resolve(EntropySettings, {"entropy_wight": 1})
    with pytest.raises(InputError, match="entropy_weight is -1, expected a number, 0 or more"):
        resolve(EntropySettings, {"entropy_weight": -1})
    with pytest.raises(InputError, match="unknown configuration key 'entropy_weight'"):
        resolve(TrainingSettings, {"entropy_weight": 1})


def test_checks_of_a_method_join_the_shared_ones():
    with pytest.raises(InputError, match=r"^entropy_weight is above 0 with epochs 0$"):
        resolve(EntropySettings, {"epochs": 0})
    with pytest.raises(InputError, match="both 0"):
        resolve(EntropySettings, {"epochs": 0, "warmup_epochs": 0})


@pytest.mark.parametrize("settings_class", [TrainingSettings, EntropySettings])
def test_keys_that_contradict_each_other_are_errors(settings_class):
    with pytest.raises(InputError, match="both 0, expected at least one epoch of training"):
        resolve(settings_class, {"epochs": 0, "warmup_epochs": 0})
    with pytest.raises(InputError, match="momentum is 0 with nesterov true"):
        resolve(settings_class, {"momentum": 0})
    assert resolve(settings_class, {"momentum": 0, "nesterov": False}).momentum == 0
    with pytest.raises(ValidationError, match="momentum is 0 with nesterov true"):
        settings_class(momentum=0)


def test_every_shared_key_has_a_meaning_a_unit_and_a_section():
    for key, field in TrainingSettings.model_fields.items():
        rule = rule_of(TrainingSettings, key)
        assert field.description and field.description.endswith("."), key
        assert rule.unit and rule.section.title and rule.section.about, key


def test_numbers_that_are_not_our_own_have_a_source():
    schedule = {"warmup_epochs", "epochs", "iterations_per_epoch"}
    optimiser = {"initial_lr", "momentum", "nesterov", "weight_decay", "lr_decay_exponent"}
    for key in schedule | optimiser | {"ema_decay", "seed"}:
        assert rule_of(TrainingSettings, key).source, key
