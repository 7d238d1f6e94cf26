"""Everything of nnU-Net that we build on, one test each. A failure says what a new release of nnU-Net has changed.

docs/explanation/reliability.md has the list in words.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2 import paths
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.run.run_training import maybe_load_checkpoint, run_training, run_training_entry
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import (
    comp_blosc2_params,
    infer_dataset_class,
    nnUNetBaseDataset,
    nnUNetDatasetBlosc2,
)
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.robust_ce_loss import RobustCrossEntropyLoss
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from training_support import STOCK_FIELDS

from nnunetv2_mlbseg.cli.doctor import versions
from nnunetv2_mlbseg.runtime.errors import UnsupportedError
from nnunetv2_mlbseg.runtime.nnunet_version import IGNORE_VARIABLE, check_version

# What the trainer overrides or calls: parameters after self, in order.
METHODS = {
    "__init__": ["plans", "configuration", "fold", "dataset_json", "device"],
    "initialize": [],
    "configure_optimizers": [],
    "do_split": [],
    "get_dataloaders": [],
    "on_train_start": [],
    "on_epoch_start": [],
    "on_train_epoch_start": [],
    "train_step": ["batch"],
    "on_train_epoch_end": ["train_outputs"],
    "on_validation_epoch_start": [],
    "validation_step": ["batch"],
    "on_validation_epoch_end": ["val_outputs"],
    "on_epoch_end": [],
    "on_train_end": [],
    "run_training": [],
    "perform_actual_validation": ["save_probabilities"],
    "save_checkpoint": ["filename"],
    "load_checkpoint": ["filename_or_checkpoint"],
    "set_deep_supervision_enabled": ["enabled"],
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size": [],
    "_get_deep_supervision_scales": [],
}
LOOP = [
    "on_train_start",
    "on_epoch_start",
    "on_train_epoch_start",
    "train_step",
    "on_train_epoch_end",
    "on_validation_epoch_start",
    "validation_step",
    "on_validation_epoch_end",
    "on_epoch_end",
    "on_train_end",
]
SIGNATURES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "nnUNetDataLoader": (
        nnUNetDataLoader,
        [
            *("data", "batch_size", "patch_size", "final_patch_size", "label_manager", "oversample_foreground_percent"),
            *("sampling_probabilities", "pad_sides", "probabilistic_oversampling", "transforms"),
        ],
    ),
    "PolyLRScheduler": (PolyLRScheduler, ["optimizer", "initial_lr", "max_steps", "exponent"]),
    "comp_blosc2_params": (comp_blosc2_params, ["image_size", "patch_size", "bytes_per_pixel"]),
    "export_prediction_from_logits": (
        export_prediction_from_logits,
        [
            *("predicted_array_or_file", "properties_dict", "configuration_manager", "plans_manager"),
            *("dataset_json_dict_or_file", "output_file_truncated"),
        ],
    ),
    "nnUNetPredictor.manual_initialization": (
        nnUNetPredictor.manual_initialization,
        [
            *("self", "network", "plans_manager", "configuration_manager", "parameters", "dataset_json"),
            *("trainer_name", "inference_allowed_mirroring_axes"),
        ],
    ),
    "nnUNetPredictor.predict_sliding_window_return_logits": (
        nnUNetPredictor.predict_sliding_window_return_logits,
        ["self", "input_image"],
    ),
    "DefaultPreprocessor._sample_foreground_locations": (
        DefaultPreprocessor._sample_foreground_locations,
        ["seg", "classes_or_regions"],
    ),
    "determine_reader_writer_from_dataset_json": (
        determine_reader_writer_from_dataset_json,
        ["dataset_json_content", "example_file"],
    ),
    "verify_dataset_integrity": (verify_dataset_integrity, ["folder", "num_processes"]),
    "get_filenames_of_train_images_and_targets": (
        get_filenames_of_train_images_and_targets,
        ["raw_dataset_folder", "dataset_json"],
    ),
    "MetaLogger": (MetaLogger, ["output_folder", "resume"]),
    "infer_dataset_class": (infer_dataset_class, ["folder"]),
}


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _source(function: Callable[..., Any]) -> str:
    return textwrap.dedent(inspect.getsource(function))


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_the_trainer(name):
    method = getattr(nnUNetTrainer, name, None)
    assert method is not None, f"nnUNetTrainer.{name} is gone; nnUNetTrainerMLBSeg overrides or calls it"
    found = [parameter for parameter in _parameters(method) if parameter != "self"]
    assert found == METHODS[name], f"nnUNetTrainer.{name} takes {found}; nnUNetTrainerMLBSeg expects {METHODS[name]}"


def test_the_training_loop_calls_our_hooks_in_this_order():
    calls = re.findall(r"self\.(\w+)\(", _source(nnUNetTrainer.run_training))
    assert calls == LOOP, f"nnUNetTrainer.run_training calls {calls}; resume and SIGTERM rely on {LOOP}"
    loop = _source(nnUNetTrainer.run_training)
    assert "range(self.current_epoch, self.num_epochs)" in loop, "run_training no longer starts at current_epoch"
    assert "range(self.num_iterations_per_epoch)" in loop, (
        "run_training no longer reads num_iterations_per_epoch in every epoch; a continued epoch sets it"
    )
    assert "self.train_step(next(self.dataloader_train))" in loop, (
        "run_training draws batches in another way; random state is saved between train_step and the next draw"
    )


@pytest.mark.parametrize("name", SIGNATURES)
def test_functions_we_call(name):
    function, expected = SIGNATURES[name]
    found = _parameters(function)
    missing = [parameter for parameter in expected if parameter not in found]
    assert not missing, f"{name} no longer takes {missing}; it takes {found}"
    assert [parameter for parameter in found if parameter in expected] == expected, f"{name}: order changed to {found}"


def test_transforms_are_built_by_static_methods_with_these_arguments():
    for name, expected in (
        (
            "get_training_transforms",
            [
                *("patch_size", "rotation_for_DA", "deep_supervision_scales", "mirror_axes", "do_dummy_2d_data_aug"),
                *("use_mask_for_norm", "foreground_labels", "ignore_label"),
            ],
        ),
        ("get_validation_transforms", ["deep_supervision_scales", "ignore_label"]),
    ):
        found = _parameters(getattr(nnUNetTrainer, name))
        assert set(expected) <= set(found), f"nnUNetTrainer.{name} takes {found}; the loaders give {expected}"
    assert hasattr(GaussianBlurTransform(blur_sigma=1.0), "benchmark"), (
        "GaussianBlurTransform.benchmark is gone; with a seed it is switched off so that results repeat"
    )


def test_checkpoints_have_these_fields():
    tree = ast.parse(_source(nnUNetTrainer.save_checkpoint))
    dictionary = next(node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    found = {key.value for key in dictionary.keys if isinstance(key, ast.Constant)}
    assert found == STOCK_FIELDS, (
        f"nnUNetTrainer.save_checkpoint writes {sorted(found)}; checkpoint.collect writes {sorted(STOCK_FIELDS)}"
    )


def test_continuing_looks_for_these_files_in_this_order():
    found = re.findall(r"checkpoint_\w+\.pth", _source(maybe_load_checkpoint))
    assert found[:3] == ["checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"], (
        f"--c looks for {found}; checkpoint.NAMES and the file written on SIGTERM follow final, latest, best"
    )
    assert "nnunet_trainer.run_training()" in _source(run_training), "nnUNetv2_train no longer calls run_training"
    assert "set_num_threads" in _source(run_training_entry), "nnUNetv2_train no longer sets torch's threads on the CPU"


def test_external_trainers_are_found_through_the_variable():
    assert "nnUNet_extTrainer" in _source(recursive_find_trainer_class_by_name), (
        "recursive_find_trainer_class_by_name no longer reads nnUNet_extTrainer; our .pth file sets it"
    )
    for path in (paths.nnUNet_raw, paths.nnUNet_preprocessed, paths.nnUNet_results):
        assert callable(getattr(path, "is_set", None)), "nnunetv2.paths has no is_set() any more"


def test_the_logger_hands_out_its_lists_and_averages_the_dice(tmp_path):
    logger = MetaLogger(str(tmp_path), False)
    for epoch, dice in enumerate((0.5, 1.0)):
        logger.log("mean_fg_dice", dice, epoch)
    series = logger.get_value("ema_fg_dice", step=None)
    assert series == [0.5, 0.55], "the running mean of the pseudo Dice is computed in another way"
    series[-1] = 0.25
    assert logger.get_value("ema_fg_dice", step=-1) == 0.25, (
        "MetaLogger.get_value(step=None) returns a copy; an undefined Dice is replaced in the list itself"
    )
    state = logger.get_checkpoint()
    assert isinstance(state, dict) and all(isinstance(values, list) for values in state.values()), (
        "the logger's checkpoint is no dictionary of lists any more; a continued epoch cuts them to its number"
    )


def test_datasets_load_four_things_and_name_their_files(tmp_path):
    data, label = np.zeros((1, 2, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.int16)
    nnUNetDatasetBlosc2.save_case(data, label, {"x": 1}, str(tmp_path / "a"), chunks=None, blocks=None)
    loaded = nnUNetDatasetBlosc2(str(tmp_path), ["a"]).load_case("a")
    assert len(loaded) == 4 and loaded[2] is None and loaded[3] == {"x": 1}, (
        "load_case no longer returns image, label, previous stage, properties"
    )
    assert nnUNetDatasetBlosc2.get_identifiers(str(tmp_path)) == ["a"], "get_identifiers lists other names"
    assert {"load_case", "save_case", "get_identifiers"} <= nnUNetBaseDataset.__abstractmethods__, (
        "nnUNetBaseDataset demands other methods of RelabelledDataset"
    )


def test_labels_and_losses():
    for name in ("foreground_labels", "all_labels", "has_ignore_label", "ignore_label", "has_regions"):
        assert hasattr(LabelManager, name), f"LabelManager.{name} is gone"
    assert hasattr(LabelManager, "convert_logits_to_segmentation"), "convert_logits_to_segmentation is gone"
    wrapper = DeepSupervisionWrapper(torch.nn.MSELoss(), (0.75, 0.25))
    assert tuple(wrapper.weight_factors) == (0.75, 0.25), "DeepSupervisionWrapper.weight_factors is gone or different"
    target = torch.tensor([[[[0.0, 1.0]]]])
    assert torch.isfinite(RobustCrossEntropyLoss()(torch.zeros(1, 2, 1, 2), target)), (
        "RobustCrossEntropyLoss no longer takes targets (B, 1, *S) of floats"
    )


def test_workers_end_with_an_error_and_can_be_closed(monkeypatch):
    augmenter = NonDetMultiThreadedAugmenter.__next__
    assert "RuntimeError" in inspect.getsource(NonDetMultiThreadedAugmenter), (
        "a loader whose workers died raises something else than RuntimeError; run_training catches that on SIGTERM"
    )
    assert augmenter is not None and hasattr(NonDetMultiThreadedAugmenter, "_finish"), (
        "NonDetMultiThreadedAugmenter._finish is gone; loaders.close calls it"
    )
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    assert get_allowed_n_proc_DA() == 0, "nnUNet_n_proc_DA=0 no longer means augmentation in the training process"


def test_the_decoder_switches_deep_supervision():
    decoder = SimpleNamespace(deep_supervision=True)
    trainer = SimpleNamespace(is_ddp=False, network=SimpleNamespace(decoder=decoder))
    nnUNetTrainer.set_deep_supervision_enabled(trainer, False)  # type: ignore[arg-type]
    assert decoder.deep_supervision is False, "deep supervision is switched elsewhere than at network.decoder"


@pytest.mark.parametrize("version", ["2.8.1", "2.8.7", "2.8.2rc1"])
def test_tested_versions_are_accepted(version):
    check_version(version)


def test_the_installed_version_is_accepted():
    check_version()
    assert all(finding.remedy is None for finding in versions() if "nnunetv2 " in finding.text)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2.7.0", "nnU-Net 2.7.0 is too old"),
        ("2.9", "newer than what"),
        ("3.0.1", "newer than what"),
        ("x", "cannot be"),
    ],
)
def test_other_versions_are_named_with_a_remedy(version, words, monkeypatch):
    with pytest.raises(UnsupportedError, match=words):
        check_version(version)
    monkeypatch.setenv(IGNORE_VARIABLE, "1")
    if "newer" in words:
        check_version(version)
    else:
        with pytest.raises(UnsupportedError):
            check_version(version)
