"""What a training looks at and clears away once, before its first epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os.path import join
from pathlib import Path

from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_mlbseg.cases.verification import verify_all, verify_images
from nnunetv2_mlbseg.networks.fingerprints import weight_sums
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.sole_use import sole_use
from nnunetv2_mlbseg.training.fold import Fold
from nnunetv2_mlbseg.training.learning import Learning
from noise_synthesis.safe_io.files import remove_leftovers


@dataclass(frozen=True)
class Preflight:
    """The look at data and folders before a training.

    Attributes:
        output: The fold's folder.
        written: Folders below it that a training writes.
        data: nnU-Net's preprocessed cases.
        report: Takes lines for the log file.
    """

    output: Path
    written: tuple[Path, ...]
    data: str
    cases: Fold
    processes: Processes
    report: Callable[[str], None]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two trainings in one folder would take each other's labels and checkpoints: the second is refused.

        Raises:
            InputError: this is the second.
        """
        with sole_use(self.output, "training") if self.processes.is_first else nullcontext():
            yield

    def first(self, learning: Learning, labels: LabelManager, writes: bool) -> None:
        """What is done before a first epoch.

        Args:
            labels: nnU-Net's.
            writes: Whether checkpoints will be written.

        Raises:
            InputError: see :meth:`look_at_data`.
        """
        self.take_pretrained_weights(learning)
        if learning.settings.verify_data:
            self.look_at_data(labels)
        if writes:
            self.set_old_training_aside()

    def look_at_data(self, labels: LabelManager) -> None:
        """Read every preprocessed case once, and hold images of held-out cases against those that train.

        Raises:
            InputError: a case is not usable, its raw image was replaced since, or a held-out case has the image of a
                training case.
        """
        held_out = self.cases.held_out
        cases = [*self.cases.training, *held_out.validation]
        images = verify_all(self.data, cases, labels, self.processes)
        if held_out.raw is not None and held_out.raw.is_dir():
            verify_images(self.data, cases, held_out.raw, self.processes, self.report)
        self.report(f"Read {len(images)} preprocessed cases: all usable")
        for leak in held_out.check_images(images):
            self.report(f"Allowed by allow_leakage: {leak}")

    def take_pretrained_weights(self, learning: Learning) -> None:
        """Start the teacher from what ``-pretrained_weights`` put into the student, and say what it left out."""
        plain, initial = plain_network(learning.student), learning.initial_sums
        kept = [name for name, value in weight_sums(plain).items() if value == initial[name]]
        if len(kept) == len(initial):
            return
        learning.teacher.network.load_state_dict(plain.state_dict())
        self.report(
            f"Pretrained weights: {len(initial) - len(kept)} of {len(initial)} tensors differ from the "
            f"initialisation; warm-up starts from them. Unchanged: {', '.join(kept) or 'none'}"
        )

    def set_old_training_aside(self) -> None:
        """Rename the checkpoints of an earlier training, which ``--c`` would take for this one's."""
        if self.processes.is_first:
            for name in checkpoint.set_aside(self.output):
                self.report(f"{name} is of an earlier training, renamed to {name}.replaced")

    def clear_leftovers(self) -> None:
        """Remove what a killed training had begun to write."""
        for folder in (self.output, *self.written) if self.processes.is_first else ():
            for name in remove_leftovers(folder):
                self.report(f"Removed {join(folder, name)}, which a killed training had not finished")
