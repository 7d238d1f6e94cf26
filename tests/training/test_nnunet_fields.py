"""nnU-Net's own fields of a checkpoint: written under its names, and taken back."""

from __future__ import annotations

import math
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn
from training_support import STOCK_FIELDS

from nnunetv2_mlbseg.training.nnunet_fields import fields_of, take_fields_


def _trainer() -> MagicMock:
    """What a checkpoint holds of nnU-Net's trainer; nothing of it trains."""
    trainer = MagicMock(grad_scaler=None, current_epoch=0)
    trainer.optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
    return trainer


@pytest.mark.parametrize(
    ("stored", "logged", "epochs", "expected"),
    [
        (0.5, [0.4, 0.5, 0.7], 3, 0.7),  # written before nnU-Net compared the last epoch
        (None, [0.3], 1, 0.3),
        (0.5, [0.4, math.nan], 2, 0.5),
        (None, [math.nan], 1, None),
        (None, [], 0, None),
        (0.5, [0.5, 0.4, 0.9], 2, 0.5),  # the last value is of an epoch that was not complete
    ],
)
def test_the_best_of_the_logged_epochs_is_what_the_next_one_must_beat(stored, logged, epochs, expected):
    trainer = _trainer()
    trainer._best_ema, trainer.current_epoch = stored, epochs - 1
    trainer.logger.get_checkpoint.return_value = {"ema_fg_dice": logged}
    resumed = _trainer()
    take_fields_(resumed, fields_of(trainer, complete=True))
    assert resumed._best_ema == expected and resumed.current_epoch == epochs
    resumed.logger.load_checkpoint.assert_called_once_with({"ema_fg_dice": logged[:epochs]})


def test_an_epoch_that_was_stopped_is_the_one_to_go_on_with():
    trainer = _trainer()
    trainer.current_epoch = 4
    found = fields_of(trainer, complete=False)
    assert found["current_epoch"] == 4 and found.keys() == STOCK_FIELDS - {"network_weights"}
