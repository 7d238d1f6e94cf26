"""``mlbseg noise``: corrupt a folder of label files to a target Dice; files of any format that nnU-Net reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from noise_synthesis import command
from noise_synthesis.command import add_arguments

if TYPE_CHECKING:
    from noise_synthesis.safe_io.label_files import LabelFormat

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Corrupt the folder and say what came out; draw the gallery if wanted."""
    return command.run(args, label_format)


def label_format(folder: Path) -> LabelFormat:
    """How the label files of a folder are read: as nnU-Net would; what it reads by SimpleITK keeps its data type."""
    from dataset_conversion.raw.formats import folder_format
    from noise_synthesis.safe_io.label_files import ITK_LABELS, find_label_files

    found = folder_format(list(find_label_files(folder).values()), folder)
    return ITK_LABELS if found.reader_writer.__name__ == "SimpleITKIO" else found
