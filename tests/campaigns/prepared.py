"""A tiny preprocessed dataset for the campaigns, made once and copied."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from training_support import Workspace, add_configuration

SETTINGS = {
    "warmup_epochs": 2,
    "epochs": 3,
    "iterations_per_epoch": 4,
    "val_iterations_per_epoch": 2,
    "seed": 1,
    "cpu_bfloat16": False,
}


def campaign_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that campaigns on such a dataset have in common: where to write, and what to copy."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--template", type=Path, help="a prepared workspace, to save the time of making one")
    return parser


def prepare(root: Path, **settings: Any) -> Workspace:
    """Write raw data below ``root``, plan and preprocess it, and add the configuration ``2d_tiny``.

    Raises:
        AssertionError: nnU-Net's command failed.
    """
    return Workspace.prepared(root, mlbseg={**SETTINGS, **settings})


def prepared_in(root: Path, given: Path | None, **settings: Any) -> Workspace:
    """What :func:`prepare` makes, or a copy of what it made in ``given`` with other settings."""
    if given is None:
        return prepare(root, **settings)
    workspace = copied(Workspace(given), root)
    add_configuration(workspace.preprocessed, mlbseg={**SETTINGS, **settings})
    return workspace


def copied(template: Workspace, root: Path) -> Workspace:
    """A workspace of its own with the same data and no results."""
    shutil.copytree(template.root, root, ignore=shutil.ignore_patterns("results"), dirs_exist_ok=True)
    return Workspace(root)
