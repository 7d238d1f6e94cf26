"""The documentation says what the code does (commands, settings, names), links to what exists, and has short lines."""

from __future__ import annotations

import ast
import difflib
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from nnunetv2_mlbseg.cli.convert import SOURCES
from nnunetv2_mlbseg.cli.main import COMMANDS
from nnunetv2_mlbseg.cli.main import main as mlbseg
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers

DOCS = REPOSITORY / "docs"
SITE = sorted(path for path in DOCS.rglob("*.md") if "research-log" not in path.parts)
FOR_USERS = [*(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")), *SITE]
ALL = [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), *REPOSITORY.glob(".github/**/*.md")]
WRITTEN = [page for page in SITE if not page.read_text("utf-8").startswith("<!-- Written by docs/generate.py")]
EXTRA = "(study|test|dev|unetplusplus|benchmark|docs)"
INSTALLATION = re.compile(rf"pip install( -e)? (\.|'\.\[{EXTRA}(,{EXTRA})*\]'|pre-commit)")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FILE_ENDINGS = (".csv", ".json", ".md", ".png", ".py", ".yaml")
OTHER_NAMES = {"teacher_weights"}  # in a checkpoint; close to the setting teacher_weight
PACKAGES = ("nnunetv2_mlbseg", "dataset_conversion", "noise_synthesis")
ROOMS = {path.parent.name for path in (REPOSITORY / "nnunetv2_mlbseg").glob("*/__init__.py")}


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def pages(chosen: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", chosen, ids=name_of)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks_of(page: Path, language: str | None = None) -> list[str]:
    return [block for _, found, block in BLOCK.findall(text_of(page)) if language in (None, found)]


def prose_of(page: Path) -> str:
    return BLOCK.sub("", text_of(page))


def spans_of(page: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", prose_of(page))


def commands_of(page: Path) -> Iterator[str]:
    """Lines of code blocks, and inline code, that begin with a command; ``a && b`` and ``a || b`` count as two."""
    lines = [line for block in blocks_of(page) for line in block.replace("\\\n", " ").splitlines()]
    lines += [span.replace("\n", " ") for span in spans_of(page)]
    for line in lines:
        for part in re.split(r"&&|\|\|", line.strip().removeprefix("$ ")):
            if re.match(r"(mlbseg|pip|python -m) \S", part.strip()):
                yield part.strip()


EXAMPLES = [pytest.param(line, id=f"{page.name}: {line}") for page in FOR_USERS for line in commands_of(page)]


@pytest.mark.parametrize("line", [example for example in EXAMPLES if example.values[0].startswith("mlbseg ")])
def test_a_documented_command_parses(line, monkeypatch):
    arguments = shlex.split(line, comments=True)[1:]
    if arguments[-1] == "[OPTIONS]" or arguments[0] == "COMMAND" or arguments in (["--help"], ["--version"]):
        return
    if " ".join(arguments) in (*COMMANDS, *(f"convert {source}" for source in SOURCES)):
        return  # the command is merely named
    module = COMMANDS[arguments[0]][0]
    if arguments[0] == "convert":
        assert arguments[1] in SOURCES
        module = importlib.import_module(f"dataset_conversion.{arguments[1]}")
    parsed = []
    monkeypatch.setattr(module, "run", lambda args: parsed.append(args) or 0)
    assert mlbseg(arguments) == 0
    assert vars(parsed[0])


@pytest.mark.parametrize("line", [example for example in EXAMPLES if example.values[0].startswith("pip ")])
def test_a_documented_installation_is_one_that_works(line):
    assert INSTALLATION.fullmatch(line)


def test_the_readme_installs_and_demonstrates_in_one_line_and_tests_in_one_line():
    readme = text_of(REPOSITORY / "README.md")
    assert "\npip install . && mlbseg demo\n" in readme
    assert "\npip install '.[test]' && pytest\n" in readme


def test_every_subcommand_is_listed_and_shown_at_work():
    listed = text_of(DOCS / "reference" / "commands.md")
    shown = "\n".join(line for page in WRITTEN for line in commands_of(page))
    for name in COMMANDS:
        assert f"\n## mlbseg {name}" in listed, name
        assert f"mlbseg {name}" in shown, name


def test_the_navigation_of_the_site_has_every_page_once():
    def files(entry) -> list[str]:
        children = entry.values() if isinstance(entry, dict) else entry
        return [entry] if isinstance(entry, str) else [name for child in children for name in files(child)]

    found = files(yaml.safe_load(text_of(REPOSITORY / "mkdocs.yml"))["nav"])
    assert sorted(found) == sorted(str(page.relative_to(DOCS)) for page in SITE)


def targets_of(page: Path) -> list[tuple[str, str]]:
    """Links within the repository: path, and anchor or an empty text."""
    prose = re.sub(r"`[^`]+`", "", prose_of(page))
    links = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"^\[[^\]]+\]: (\S+)$", prose, re.MULTILINE)
    return [(path, anchor) for path, _, anchor in (link.partition("#") for link in links) if ":" not in path]


def headings_of(page: Path) -> list[str]:
    return [re.sub(r"[`*]", "", heading).strip() for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)]


def anchors_of(page: Path) -> list[str]:
    """The anchors that GitHub gives to headings: lower case, without punctuation, spaces as hyphens."""
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings_of(page)]


@pages(ALL)
def test_links_lead_to_pages_and_headings_that_exist(page):
    for path, anchor in targets_of(page):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"


@pages(SITE)
def test_the_site_has_the_anchors_of_github_and_leaves_no_link_out(page):
    # MkDocs joins neighbouring hyphens, and numbers equal headings in its own way.
    assert not [anchor for anchor in anchors_of(page) if "--" in anchor]
    assert len(set(anchors_of(page))) == len(anchors_of(page))
    for path, _ in targets_of(page):
        target = (page.parent / path).resolve()
        assert target == page.parent or (target.is_relative_to(DOCS) and "research-log" not in target.parts), path


@pages(ALL)
def test_lines_are_short(page):
    code = {line for block in blocks_of(page) for line in block.splitlines()}
    long = [line for line in text_of(page).splitlines() if len(line) > 100 and not line.lstrip().startswith("|")]
    assert not [line for line in long if "://" not in line and line not in code]
    assert page not in FOR_USERS or not [line for line in code if len(line) > 120]


def settings() -> dict[str, object]:
    return json.loads(text_of(DOCS / "reference" / "settings.schema.json"))["properties"]


def test_every_setting_is_listed_with_its_default():
    page = text_of(DOCS / "reference" / "settings.md")
    assert len(settings()) > 40
    assert {"warmup_epochs", "weighting", "views"} <= {key for page in SITE for key in settings_given(page)}
    for key, about in settings().items():
        row = re.search(rf"^\| `{key}` \|.*$", page, re.MULTILINE)
        assert row, key
        assert json.dumps(about["default"]) in row[0], key


def settings_given(page: Path) -> Iterator[str]:
    """The keys that the examples of a page set: in the variable, the plans file, a trainer, a study."""
    text = text_of(page)
    for found in re.findall(r"MLBSEG_CONFIG='(\{.*?\})'|\"mlbseg\": (\{.*?\})|\bvariant = (\{.*?\})", text, re.DOTALL):
        yield from ast.literal_eval(re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", "".join(found))))
    for block in blocks_of(page, "yaml"):
        study = yaml.safe_load(block)
        holders = [study, *study.get("datasets", {}).values(), *study.get("variants", {}).values()]
        yield from (key for holder in holders for key in holder.get("config", {}))


@pages(FOR_USERS)
def test_settings_that_a_page_names_exist(page):
    known = settings()
    assert not [key for key in settings_given(page) if key not in known]
    for span in spans_of(page):
        if re.fullmatch(r"[a-z]+(_[a-z]+)+", span) and span not in {*known, *OTHER_NAMES}:
            assert not difflib.get_close_matches(span, known, n=1, cutoff=0.85), f"{span} is no setting"


@pages(FOR_USERS)
def test_trainers_that_a_page_names_exist(page):
    text = text_of(page)
    known = {"nnUNetTrainer", *mlbseg_trainers.__all__, *re.findall(r"^class (\w+)\(", text, re.MULTILINE)}
    known |= {name for _, name in imports_of(page)}
    assert not {name.split("__")[0] for name in re.findall(r"\bnnUNetTrainer\w*", text)} - known


def imports_of(page: Path) -> list[tuple[str, str]]:
    """What the Python examples of a page import from the packages here: module and name."""
    nodes = [node for block in blocks_of(page, "python") for node in ast.walk(ast.parse(block))]
    nodes = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES]
    return [(node.module, alias.name) for node in nodes for alias in node.names]


@pages(SITE)
def test_what_a_page_names_of_the_code_exists(page):
    """``room.module.name`` in the text, and what examples import."""
    for span in spans_of(page):
        if re.fullmatch(r"\w+(\.\w+)+", span) and span.split(".")[0] in ROOMS and not span.endswith(FILE_ENDINGS):
            assert exists(f"nnunetv2_mlbseg.{span}"), span
    for module, name in imports_of(page):
        assert exists(f"{module}.{name}"), f"{module}.{name}"


def exists(path: str) -> bool:
    """Is there such a module, or such a name in a module?"""
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(path))
    except ImportError:
        return False


def test_the_functions_of_the_equations_exist():
    rows = re.findall(r"^\|.*$", text_of(DOCS / "reference" / "equations.md"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+(?:\.\w+)+)`", row)]
    assert len(names) > 20
    assert {"logit_tangents", "logits_with_tangents"} <= {name.rpartition(".")[2] for name in names}
    assert [name for name in names if not exists(f"nnunetv2_mlbseg.{name}")] == []
