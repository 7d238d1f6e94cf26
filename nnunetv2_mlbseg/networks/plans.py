"""Smaller configurations than those that nnU-Net plans."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from noise_synthesis.safe_io.errors import InputError

PER_STAGE = ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")


def planned(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration of a plans file, with all that it inherits.

    Raises:
        InputError: it is not there, or inherits from one that is not there or from itself.
    """
    configurations = plans["configurations"]
    found: dict[str, Any] = {}
    left, at = set(configurations), name
    while at is not None:
        if at not in left:
            raise InputError(f"no configuration {at} in the plans, expected one of {', '.join(configurations)}")
        left.remove(at)
        found = {**configurations[at], **found}
        at = configurations[at].get("inherits_from")
    found.pop("inherits_from", None)
    return found


def smaller(
    plans: Mapping[str, Any],
    base: str,
    *,
    patch_size: Sequence[int] | None = None,
    batch_size: int | None = None,
    features: Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A configuration that inherits from a planned one, with another patch, batch and network.

    Preprocessed data depends on none of the three: both configurations train from the same.

    Args:
        base: The planned one.
        patch_size: Side lengths in pixels, in the order of the plan.
        batch_size: In images.
        features: Number of features in each stage; the network is cut to that many stages.
        overrides: Further keys; they come last.

    Raises:
        InputError: no such configuration, more stages than it has, or a patch that the network cannot halve.
    """
    of_plan = planned(plans, base)
    given = {"patch_size": patch_size and list(patch_size), "batch_size": batch_size}
    found: dict[str, Any] = {"inherits_from": base}
    found |= {key: value for key, value in given.items() if value is not None}
    if features:
        found["architecture"] = cut_network(of_plan["architecture"], features)
    found |= overrides or {}
    check_patch({**of_plan, **found})
    return found


def cut_network(architecture: Mapping[str, Any], features_per_stage: Sequence[int]) -> dict[str, Any]:
    """The architecture of a plans file with the first stages only, and other numbers of features in them.

    Raises:
        InputError: more stages than the plan has, or fewer features in a stage than in the one before.
    """
    found = copy.deepcopy(dict(architecture))
    arguments, stages = found["arch_kwargs"], len(features_per_stage)
    if stages > arguments["n_stages"]:
        raise InputError(f"features for {stages} stages, but nnU-Net's plan has {arguments['n_stages']}")
    if list(features_per_stage) != sorted(features_per_stage):
        raise InputError(f"features is {list(features_per_stage)}, expected no stage with fewer than the one before")
    for key in PER_STAGE:
        if isinstance(arguments.get(key), list):
            arguments[key] = arguments[key][:stages]
    if isinstance(arguments.get("n_conv_per_stage_decoder"), list):
        arguments["n_conv_per_stage_decoder"] = arguments["n_conv_per_stage_decoder"][: stages - 1]
    arguments |= {"n_stages": stages, "features_per_stage": list(features_per_stage)}
    return found


def check_patch(configuration: Mapping[str, Any]) -> None:
    """Refuse a patch that the strides of the network do not divide, or of which they leave a single pixel.

    Raises:
        InputError: it is so, or the patch has another number of sides than the network.
    """
    patch, strides = configuration["patch_size"], configuration["architecture"]["arch_kwargs"]["strides"]
    steps = [math.prod(of_axis) for of_axis in zip(*strides, strict=True)]
    shown = " x ".join(map(str, patch))
    if len(patch) != len(steps):
        raise InputError(f"patch size is {shown}, expected {len(steps)} numbers")
    if any(side % step for side, step in zip(patch, steps, strict=True)):
        whole = " x ".join(map(str, steps))
        raise InputError(
            f"patch size is {shown}, expected multiples of {whole}, by which the {len(strides)} stages of the network "
            f"divide it"
        )
    if math.prod(patch) <= math.prod(steps):
        raise InputError(
            f"patch size is {shown}, of which the {len(strides)} stages of the network leave one pixel, expected a "
            f"larger patch or fewer stages"
        )


def with_configuration(plans: Mapping[str, Any], name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The plans with one more configuration, or with another one of its name."""
    return {**plans, "configurations": {**plans["configurations"], name: dict(configuration)}}
