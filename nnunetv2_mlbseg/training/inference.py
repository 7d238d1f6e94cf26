"""Another network than the one in training takes its place for a while: to validate, or to label images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets
from torch import nn

from dataset_conversion.raw.parallel import NNUNET_PROCESSES, default_processes
from nnunetv2_mlbseg.networks.surgery import plain_network, predicting
from noise_synthesis.safe_io.whole_files import refuse_incomplete


@contextmanager
def swapped(trainer: nnunets.nnUNetTrainer, network: nn.Module) -> Iterator[None]:
    """nnU-Net's final validation with ``network``; afterwards all is as before."""
    in_training, trainer.network = trainer.network, network
    try:
        with predicting(plain_network(network)), processes_for_cores():
            yield
    finally:
        trainer.network = in_training


@contextmanager
def processes_for_cores() -> Iterator[None]:
    """Let nnU-Net's validation start no more processes than there are cores; its own number is 8 on any machine.

    A number that the user chose, by nnUNet_def_n_proc, is kept.
    """
    planned = nnunets.default_num_processes
    if NNUNET_PROCESSES not in os.environ:
        nnunets.default_num_processes = default_processes()
    try:
        yield
    finally:
        nnunets.default_num_processes = planned


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
