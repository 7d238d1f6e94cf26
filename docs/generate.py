"""Write the reference pages that come from the code: commands, trainers, settings and their JSON schema.

``python docs/generate.py`` writes them; with ``--check`` it names those that are out of date, and ends with 1. The
pages depend on the code alone: not on the machine, the width of the terminal or the version of Python.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from command_lines import command_section, common_lines, listed, parser_of, wrapped

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from the code; change it there. -->"

COMMANDS_INTRO = """\
# Commands

There is one command, `mlbseg`, with a subcommand for each task. This page lists every option. The
how-to pages show the subcommands at work; training and prediction are nnU-Net's own commands
([Train and resume](../how-to/train-and-resume.md)). `mlbseg COMMAND --help` shows the same text.

Nothing is overwritten without `--force`, and a command that is interrupted leaves nothing
half-written.

| exit code | means |
|---|---|
| 0 | done |
| 1 | done, and something is wrong: `check` or `doctor` found a problem, a run of `study` is missing |
| 2 | not done; one line says what was found and what was expected |
| 130, 143 | interrupted by Ctrl-C, by SIGTERM |
"""

TRAINERS_INTRO = """\
# Trainers

Each trainer is a class that `nnUNetv2_train -tr NAME` finds after the installation. The first is
the method, MLB-Seg. Those whose name begins with it are *ablations* (the method without one of its
parts) and *baselines* (nnU-Net's own training on some of the labels). They change
[settings](settings.md), and one of them the network. All others are
[comparison methods](../how-to/comparison-methods.md), with a few settings of their own. Under one
configuration all train for the same number of iterations, where `iterations_per_epoch` is a number.

In the table, "labels" are the roles whose labels a trainer reads, and "images" those whose images
it sees. "Cost" is that of a step as a multiple of a step of nnU-Net's, counted in network passes at
equal batches; [measured](../performance.md#other-methods) it is a tenth more in general, and up to
two thirds. An asterisk marks a method that was written from its description, because its authors
published no code. `mlbseg methods` prints the same table.
"""

FIXES = """\
"Fixes" lists settings that the trainer sets whatever the configuration says. "Other defaults" lists
settings that it only has another default for. Read [Run a study](../how-to/studies.md) before you
compare trainers: it says what is kept equal.
"""

SHARED_KEYS = """\
All comparison methods have these settings, except for `noisy_labels`, which only those have that
read clean labels alone:
"""

SETTINGS_INTRO = """\
# Settings

Every setting of the trainers, with its default. A value in the column `paper` takes its place with
the [preset](#preset) of that name; an empty one does not. [The method](../explanation/method.md)
explains the words. How to change settings is told in
[Train and resume](../how-to/train-and-resume.md#change-settings). An editor can check a file of
settings against the [JSON schema](settings.schema.json).
"""


def commands_page() -> str:
    """Every command with its usage and options."""
    from nnunetv2_mlbseg.cli.convert import SOURCES
    from nnunetv2_mlbseg.cli.main import COMMANDS

    words = [[name] for name in COMMANDS if name != "convert"]
    at = list(COMMANDS).index("convert")
    words[at:at] = [["convert", source] for source in SOURCES]
    parsers = {" ".join(found): parser_of(*found) for found in words}
    common = common_lines(parsers.values())
    contents = [f"| [`{name}`](#mlbseg-{name.replace(' ', '-')}) | {short(name)} |\n" for name in parsers]
    table = "| command | does |\n|---|---|\n" + "".join(contents)
    parts = [COMMANDS_INTRO, table, "Every command also takes:\n", listed(sorted(common))]
    parts += [command_section(name, parser, common) for name, parser in parsers.items()]
    return page("\n".join(parts))


def short(name: str) -> str:
    """What a command does, as ``mlbseg --help`` says it."""
    from nnunetv2_mlbseg.cli.convert import SOURCES
    from nnunetv2_mlbseg.cli.main import COMMANDS

    command, _, source = name.partition(" ")
    return SOURCES[source] if source else COMMANDS[command][1]


def trainers_page() -> str:
    """Every trainer: what it is, what it fixes."""
    from nnunetv2_mlbseg.cli import methods
    from nnunetv2_mlbseg.methods.comparison import SemiSupervisedSettings
    from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
    from nnunetv2_mlbseg.settings import reference
    from nnunetv2_mlbseg.settings.training import TrainingSettings

    trainers = [getattr(mlbseg_trainers, name) for name in methods.in_order(mlbseg_trainers.__all__)]
    parts = [TRAINERS_INTRO, trainers_table(trainers), FIXES]
    parts += [SHARED_KEYS, reference.own_keys(SemiSupervisedSettings, TrainingSettings)]
    for trainer in trainers:
        name = trainer.__name__
        about = inspect.cleandoc(vars(trainer)["__doc__"]).split("\n\n")[0]
        about = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", about).replace("``", "`")
        parts += [f"## {name}\n", wrapped(about)]
        for title, keys in (("Fixes", trainer.variant), ("Other defaults", trainer.variant_defaults)):
            if keys:
                parts.append(wrapped(f"{title}: {in_words(keys)}."))
        parts += own_settings(trainer)
    return page("\n".join(parts))


def trainers_table(trainers: Iterable[Any]) -> str:
    """What ``mlbseg methods`` prints, with names that lead to their sections."""
    from nnunetv2_mlbseg.cli import methods
    from nnunetv2_mlbseg.settings import reference

    rows = []
    for trainer in trainers:
        plain, (name, *others) = trainer.__name__, methods.row(trainer)
        rows.append([f"[`{plain}`](#{plain.lower()}){name.removeprefix(plain)}", *others])
    return reference.table(methods.COLUMNS, rows) + "\n"


def own_settings(trainer: Any) -> list[str]:
    """A table of the keys that only the method of a trainer has; MLB-Seg's have a page."""
    from nnunetv2_mlbseg.methods.comparison import Comparison, SemiSupervisedSettings
    from nnunetv2_mlbseg.settings import reference

    if not issubclass(trainer.method, Comparison):
        return []
    keys = reference.own_keys(trainer.method.Settings, SemiSupervisedSettings)
    return ["Settings of its own:\n", keys] if keys else []


def in_words(keys: Mapping[str, Any]) -> str:
    """Settings and their values, as JSON writes them."""
    return ", ".join(f"`{json.dumps({key: value})[1:-1]}`" for key, value in keys.items())


def settings_page() -> str:
    """Every setting: default, what it accepts, meaning."""
    from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
    from nnunetv2_mlbseg.settings import reference

    return page(f"{SETTINGS_INTRO}\n{reference.markdown(MLBSegSettings)}")


def settings_schema() -> str:
    """The JSON schema of an object of settings."""
    from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
    from nnunetv2_mlbseg.settings import reference

    note = "Written by docs/generate.py from the code; change it there."
    schema = {"$comment": note, **reference.json_schema(MLBSegSettings)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def page(text: str) -> str:
    """A page with the note of its origin, ending in one line break."""
    return f"{NOTE}\n\n{text.strip()}\n"


PAGES = {
    "reference/commands.md": commands_page,
    "reference/trainers.md": trainers_page,
    "reference/settings.md": settings_page,
    "reference/settings.schema.json": settings_schema,
}


def stale(names: Iterable[str] | None = None) -> list[str]:
    """The pages, of those named or of all, whose file is not what the code says now."""
    files = {name: DOCS / name for name in (PAGES if names is None else names)}
    return [name for name, file in files.items() if not file.is_file() or file.read_text("utf-8") != PAGES[name]()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write the reference pages that come from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of date")
    if parser.parse_args(arguments).check:
        found = stale()
        for name in found:
            print(f"docs/{name} is not what the code says now: run python docs/generate.py")
        return 1 if found else 0
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
