"""How nnU-Net finds our trainers: the folder ``nnunet_plugin`` joins ``nnUNet_extTrainer`` in every process.

The ``.pth`` file that the installation puts into site-packages calls ``register`` whenever an interpreter starts, so
this module imports nothing but ``os``.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

VARIABLE = "nnUNet_extTrainer"
PLUGIN_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nnunet_plugin")


def merged(value: str | None, folder: str) -> str:
    """``value`` (folders separated by ``os.pathsep``) with ``folder`` appended, unless it is among them already."""
    folders = [entry for entry in (value or "").split(os.pathsep) if entry]
    return os.pathsep.join(folders if folder in folders else [*folders, folder])


def register(environ: MutableMapping[str, str] = os.environ) -> None:
    """Append the plugin folder to ``nnUNet_extTrainer``; a user's own folders keep their place before it."""
    if os.path.isdir(PLUGIN_FOLDER):
        environ[VARIABLE] = merged(environ.get(VARIABLE), PLUGIN_FOLDER)
