"""Options of ``mlbseg convert`` as keys of a study file: checked by the converter's own parser."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from typing import Any, NoReturn

from noise_synthesis.calibration.levels import parse_level
from noise_synthesis.safe_io.errors import InputError

# What a setting may change: roles and noise of the cases that are not clean. Which cases are clean and held out is the
# same in all settings of a data set, so that their results can be compared and shared.
OF_SETTINGS = ("noisy_ratio", "true_ratio", "noise_level", "noise_recipe", "per_slice")
OF_THE_STUDY = ("d", "name", "force", "np", "evaluation", "debug", "help", "recipe")  # set otherwise, or of no use here


class CheckingParser(argparse.ArgumentParser):
    """A parser that raises instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        """Raise the message."""
        raise InputError(message)


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """Options as they are typed: ``noisy_ratio: 0.5`` is ``--noisy-ratio 0.5``, ``paper: true`` is ``--paper``."""
    arguments = []
    for key, value in options.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif value is False:
            arguments.append(f"--no-{option[2:]}")
        else:
            values = value if isinstance(value, list) else [value]
            arguments += [option, *map(str, values)]
    return arguments


def check_converter_options(
    converter: str, options: Mapping[str, Any], own: Mapping[str, Any], where: str, setting: str
) -> None:
    """Parse the options of a setting as the converter will.

    Raises:
        InputError: an option that the converter does not have, or that a setting must not change, or a bad value.
    """
    module = importlib.import_module(f"dataset_conversion.{converter}")
    parser = CheckingParser(add_help=False)
    module.add_arguments(parser)
    known = {action.dest for action in parser._actions if action.option_strings} - {"dataset_id", "processes"}
    allowed = sorted(known - set(OF_THE_STUDY))
    for key in (*options, *own):
        if key not in allowed:
            raise InputError(f"{where}: converter {converter} has no option '{key}' for studies; it has {allowed}")
    for key in own:
        if key not in OF_SETTINGS:
            raise InputError(
                f"{where}: setting {setting}: '{key}' must be the same in all settings of a data set (put it into "
                f"'options'); a setting changes {', '.join(OF_SETTINGS)}"
            )
    try:
        parsed = parser.parse_args(["SOURCE", "-d", "1", *arguments_of({**options, **own})])
        parse_level(parsed.noise_level)
        for share in (parsed.noisy_ratio, parsed.true_ratio):
            if not 0 <= share <= 1:
                raise InputError(f"expected a share between 0 and 1, got {share}")
    except InputError as error:
        raise InputError(f"{where}: setting {setting}: {error}") from None
