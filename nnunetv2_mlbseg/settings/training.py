"""The keys that every training has, whatever its method.

A method adds its own keys in a class of its own file, ``class MySettings(TrainingSettings)``. Users see one flat set of
keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from nnunetv2_mlbseg.settings.rules import (
    Section,
    Settings,
    automatic_flag,
    flag,
    number,
    one_of,
    optional_expression,
    optional_whole,
    texts,
    whole,
)
from noise_synthesis.safe_io.errors import InputError

Presets = Mapping[str, Mapping[str, Any]]
"""Name -> the values in which a preset differs from the defaults."""

NNUNET = "nnU-Net (Isensee et al. 2021)"
LENGTH = "nnU-Net's length, 1,000 epochs of 250 iterations (Isensee et al. 2021)"
IMAGES: dict[str, Any] = {
    "unit": "images",
    "section": Section(
        "Batches",
        "How many images a step takes. An image is a patch of a slice, or in 3D of a case. An imperfect label is a "
        "noisy or generated one.",
    ),
}

START = Section("Preset", "A preset is a set of values that all other keys start from.")
SCHEDULE = Section(
    "Schedule",
    "How long a network trains. An epoch is a fixed number of iterations, which are steps of the optimiser. The "
    "warm-up needs clean cases only: those with an expert's label.",
)
OPTIMISER = Section("Optimiser", "Stochastic gradient descent (SGD) with a learning rate that falls over the epochs.")
TEACHER = Section(
    "Teacher",
    "The teacher is a second network whose weights are a moving average of the trained network's weights. The trained "
    "network is the student.",
)
DATA = Section("Data and repeatability", "Checks of the cases, and what a training does beside its steps.")
NETWORKS = ("student", "teacher")


def one_of_presets(presets: Presets) -> Any:
    """The key ``preset`` of a class with these presets."""
    return one_of("default", names=presets, section=START)


class TrainingSettings(Settings):
    """Every number of a training, resolved. Functions receive plain values from it, never the object.

    ``None`` means "derive it from the plans or the data", as the key's text says.
    """

    PRESETS: ClassVar[Presets] = {"default": {}}
    """A class that has others also declares ``preset`` again: ``preset: str = one_of_presets(PRESETS)``."""

    PRESET_SOURCES: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Preset -> key -> where the preset's value is from."""

    IN_3D: ClassVar[Mapping[str, Any]] = {}
    """The defaults, under any preset, in which a 3D configuration differs."""

    SWITCHED_OFF: ClassVar[Presets] = {}
    """A key that is true or false -> the values that false gives to keys that only make sense with true."""

    preset: str = one_of_presets(PRESETS)
    """Name of the preset that the training starts from."""

    warmup_epochs: int = whole(200, least=0, unit="epochs", section=SCHEDULE, source=LENGTH)
    """Length of the warm-up, which reads the labels of clean cases alone where no setting says otherwise."""
    epochs: int = whole(800, least=0, unit="epochs", section=SCHEDULE, source=LENGTH)
    """Length of what follows the warm-up. 0: the training ends after the warm-up."""
    iterations_per_epoch: int | None = optional_whole(250, least=1, unit="iterations", section=SCHEDULE, source=LENGTH)
    """Iterations in an epoch. null: one pass over the slices of the cases that train at that time.

    In 3D a pass draws as many patches as fill the cases: the size of each divided by that of a patch, rounded up.
    """
    val_iterations_per_epoch: int = whole(50, least=1, unit="iterations", section=SCHEDULE, source=NNUNET)
    """Batches of nnU-Net's online validation after each epoch."""
    save_every: int = whole(1, least=1, unit="epochs", section=SCHEDULE)
    """Epochs between two writes of `checkpoint_latest.pth`, from which `--c` continues."""

    initial_lr: float = number(1e-2, least=0, most=10, open_ends=True, section=OPTIMISER, source=NNUNET)
    """Learning rate at the start."""
    momentum: float = number(0.99, least=0, most=0.9999, section=OPTIMISER, source=NNUNET)
    """Share of the former steps that goes into the next one."""
    nesterov: bool = flag(True, section=OPTIMISER, source=NNUNET)
    """Nesterov's kind of momentum. Needs a `momentum` above 0."""
    weight_decay: float = number(3e-5, least=0, section=OPTIMISER, source=NNUNET)
    """How strongly weights are pulled towards 0."""
    lr_decay_exponent: float = number(0.9, least=0, most=10, section=OPTIMISER, source=NNUNET)
    """Exponent of the polynomial by which the learning rate falls over all epochs. 0: it stays constant."""
    gradient_clip: float = number(12.0, least=0, most=1e6, open_ends=True, section=OPTIMISER, source=NNUNET)
    """Largest norm of the gradient where a method's terms train. nnU-Net's own steps keep 12."""
    deep_supervision: bool = flag(True, section=OPTIMISER, source=NNUNET)
    """Losses at several resolutions of the network's output, not at the finest one alone."""

    warmup_batch_size: int | None = optional_whole(None, least=1, **IMAGES)
    """Images in a step of the warm-up, or of plain training. null: the plan's batch size."""
    clean_batch_size: int | None = optional_whole(None, least=1, **IMAGES)
    """Clean images in a step after the warm-up. null: the plan's batch size."""
    imperfect_batch_size: int | None = optional_whole(None, least=1, **IMAGES)
    """Images with an imperfect label in a step after the warm-up. null: from the plan's batch size.

    It is divided by how often a step shows every image, so that a step needs about the memory of a stock step; one for
    every process at least.
    """

    ema_decay: float = number(
        0.999,
        least=0,
        most=0.999999,
        section=TEACHER,
        source="Tarvainen and Valpola 2017, after their ramp-up; averages over about 4 epochs of nnU-Net",
    )
    """Share of the teacher's weights that remains after a step; the rest is the student's."""
    inference_network: str = one_of("teacher", names=NETWORKS, section=TEACHER)
    """The network that `checkpoint_final.pth` predicts with."""

    verify_data: bool = flag(True, section=DATA)
    """Read every preprocessed case once before the first epoch."""
    patient_regex: str | None = optional_expression(None, section=DATA)
    """Its first group in a case's name is the patient. null: the pattern that was noted in the dataset.

    `mlbseg split` and `mlbseg convert nnunet` note it.
    """
    allow_leakage: tuple[str, ...] = texts((), what="case names", section=DATA)
    """Validation and test cases that may also train, or share image or patient with a training case."""
    seed: int | None = optional_whole(None, least=0, most=2**32 - 1, section=DATA, source="nnU-Net does not seed")
    """Start of all random numbers. null: not seeded, so that every training is another one."""

    cpu_bfloat16: Literal["auto"] | bool = automatic_flag(False, section=DATA)
    """Train on the CPU in bfloat16, which is coarser than float32, and faster on processors with instructions for it.

    `auto`: where the processor has them and a short measurement at the start finds it faster. Derivatives for
    pixel weights and validation stay in float32. A training with `auto` may not repeat bit for bit.
    """

    @model_validator(mode="after")
    def _trains_at_all(self) -> TrainingSettings:
        if self.warmup_epochs + self.epochs == 0:
            raise InputError("warmup_epochs and epochs are both 0, expected at least one epoch of training")
        return self

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> TrainingSettings:
        if self.nesterov and self.momentum == 0:
            raise InputError("momentum is 0 with nesterov true, expected a momentum above 0 or nesterov false")
        return self
