"""The study's own configuration in a plans file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_mlbseg.networks.plans import smaller, with_configuration

CHANGES = ("patch_size", "batch_size", "features", "overrides")


def study_configuration(plans: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plans with one more configuration: the planned one with patch, batch, network and more as the study says.

    Raises:
        InputError: see :func:`smaller`.
    """
    changed = smaller(plans, plan["base"], **{key: plan[key] for key in CHANGES})
    return with_configuration(plans, plan["configuration"], changed)
