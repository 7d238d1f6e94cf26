"""Further configurations in nnU-Net's plans files."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from noise_synthesis.safe_io.errors import InputError

PER_STAGE = ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")


def cut_network(architecture: Mapping[str, Any], features_per_stage: Sequence[int]) -> dict[str, Any]:
    """The architecture of a plans file with the first stages only, and other numbers of features in them.

    Raises:
        InputError: more stages than the plan has.
    """
    found = copy.deepcopy(dict(architecture))
    arguments, stages = found["arch_kwargs"], len(features_per_stage)
    if stages > arguments["n_stages"]:
        raise InputError(f"features for {stages} stages, but nnU-Net's plan has {arguments['n_stages']}")
    for key in PER_STAGE:
        if isinstance(arguments.get(key), list):
            arguments[key] = arguments[key][:stages]
    if isinstance(arguments.get("n_conv_per_stage_decoder"), list):
        arguments["n_conv_per_stage_decoder"] = arguments["n_conv_per_stage_decoder"][: stages - 1]
    arguments |= {"n_stages": stages, "features_per_stage": list(features_per_stage)}
    return found


def with_configuration(plans: Mapping[str, Any], name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The plans with one more configuration, or with another one of its name."""
    return {**plans, "configurations": {**plans["configurations"], name: dict(configuration)}}
