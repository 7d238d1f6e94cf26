"""Every command line in the README and the documentation parses with the real parsers."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from nnunetv2_mlbseg.cli.convert import SOURCES
from nnunetv2_mlbseg.cli.main import COMMANDS, build_parser

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
EXTRA = "(study|test|dev|unetplusplus|benchmark)"
INSTALLATION = re.compile(rf"pip install( -e)? (\.|'\.\[{EXTRA}(,{EXTRA})*\]')")


def commands_of(page: Path) -> list[str]:
    """Lines of code blocks, and inline code, that begin with a command; ``a && b`` and ``a || b`` count as two."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline
    parts = [part.strip() for line in lines for part in re.split(r"&&|\|\|", line.removeprefix("$ "))]
    return [part for part in parts if re.match(r"(mlbseg|pip|python -m) \S", part)]


EXAMPLES = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands_of(page)]


@pytest.mark.parametrize("line", [example for example in EXAMPLES if example.values[0].startswith("mlbseg ")])
def test_a_documented_command_parses(line):
    arguments = shlex.split(line, comments=True)[1:]
    if len(arguments) == 1 and arguments[0] in COMMANDS:
        return  # the command is merely named
    if arguments[0] == "COMMAND" or arguments in (["--help"], ["--version"]):
        return
    if arguments[0] == "convert" and len(arguments) == 2:
        assert arguments[1] in SOURCES
        return
    parsed = build_parser().parse_args(arguments)
    if arguments[0] == "convert":  # its options are parsed by the module of the source
        from dataset_conversion.simulation.options import converter_parser

        module = importlib.import_module(f"dataset_conversion.{parsed.source_kind}")
        parsed = converter_parser(module.DESCRIPTION, module.add_arguments).parse_args(parsed.source_options)
    assert vars(parsed)


@pytest.mark.parametrize("line", [example for example in EXAMPLES if example.values[0].startswith("pip ")])
def test_a_documented_installation_is_one_that_works(line):
    assert INSTALLATION.fullmatch(line)


def test_the_readme_installs_and_demonstrates_in_one_line_and_tests_in_one_line():
    readme = PAGES[0].read_text(encoding="utf-8")
    assert "\npip install . && mlbseg demo\n" in readme
    assert "\npip install '.[test]' && pytest\n" in readme


def test_links_within_the_repository_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_links_to_a_heading_lead_to_one():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            assert anchor in anchors_of(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"


def test_every_subcommand_is_documented():
    documented = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"mlbseg {name}" in documented, name


def test_the_functions_of_the_equation_table_exist():
    readme = PAGES[0].read_text(encoding="utf-8")
    method = (REPOSITORY / "docs" / "method.md").read_text(encoding="utf-8")
    for text, begin, end in (
        (readme, "equation by equation", "\n\nWhat the clean"),
        (method, "## Equation to function", "\n\nAll but"),
    ):
        names = re.findall(r"`(\w+)\.(\w+)`", text.partition(begin)[2].partition(end)[0])
        assert len(names) > 10
        assert {"logit_tangents", "logits_with_tangents"} <= {name for _, name in names}, "both ways to the tangents"
        for module, name in names:
            assert hasattr(importlib.import_module(f"nnunetv2_mlbseg.{module}"), name), f"{module}.{name}"


def test_the_modules_that_the_method_names_exist_and_have_what_it_names():
    """`module.name` anywhere in the text."""
    method = (REPOSITORY / "docs" / "method.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (REPOSITORY / "nnunetv2_mlbseg").glob("*.py")}
    for module, name in re.findall(r"`(?!torch)(\w+)\.(?!py`|md`)(\w+)`", method):
        assert module in modules, f"{module}.{name}"
        assert hasattr(importlib.import_module(f"nnunetv2_mlbseg.{module}"), name), f"{module}.{name}"
