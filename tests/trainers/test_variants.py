"""The variants: what they resolve to, that nnU-Net finds them by name, which labels train."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import nnunetv2
import pytest
import torch
from maths_support import seen
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from trainer_names import SUFFIXES, trainer_class

from nnunetv2_mlbseg import trainers
from nnunetv2_mlbseg.extension_path import PLUGIN_FOLDER
from nnunetv2_mlbseg.maths.labels import labels_that_count
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.weighting.uniform import Uniform
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.terms import bootstrap_loss
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from noise_synthesis.safe_io.errors import InputError


def config_of(suffix: str, plans=None, environment=None) -> MLBSegSettings:
    trainer = trainer_class(suffix)
    return resolve(MLBSegSettings, plans, environment, trainer.variant, trainer.variant_defaults)


@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_nnunet_finds_every_variant_by_name(suffix):
    """As ``nnUNetv2_train -tr`` and ``nnUNetv2_predict`` look trainers up, in the folder the installation registers."""
    found = recursive_find_python_class(PLUGIN_FOLDER, f"nnUNetTrainerMLBSeg{suffix}", None, base_folder=PLUGIN_FOLDER)
    assert found is (trainer_class(suffix) if suffix else nnUNetTrainerMLBSeg)
    inside = Path(nnunetv2.__file__).parent / "training" / "nnUNetTrainer"
    assert not list(inside.rglob(f"*{found.__name__}*"))  # nnU-Net's own trainers come first


def test_every_trainer_is_exported_and_listed():
    from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers

    names = [module.name for module in pkgutil.iter_modules(trainers.__path__)]
    modules = [importlib.import_module(f"{trainers.__name__}.{name}") for name in names]
    defined = {
        name
        for module in modules
        for name, found in vars(module).items()
        if name.startswith("nnUNetTrainer") and found.__module__ == module.__name__
    }
    assert defined == set(mlbseg_trainers.__all__)
    assert {name for name in defined if "MLBSeg" in name} == {f"nnUNetTrainerMLBSeg{s}" for s in ("", *SUFFIXES)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_variant_changes_the_configuration_and_nothing_else(suffix):
    own = {name for name in vars(trainer_class(suffix)) if not name.startswith("__")}
    network = {"build_network_architecture", "set_deep_supervision_enabled"} if suffix == "UNetPlusPlus" else set()
    assert own - {"variant", "variant_defaults", "card"} == network and own


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_length_batches_and_optimiser_are_those_of_the_method(suffix, preset):
    method, variant = resolve(MLBSegSettings, {"preset": preset}), config_of(suffix, {"preset": preset})
    parts = (
        {"deep_supervision"}
        if suffix == "UNetPlusPlus"
        else {
            "training_labels",
            "ple",
            "mean_teacher",
            "weighted_labels",
            "weighting",
            "weight_normalization",
            "strong_weight",
        }
    )
    parts |= {"mixture_dice_weight"} if suffix == "NLReweighting" else set()
    follow = {"consistency_weight", "teacher_weight", "pseudo_label_network", "inference_network"}
    changed = {key for key, value in method.as_dict().items() if value != variant.as_dict()[key]}
    assert changed <= parts | follow
    assert changed or suffix == "Uniform" or (suffix, preset) == ("UNetPlusPlus", "paper")


@pytest.mark.parametrize(
    ("suffix", "weighting", "views", "teacher"),
    [
        ("Bootstrap", "uniform", 0, False),
        ("Uniform", "uniform", 2, True),
        ("MLB", MLBSegSettings().weighting, 0, False),
        ("MLBMeanTeacher", MLBSegSettings().weighting, 0, True),
        ("MLBPLE", MLBSegSettings().weighting, 2, False),
        ("NLReweighting", "meta", 0, False),
    ],
)
def test_what_each_ablation_keeps(suffix, weighting, views, teacher):
    config = config_of(suffix, {"views": ["flip", "zoom_in"]})
    assert config.weighting == weighting
    assert len(config.shown_views) == views and (config.consistency_weight > 0) == (views > 0)
    assert (config.teacher_weight > 0) == teacher
    assert (config.pseudo_label_network, config.inference_network) == (
        ("teacher",) * 2 if teacher else ("student",) * 2
    )
    assert config.training_labels == "bootstrapped" and trainer_class(suffix).method_of(config) is MLBSeg


@pytest.mark.parametrize(("suffix", "labels"), [("CleanOnly", "clean"), ("AllLabels", "given"), ("NoNoise", "true")])
def test_a_baseline_takes_labels_at_face_value(suffix, labels):
    config = config_of(suffix, {"training_labels": "bootstrapped"})
    assert config.training_labels == labels and trainer_class(suffix).method_of(config) is Plain


def test_fixed_weights_take_views_and_teacher_from_the_configuration():
    config = config_of("Bootstrap", {"ple": True, "views": ["flip"]}, '{"mean_teacher": true, "weighting": "meta"}')
    assert config.shown_views == ("flip",) and config.teacher_weight == 1 and config.weighting == "uniform"
    assert config_of("MLB", {"ple": True}, '{"mean_teacher": true}').shown_views == ()


def test_a_switch_that_is_off_beats_the_keys_it_governs():
    config = resolve(MLBSegSettings, {"mean_teacher": False, "teacher_weight": 2, "inference_network": "teacher"})
    assert (config.teacher_weight, config.inference_network) == (0, "student")
    with pytest.raises(InputError, match='training_labels is "all", expected one of bootstrapped, clean, given, true'):
        resolve(MLBSegSettings, {"training_labels": "all"})
    with pytest.raises(InputError, match="the trainer variant: unknown configuration key 'plee'"):
        resolve(MLBSegSettings, variant_defaults={"plee": True})


def test_one_label_alone_is_its_own_weighted_cross_entropy():
    """With uniform weights: the mean cross-entropy towards that label; the other one adds nothing."""
    logits = torch.randn(2, 3, 6, 6)
    imperfect, pseudo = torch.randint(0, 3, (2, 2, 6, 6))
    for which, labels in (("imperfect", imperfect), ("pseudo", pseudo)):
        counted = labels_that_count(imperfect, pseudo, which)
        weighted = Uniform("accepted").weigh(seen([logits], None, *counted), NoRecord())
        loss = bootstrap_loss([logits], [each.mixture() for each in weighted], [1.0])
        assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, labels))
    assert labels_that_count(imperfect, pseudo, "both") == (imperfect, pseudo)
    with pytest.raises(ValueError, match="unknown choice of labels 'neither'"):
        labels_that_count(imperfect, pseudo, "neither")
