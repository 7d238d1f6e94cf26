"""The keys of MLB-Seg, beside those that every training has. Equations and sections are those of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from nnunetv2_mlbseg.cases.training_cases import METHOD, ROLES_OF
from nnunetv2_mlbseg.maths.robust_losses import ROBUST
from nnunetv2_mlbseg.maths.views import VIEW_NAMES
from nnunetv2_mlbseg.maths.weighting.normalization import NORMALIZATIONS
from nnunetv2_mlbseg.maths.weighting.strategies import WEIGHTINGS
from nnunetv2_mlbseg.methods.mlbseg.paper import PAPER, SOURCES
from nnunetv2_mlbseg.settings.rules import Section, flag, interval, list_of, number, one_of, optional_whole, whole
from nnunetv2_mlbseg.settings.training import DATA, IMAGES, NETWORKS, TEACHER, Presets, TrainingSettings, one_of_presets
from noise_synthesis.safe_io.errors import InputError

PARTS = Section(
    "Parts of the method",
    "What trains, and which parts of the method take part. The trainers for ablations and baselines set these keys.",
)
VIEWS = Section(
    "Views",
    "A view is an imperfect image that is enlarged, reduced or mirrored, along an axis that nnU-Net's augmentation "
    "mirrors. A step shows every imperfect image as it is and in all views.",
)
WEIGHTS = Section(
    "Pixel weights",
    "Every pixel of an imperfect image has two labels: the imperfect one and the pseudo label, which the networks make "
    "in the step. These keys say how much each of the two counts.",
)
TERMS = Section("Loss terms", "What the parts of the loss count, and when. 0 leaves a part out.")
OF_NNUNET = "dice_ce"
"""The name of nnU-Net's own loss."""
FACTOR: dict[str, Any] = {"unit": "factor", "section": VIEWS}
FACTOR_SOURCE = "within nnU-Net's scaling augmentation (0.7 to 1.4); the paper gives no factors"


class MLBSegSettings(TrainingSettings):
    """Every number of MLB-Seg, resolved. Functions receive plain values from it, never the object."""

    PRESETS: ClassVar[Presets] = {"default": {}, "paper": PAPER}
    PRESET_SOURCES: ClassVar[Mapping[str, Mapping[str, str]]] = {"paper": SOURCES}
    IN_3D: ClassVar[Mapping[str, Any]] = {"views_per_step": 1, "strong_weight": 0.0}
    SWITCHED_OFF: ClassVar[Presets] = {
        "ple": {"consistency_weight": 0.0},
        "mean_teacher": {"teacher_weight": 0.0, "pseudo_label_network": "student", "inference_network": "student"},
    }

    preset: str = one_of_presets(PRESETS)
    """Name of the preset that the training starts from.

    `paper`: the paper's equations and numbers; what it leaves open is from the authors' training script.
    """

    training_labels: str = one_of(METHOD, names=ROLES_OF, section=PARTS)
    """What trains. `bootstrapped`: the method. The others: plain training, which takes labels at face value.

    `clean`: the clean cases alone. `given`: clean and noisy cases. `true`: all cases, with the true labels of a study.
    Plain training is one stage of `warmup_epochs` + `epochs` epochs.
    """
    noisy_loss: str = one_of(
        OF_NNUNET,
        names=(OF_NNUNET, *ROBUST),
        section=PARTS,
        source="Zhang and Sabuncu 2018 (gce); Wang et al. 2019 (sce); Wang et al. 2020 (robust_dice)",
    )
    """Loss of plain training with `training_labels` given. `dice_ce`: nnU-Net's. Wrong labels pull the others less.

    They begin after `warmup_epochs` of nnU-Net's: from the start such a loss may never find a small structure.
    `gce`: generalised cross-entropy (q = 0.7). `sce`: symmetric cross-entropy (0.1 and 1, log 0 = -4). `robust_dice`:
    cross-entropy itself. Each is for all labels, beside noise-robust Dice (exponent 1.5) in the place of Dice.
    """
    warmup_given: float = number(0.0, least=0, most=1, unit="share of the warm-up", section=PARTS)
    """For so much of the warm-up noisy labels train as they are, beside the clean ones; then the clean cases alone do.

    0.5 is for few clean cases and labels that err little: a network that knows three scans takes right labels of others
    for wrong. 0 is for all other labels: what a network has from wrong labels it hardly unlearns.
    """
    ple: bool = flag(True, section=PARTS, source="section 3.2")
    """Views, and their consistency, take part (pseudo label enhancement). false: a step sees the image alone."""
    mean_teacher: bool = flag(True, section=PARTS, source="section 3.3, Eq. 13")
    """Consistency with the teacher takes part. false: the student labels images, and checkpoints predict with it."""
    weighted_labels: str = one_of(
        "both", names=("both", "imperfect", "pseudo"), section=PARTS, source="Mirikharaji et al. 2019 (imperfect)"
    )
    """Which of a pixel's two labels count. One alone is not possible with `weighting` tied."""

    views: tuple[str, ...] = list_of(
        ("zoom_in", "zoom_out", "zoom_out", "flip"),
        names=VIEW_NAMES,
        if_empty="no views",
        section=VIEWS,
        source="section 3.2 (Q = 4: one zoom-in, two zoom-outs and one flip)",
    )
    """The Q views beside the image itself. A step shows every image Q + 1 times.

    The default of `imperfect_batch_size` is the plan's batch size divided by Q + 1, with or without `ple`.
    """
    views_per_step: int | None = optional_whole(None, least=1, unit="views", section=VIEWS)
    """So many of the `views`, drawn anew in every step, take the place of all Q; null, or a larger number: all.

    A 3D plan's batch is two patches in most cases, so that Q + 1 of them would cost several steps of nnU-Net.
    """
    zoom_in: tuple[float, float] = interval((1.1, 1.4), least=1, most=4, source=FACTOR_SOURCE, **FACTOR)
    """Range of the enlargement f of a plane: the view shows 1/f² of the image.

    In 3D the three sides are enlarged by f to the power 2/3, so that the view shows as much; where slices are far
    apart, zooms leave the axis across them alone.
    """
    zoom_out: tuple[float, float] = interval((0.7, 0.9), least=0.25, most=1, source=FACTOR_SOURCE, **FACTOR)
    """Range of the reduction f of a plane: the image fills f² of the view, in 3D as with `zoom_in`."""

    weighting: str = one_of(
        "tied", names=WEIGHTINGS, section=WEIGHTS, source="Eq. 4-8 (meta); Reed et al. 2014 (uniform)"
    )
    """How weights are found. `tied`: learned from the clean batch, shared by pixels whose two labels differ alike.

    `meta`: learned for every pixel by itself. `uniform`: fixed and equal.
    """
    tied_strength: float = number(3.0, least=0, unit="log-odds", section=WEIGHTS)
    """With `tied`: what full agreement of the clean batches adds to the log-odds of a label."""
    tied_decay: float = number(0.99, least=0, most=0.9999, section=WEIGHTS)
    """With `tied`: share of the summed derivatives that remains after an iteration. 0.99: about 100 iterations."""
    confusion_by_depth: bool = flag(True, section=WEIGHTS)
    """With `tied`: how labels err near their border and how deep inside are told apart."""
    confusion_by_case: bool = flag(True, section=WEIGHTS)
    """With `tied`: how the label of every case errs is learned for itself, drawn towards all cases.

    It takes cases x classes² x 32 bytes of memory.
    """
    weight_normalization: str = one_of("joint", names=NORMALIZATIONS, section=WEIGHTS, source="Eq. 8 (sum)")
    """What weights are divided by. `sum`: each label's weights by their own sum. `joint`: both by one common sum.

    `accepted`: only the sign counts, a mean over pixels with a positive weight (not with `weighting` tied).
    """
    clean_loss: str = one_of(
        "dice_ce", names=("dice_ce", "ce"), section=WEIGHTS, source="nnU-Net's loss (dice_ce); Eq. 5 (ce)"
    )
    """Loss of the clean batch: what weights are learned from, and the supervised term."""
    virtual_consistency: bool = flag(False, section=WEIGHTS, source="the authors' script (true)")
    """The consistency terms take part in the virtual step that weights are learned from."""

    bootstrap_weight: float = number(2.0, least=0, section=TERMS, source="Eq. 9")
    """Factor of the weighted cross-entropy. 2 with `weight_normalization` joint: a mean over pixels for each label."""
    mixture_dice_weight: float = number(1.0, least=0, section=TERMS, source="nnU-Net's loss is Dice and cross-entropy")
    """Factor of the soft Dice towards the mixture of both labels, over images with given labels."""
    generated_weight: float = number(0.25, least=0, most=1, section=TERMS)
    """Factor, within the weighted cross-entropy, of images whose label a network made: it adds no evidence of its own.

    With `align_shares` it is the least one.
    """
    generated_ramp_up: int = whole(
        10_000, least=0, unit="iterations", section=TERMS, source="shape of the rise: Laine and Aila 2017"
    )
    """Iterations until `generated_weight` is reached, as early networks label badly. 10,000: 40 epochs of nnU-Net."""
    align_shares: bool = flag(True, section=TERMS, source="ReMixMatch (Berthelot et al. 2020)")
    """Labels of unlabeled cases get the class shares of the clean ones.

    Set it to false where the two kinds of scans are not framed alike.
    """
    consistency_weight: float = number(1.0, least=0, section=TERMS, source="Eq. 11")
    """Factor of the term by which the views agree with each other."""
    teacher_weight: float = number(1.0, least=0, section=TERMS, source="Eq. 13")
    """Factor of the term by which student and teacher agree."""
    supervised_weight: float = number(1.0, least=0, section=TERMS, source="the authors' script")
    """Factor of the clean batch's loss."""

    strong_weight: float = number(1.0, least=0, section=TERMS, source="Sohn et al. 2020 (FixMatch); Yang et al. 2023")
    """Factor of the term by which labels that the student is sure of (0.95) hold in strong views of unlabeled images.

    A strong view has other intensities, and half of them a piece of another image. The factor rises over the whole
    training. With it unlabeled images take part in the warm-up. It is 0 in 3D, where the term would cost half a step of
    nnU-Net's and has not been measured.
    """

    images_at_once: int | None = optional_whole(None, least=1, **IMAGES)
    """Imperfect images, each view counted as one, whose activations are held in memory at once.

    null: 1 in 3D on a GPU, else all. The step is the same; it takes one more forward pass of the images whose pixel
    weights need no derivatives. A network with batch normalisation or dropout takes all.
    """

    pseudo_label_network: str = one_of("teacher", names=NETWORKS, section=TEACHER, source="Eq. 1, 3 and 10")
    """The network that makes labels: of unlabeled cases after the warm-up, and pseudo labels within a step."""
    mirror_generated: bool = flag(True, section=TEACHER, source="nnU-Net's inference; Eq. 1")
    """Mirror the images, and average over that, when labels of unlabeled cases are generated."""
    teacher_noise: float = number(
        0.02, least=0, unit="standard deviations of the normalised image", section=TEACHER, source="Eq. 12, gamma"
    )
    """Strength of the noise on the images that the teacher sees."""

    audit: bool = flag(False, section=DATA)
    """Run `mlbseg audit` on the noisy labels after the training, into the fold's folder. Needs the raw dataset."""

    @property
    def shown_views(self) -> tuple[str, ...]:
        """The Q views that a step draws from: ``views``, or none without ``ple``."""
        return self.views if self.ple else ()

    @property
    def drawn_views(self) -> int | None:
        """How many of them a step draws; None: it shows all."""
        return self.views_per_step if (self.views_per_step or len(self.views)) < len(self.views) else None

    @property
    def all_views(self) -> tuple[str, ...]:
        """The names of the V views of a step in their order, the image first."""
        if self.drawn_views is None or not self.ple:
            return ("image", *self.shown_views)
        several = self.drawn_views > 1
        return ("image", *(f"drawn {n}" if several else "drawn" for n in range(1, self.drawn_views + 1)))

    def check_mirrored(self, axes: tuple[int, ...] | None) -> None:
        """Refuse flips in a training that mirrors along no axis; None: along all.

        Raises:
            InputError: ``views`` has flips, and there is no axis for them.
        """
        if axes == () and "flip" in self.shown_views:
            raise InputError(
                f"views is {list(self.views)}, but the trainer's augmentation mirrors along no axis, so that left and "
                f"right may differ; leave flip out of views"
            )

    @model_validator(mode="after")
    def _robust_losses_take_noisy_labels(self) -> MLBSegSettings:
        if self.noisy_loss != OF_NNUNET and self.training_labels != "given":
            raise InputError(
                f"noisy_loss is {self.noisy_loss} with training_labels {self.training_labels}, expected {OF_NNUNET}; "
                f"or train with nnUNetTrainerMLBSegAllLabels, whose training_labels is given"
            )
        return self

    @model_validator(mode="after")
    def _tied_weights_are_not_made_uniform(self) -> MLBSegSettings:
        if self.weighting == "tied" and self.weight_normalization == "accepted":
            raise InputError(
                "weight_normalization is accepted with weighting tied, which gives every label a weight above 0, so "
                "that all would count the same; expected joint or sum, or weighting meta"
            )
        if self.weighting == "tied" and self.weighted_labels != "both":
            raise InputError(
                f"weighted_labels is {self.weighted_labels} with weighting tied, which weighs one label against the "
                f"other; expected both, or weighting meta"
            )
        return self
