"""The study's own configuration in a plans file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_mlbseg.networks.plans import cut_network, with_configuration


def study_configuration(plans: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plans with one more configuration: the planned one with patch, batch, network and more as the study says."""
    base = plan["base"]
    configuration: dict[str, Any] = {"inherits_from": base}
    for key in ("patch_size", "batch_size"):
        if plan[key] is not None:
            configuration[key] = plan[key]
    if plan["features"]:
        configuration["architecture"] = cut_network(plans["configurations"][base]["architecture"], plan["features"])
    return with_configuration(plans, plan["configuration"], {**configuration, **plan["overrides"]})
