"""``mlbseg noise``: corrupt a folder of label files to a target Dice."""

from __future__ import annotations

from noise_synthesis.command import add_arguments, run

__all__ = ["add_arguments", "run"]
