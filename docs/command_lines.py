"""A command line as Markdown, read from the parser itself: ``format_help`` differs between versions of Python."""

from __future__ import annotations

import argparse
import contextlib
import re
import textwrap
from collections.abc import Iterable
from typing import Any
from unittest import mock

WIDTH = 100

# Defaults that depend on the machine which shows the help, in words: by command and option.
OF_THE_MACHINE = {
    ("noise", "processes"): "the number of cores, at most 8",
    ("study", "cores"): "the number of cores",
}

# argparse's own groups of arguments.
UNTITLED = ("positional arguments", "options")
LONGEST_CHOICES = 40


def parser_of(*words: str) -> argparse.ArgumentParser:
    """The parser that answers ``mlbseg WORDS --help``, with all its options."""
    from nnunetv2_mlbseg.cli.main import main

    found: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, file: Any = None) -> None:
        found.append(parser)

    with mock.patch.object(argparse.ArgumentParser, "print_help", keep), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return found[0]


def command_section(name: str, parser: argparse.ArgumentParser, common: set[str]) -> str:
    """Heading, description, usage, and a line per argument and option."""
    parts = [f"## mlbseg {name}\n", wrapped(with_code(parser.description or "")), usage(name, parser)]
    groups: dict[str, list[str]] = {}
    for group in parser._action_groups:
        lines = [describe(action, name) for action in group._group_actions if is_shown(action)]
        title = "" if group.title in UNTITLED else f"{group.title}:".capitalize()
        groups.setdefault(title, []).extend(line for line in lines if line not in common)
    for title, lines in groups.items():
        if lines:
            parts += [*([f"{title}\n"] if title else []), listed(lines)]
    if parser.epilog:
        parts.append(wrapped(parser.epilog))
    return "\n".join(parts)


def usage(name: str, parser: argparse.ArgumentParser) -> str:
    """The usage line: what must be given, and ``[OPTIONS]``."""
    given = [written(action) for action in parser._actions if not action.option_strings or action.required]
    return f"```\n{' '.join(['mlbseg', name, *given, '[OPTIONS]'])}\n```\n"


def common_lines(parsers: Iterable[argparse.ArgumentParser]) -> set[str]:
    """What :func:`describe` says of the arguments that all commands have."""
    return set.intersection(*({describe(action) for action in p._actions if is_shown(action)} for p in parsers))


def is_shown(action: argparse.Action) -> bool:
    """Not ``--help``, which every command has."""
    return not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS


def written(action: argparse.Action) -> str:
    """An argument or option as it is typed: ``-d ID``, ``[IN]``, ``--spacing X Y Z``."""
    value = value_of(action)
    if action.option_strings:
        return f"{action.option_strings[0]} {value}".strip()
    return f"[{value}]" if action.nargs == "?" else value


def value_of(action: argparse.Action) -> str:
    """The placeholder of what an option takes; empty for a switch."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    choices = f"{{{','.join(map(str, action.choices or ()))}}}"
    shown = choices if action.choices and len(choices) <= LONGEST_CHOICES else action.dest.upper()
    name = action.metavar or shown
    return f"{name} [{name} ...]" if action.nargs == "+" else name


def describe(action: argparse.Action, command: str = "") -> str:
    """One line: how it is typed and what it means."""
    forms = ", ".join(action.option_strings)
    typed = f"{forms} {value_of(action)}".strip() if forms else written(action)
    default = OF_THE_MACHINE.get((command, action.dest), action.default)
    text = (action.help or "") % {**vars(action), "default": default}
    if isinstance(action, argparse.BooleanOptionalAction):
        text = text.removesuffix(f" (default: {action.default})")  # added by Python before 3.13
    if action.choices and value_of(action) == action.dest.upper():
        text += ": one of " + ", ".join(f"`{choice}`" for choice in action.choices)
    required = "; must be given" if action.option_strings and action.required else ""
    return f"`{typed}`: {with_code(text)}{required}"


def with_code(text: str) -> str:
    """A text in which options (``--size``) and patterns (``la_*``) stand as code."""
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*|'?[\w/]+\*'?)", r"`\1`", text)


def wrapped(text: str, later: str = "") -> str:
    """A paragraph in lines of `WIDTH` columns."""
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def listed(lines: Iterable[str]) -> str:
    """A list of items, each wrapped."""
    return "".join(wrapped(f"- {line}", later="  ") for line in lines)
