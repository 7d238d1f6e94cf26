"""Which releases of nnU-Net this package was tested with; others are named at the start rather than failing later."""

from __future__ import annotations

import os
from importlib import metadata

from packaging.version import InvalidVersion, Version

from nnunetv2_mlbseg.runtime.errors import UnsupportedError

OLDEST = Version("2.8.1")
NEXT_UNTESTED = Version("2.9")
"""Releases from here on may have moved what we build on. tests/test_nnunet_seams.py lists it all."""

IGNORE_VARIABLE = "MLBSEG_ANY_NNUNET"


def check_version(installed: str | None = None) -> None:
    """Look at nnU-Net's version.

    Args:
        installed: None asks the environment.

    Raises:
        UnsupportedError: older than `OLDEST`, or `NEXT_UNTESTED` or newer and ``MLBSEG_ANY_NNUNET=1`` is not set.
    """
    found = metadata.version("nnunetv2") if installed is None else installed
    try:
        version = Version(found)
    except InvalidVersion:
        raise UnsupportedError(f"nnU-Net's version {found!r} cannot be read, expected {OLDEST} or newer") from None
    if version < OLDEST:
        raise UnsupportedError(
            f'nnU-Net {found} is too old, expected {OLDEST} or newer: run pip install "nnunetv2>={OLDEST}"'
        )
    if version.release >= NEXT_UNTESTED.release and os.environ.get(IGNORE_VARIABLE, "0") != "1":
        raise UnsupportedError(
            f"nnU-Net {found} is newer than what this package was tested with (below {NEXT_UNTESTED}): upgrade "
            f'nnunetv2_mlbseg, run pip install "nnunetv2<{NEXT_UNTESTED}", or set {IGNORE_VARIABLE}=1 to try it'
        )
