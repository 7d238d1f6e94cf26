"""The one configuration object: defaults with their sources, presets, and the places a user may override them.

Order of precedence, weakest first: the preset, the key ``mlbseg`` of the configuration in nnU-Net's plans file, the
environment variable ``MLBSEG_CONFIG`` (a JSON object, or the path of a file that holds one), what a trainer variant
fixes. What a variant merely changes the default of comes right after the preset.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.cases.training_cases import METHOD, ROLES_OF
from nnunetv2_mlbseg.maths.tangents.forward import NORMALIZATIONS
from nnunetv2_mlbseg.maths.views import VIEW_NAMES
from nnunetv2_mlbseg.maths.weighting.strategies import TIED, WEIGHTING_NAMES
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import parse_json, read_json

ENVIRONMENT_VARIABLE = "MLBSEG_CONFIG"
PLANS_KEY = "mlbseg"


@dataclass(frozen=True)
class MLBSegConfig:
    """Every number the method has, resolved. Functions receive plain values from it, never the object.

    The field defaults are the preset ``default``; :data:`PRESETS` says where ``paper`` differs. ``None`` means "derive
    it from the plans or the data", as the comment of the field says.
    """

    preset: str = "default"

    # What trains. Everything but bootstrapped is plain training: one stage of warmup_epochs + epochs epochs.
    training_labels: str = METHOD  # bootstrapped: the method; clean, given, true: those labels at face value
    ple: bool = True  # False: the image alone, without its views and their consistency (section 3.2)
    mean_teacher: bool = True  # False: no Eq. 13; the student labels images and is what checkpoints predict with
    weighted_labels: str = "both"  # imperfect: without pseudo labels (Mirikharaji et al. 2019); pseudo: those alone

    # Schedule. 1,000 epochs of 250 iterations are nnU-Net's own length (Isensee et al. 2021).
    warmup_epochs: int = 200  # on the clean cases alone
    epochs: int = 800  # bootstrapping, after the warm-up
    iterations_per_epoch: int | None = 250  # None: one pass over the slices of the stage's training cases
    val_iterations_per_epoch: int = 50
    save_every: int = 1  # epochs between two writes of checkpoint_latest.pth

    # Optimiser: SGD with Nesterov momentum and polynomial decay are nnU-Net's.
    initial_lr: float = 1e-2
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 3e-5
    lr_decay_exponent: float = 0.9  # 0: constant learning rate
    gradient_clip: float = 12.0  # largest norm of the gradient in the bootstrapping stage
    deep_supervision: bool = True

    # Batches, in images. None: from the plan's batch size, so that a step needs about the memory of a stock step.
    warmup_batch_size: int | None = None
    clean_batch_size: int | None = None
    imperfect_batch_size: int | None = None  # each image is seen len(views) + 1 times; the same without ple

    # Views (section 3.2). One zoom-in, two zoom-outs and one flip: the paper's Q = 4. The paper gives no factors;
    # these lie within the scaling augmentation of nnU-Net (0.7 to 1.4).
    views: tuple[str, ...] = ("zoom_in", "zoom_out", "zoom_out", "flip")
    zoom_in: tuple[float, float] = (1.1, 1.4)  # enlargement factors
    zoom_out: tuple[float, float] = (0.7, 0.9)  # reduction factors

    # Pixel weights (Eq. 4-8).
    # tied: learned from the clean batch, shared by pixels of one kind; meta: for every pixel by itself;
    # uniform: fixed and equal (Reed et al. 2014)
    weighting: str = "tied"
    tied_strength: float = 3.0  # what full agreement of the clean batches adds to the log-odds of a label
    tied_decay: float = 0.99  # share of the tied derivatives that remains after an iteration: about 100 iterations
    confusion_by_depth: bool = True  # tied: how labels err near their border and deep inside, told apart
    confusion_by_case: bool = True  # tied: how the label of every case errs, drawn towards all of them
    weight_normalization: str = "joint"  # sum: Eq. 8; joint: one sum for both labels; accepted: mean over w > 0
    clean_loss: str = "dice_ce"  # of the meta-objective (Eq. 5) and the supervised term; dice_ce is nnU-Net's loss
    virtual_consistency: bool = False  # True: the consistency terms take part in the virtual step
    pseudo_label_network: str = "teacher"  # which network labels images (Eq. 1, 3, 10): student or teacher

    # Loss terms (Eq. 9, 11, 13 and the supervised step of the authors' script).
    bootstrap_weight: float = 2.0  # with one sum for both labels: as much as a mean over the pixels for each of them
    mixture_dice_weight: float = 1.0  # nnU-Net's loss is Dice and cross-entropy; Eq. 9 is the latter alone
    generated_weight: float = 0.25  # of images whose label a network made, in Eq. 9: it adds no evidence of its own
    generated_ramp_up: int = 10_000  # iterations until then, 40 epochs of nnU-Net: early networks label badly
    align_shares: bool = True  # labels of unlabeled cases get the class shares of the clean ones (ReMixMatch, 2020)
    consistency_weight: float = 1.0
    teacher_weight: float = 1.0
    supervised_weight: float = 1.0

    # Mean teacher (section 3.3).
    ema_decay: float = 0.999  # Tarvainen and Valpola 2017, after their ramp-up; averages over about 4 epochs of nnU-Net
    teacher_noise: float = 0.02  # gamma of Eq. 12, in standard deviations of the normalised image

    mirror_generated: bool = True  # test-time mirroring, as in nnU-Net's inference, when labels are generated (Eq. 1)
    inference_network: str = "teacher"  # what checkpoint_final.pth holds: student or teacher
    audit: bool = (
        False  # True: `mlbseg audit` of the noisy labels at the end, in the fold's folder; needs the raw labels
    )
    verify_data: bool = True  # read every preprocessed case once before the first epoch
    patient_regex: str | None = None  # its first group in a case's name is the patient. None: noted in the dataset
    allow_leakage: tuple[str, ...] = ()  # validation and test cases that may also train, or share image or patient
    seed: int | None = None  # None: not seeded, as in nnU-Net

    @property
    def shown_views(self) -> tuple[str, ...]:
        """The Q views that a step draws: ``views``, or none without ``ple``."""
        return self.views if self.ple else ()

    @property
    def all_views(self) -> tuple[str, ...]:
        """The names of the V views in their order, the image first."""
        return ("image", *self.shown_views)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the log and the checkpoint."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


# The paper's equations and numbers; what it leaves open is taken from the authors' training script. docs/method.md
# lists what stays nnU-Net's.
PAPER: dict[str, Any] = {
    "preset": "paper",
    "warmup_epochs": 30,  # section 4.1
    "epochs": 100,  # section 4.1
    "iterations_per_epoch": None,  # an epoch is a pass over the data
    "initial_lr": 5e-3,  # section 4.1
    "momentum": 0.9,  # section 4.1
    "nesterov": False,
    "weight_decay": 5e-4,  # section 4.1
    "lr_decay_exponent": 0.0,
    "gradient_clip": 0.2,  # the authors' script
    "deep_supervision": False,
    "warmup_batch_size": 16,  # section 4.1
    "weighting": "meta",  # Eq. 4-6
    "weight_normalization": "sum",  # Eq. 8
    "bootstrap_weight": 1.0,  # Eq. 9
    "mixture_dice_weight": 0.0,  # Eq. 9
    "generated_weight": 1.0,  # Eq. 9
    "generated_ramp_up": 0,  # Eq. 9
    "align_shares": False,  # Eq. 1, 10
    "clean_loss": "ce",  # Eq. 5
    "pseudo_label_network": "student",  # Eq. 3, 10
    "ema_decay": 0.99,  # section 4.1
    "mirror_generated": False,
    "inference_network": "student",
}

PRESETS: dict[str, dict[str, Any]] = {"default": {}, "paper": PAPER}

# What a switch that is off does to the keys that only make sense with it.
WITHOUT_PLE: dict[str, Any] = {"consistency_weight": 0.0}
WITHOUT_TEACHER: dict[str, Any] = {
    "teacher_weight": 0.0,
    "pseudo_label_network": "student",
    "inference_network": "student",
}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_regex(value: Any) -> bool:
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: _is_int(value) and value >= least, f"a whole number, {least} or more"


def _optional_whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: value is None or (_is_int(value) and value >= least),
        f"a whole number, {least} or more, or null",
    )


def _number(least: float, most: float = math.inf, open_ends: bool = False) -> tuple[Callable[[Any], bool], str]:
    if open_ends:
        return lambda value: _is_number(value) and least < value < most, f"a number between {least:g} and {most:g}"
    if math.isinf(most):
        return lambda value: _is_number(value) and value >= least, f"a number, {least:g} or more"
    return lambda value: _is_number(value) and least <= value <= most, f"a number from {least:g} to {most:g}"


def _interval(least: float, most: float) -> tuple[Callable[[Any], bool], str]:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == 2
            and all(map(_is_number, value))
            and least <= value[0] <= value[1] <= most
        )

    return holds, f"two numbers [low, high] between {least:g} and {most:g}"


_BOOL = (lambda value: isinstance(value, bool), "true or false")
_VIEWS = (
    lambda value: isinstance(value, tuple) and all(isinstance(v, str) and v in VIEW_NAMES for v in value),
    "a list of " + ", ".join(VIEW_NAMES) + " (empty: no views)",
)

# What each key accepts: a predicate and the words for the error line.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "preset": _one_of(*PRESETS),
    "training_labels": _one_of(*ROLES_OF),
    "ple": _BOOL,
    "mean_teacher": _BOOL,
    "weighted_labels": _one_of("both", "imperfect", "pseudo"),
    "warmup_epochs": _whole(0),
    "epochs": _whole(0),
    "iterations_per_epoch": _optional_whole(1),
    "val_iterations_per_epoch": _whole(1),
    "save_every": _whole(1),
    "initial_lr": _number(0, 10, open_ends=True),
    "momentum": _number(0, 0.9999),
    "nesterov": _BOOL,
    "weight_decay": _number(0),
    "lr_decay_exponent": _number(0, 10),
    "gradient_clip": _number(0, 1e6, open_ends=True),
    "deep_supervision": _BOOL,
    "warmup_batch_size": _optional_whole(1),
    "clean_batch_size": _optional_whole(1),
    "imperfect_batch_size": _optional_whole(1),
    "views": _VIEWS,
    "zoom_in": _interval(1, 4),
    "zoom_out": _interval(0.25, 1),
    "weighting": _one_of(*WEIGHTING_NAMES),
    "tied_strength": _number(0),
    "tied_decay": _number(0, 0.9999),
    "confusion_by_depth": _BOOL,
    "confusion_by_case": _BOOL,
    "weight_normalization": _one_of(*NORMALIZATIONS),
    "clean_loss": _one_of("dice_ce", "ce"),
    "virtual_consistency": _BOOL,
    "pseudo_label_network": _one_of("student", "teacher"),
    "bootstrap_weight": _number(0),
    "mixture_dice_weight": _number(0),
    "generated_weight": _number(0, 1),
    "generated_ramp_up": _whole(0),
    "align_shares": _BOOL,
    "consistency_weight": _number(0),
    "teacher_weight": _number(0),
    "supervised_weight": _number(0),
    "ema_decay": _number(0, 0.999999),
    "teacher_noise": _number(0),
    "mirror_generated": _BOOL,
    "inference_network": _one_of("student", "teacher"),
    "audit": _BOOL,
    "verify_data": _BOOL,
    "patient_regex": (lambda v: v is None or _is_regex(v), "a regular expression, or null"),
    "allow_leakage": (
        lambda v: isinstance(v, tuple) and all(isinstance(case, str) for case in v),
        "a list of case names",
    ),
    "seed": (lambda v: v is None or (_is_int(v) and 0 <= v < 2**32), "a whole number from 0 to 4294967295, or null"),
}


def resolve_config(
    plans_overrides: Mapping[str, Any] | None = None,
    environment: str | None = None,
    variant: Mapping[str, Any] | None = None,
    variant_defaults: Mapping[str, Any] | None = None,
) -> MLBSegConfig:
    """Merge preset, plans, environment and variant into one checked configuration.

    Args:
        plans_overrides: The value of the key ``mlbseg`` of the configuration in the plans file, if any.
        environment: The value of ``MLBSEG_CONFIG``, if set.
        variant: What a trainer subclass fixes.
        variant_defaults: What it changes the default of.

    Raises:
        InputError: an unknown key or a bad value; the line names the source, the key, the value and what is expected.
    """
    sources = {
        f"the key '{PLANS_KEY}' in the plans file": plans_overrides or {},
        f"the environment variable {ENVIRONMENT_VARIABLE}": read_environment(environment),
        "the trainer variant": variant or {},
    }
    preset = "default"
    for where, overrides in sources.items():
        check_overrides(where, overrides)
        preset = overrides.get("preset", preset)
    check_overrides("the trainer variant", variant_defaults or {})
    merged: dict[str, Any] = {**PRESETS[preset], **(variant_defaults or {})}
    for overrides in sources.values():
        merged.update(overrides)
    if not merged.get("ple", True):
        merged.update(WITHOUT_PLE)
    if not merged.get("mean_teacher", True):
        merged.update(WITHOUT_TEACHER)
    config = MLBSegConfig(**{key: _frozen(value) for key, value in merged.items()})
    _check_together(config)
    return config


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


def check_overrides(where: str, overrides: Any) -> None:
    """Refuse an unknown key or a bad value; the line begins with ``where``."""
    if not isinstance(overrides, Mapping):
        raise InputError(f"{where}: got {type(overrides).__name__}, expected an object of configuration keys")
    for key, value in overrides.items():
        if key not in RULES:
            near = difflib.get_close_matches(str(key), RULES, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "known keys: " + ", ".join(sorted(RULES))
            raise InputError(f"{where}: unknown configuration key '{key}'; {hint}")
        accepts, expected = RULES[key]
        if not accepts(_frozen(value)):
            raise InputError(f"{where}: {key} is {json.dumps(value, default=str)}, expected {expected}")


def _check_together(config: MLBSegConfig) -> None:
    if config.warmup_epochs + config.epochs == 0:
        raise InputError("warmup_epochs and epochs are both 0, expected at least one epoch of training")
    if config.nesterov and config.momentum == 0:
        raise InputError("momentum is 0 with nesterov true, expected a momentum above 0 or nesterov false")
    if config.weighting == TIED and config.weight_normalization == "accepted":
        raise InputError(
            "weight_normalization is accepted with weighting tied, which gives every label a weight above 0, so that "
            "all would count the same; expected joint or sum, or weighting meta"
        )
    if config.weighting == TIED and config.weighted_labels != "both":
        raise InputError(
            f"weighted_labels is {config.weighted_labels} with weighting tied, which weighs one label against the "
            f"other; expected both, or weighting meta"
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


assert set(RULES) == {field.name for field in fields(MLBSegConfig)}, "every configuration key needs a rule"
