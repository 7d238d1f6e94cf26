"""Another network than the one in training takes its place for a while: to validate, or to label images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunetv2_mlbseg.networks.surgery import plain_network, predicting
from noise_synthesis.safe_io.compressed import refuse_incomplete


@contextmanager
def swapped(trainer: nnUNetTrainer, network: nn.Module) -> Iterator[None]:
    """nnU-Net's final validation with ``network``; afterwards all is as before."""
    in_training, trainer.network = trainer.network, network
    try:
        with predicting(plain_network(network)):
            yield
    finally:
        trainer.network = in_training


@contextmanager
def whole_predictions(folder: Path, cases: Sequence[str], ending: str) -> Iterator[None]:
    """Look at the predictions that the block writes; on a full disk nnU-Net's writer cuts files without a word.

    Raises:
        OSError: one is cut. The scores, which would be those of the cut files, are removed.
    """
    try:
        yield
        _refuse_cut(folder, cases, ending)
    except RuntimeError:  # of the process that read or wrote one
        _refuse_cut(folder, cases, ending)
        raise


def _refuse_cut(folder: Path, cases: Sequence[str], ending: str) -> None:
    try:
        for case in cases:
            refuse_incomplete(folder / (case + ending))
    except OSError:
        (folder / "summary.json").unlink(missing_ok=True)
        raise
