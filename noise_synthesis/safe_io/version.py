"""The version that provenance records."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "nnunetv2_mlbseg"


def tool_version() -> str:
    """Version of the installed package, ``"not installed"`` when it runs from a bare checkout."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "not installed"
