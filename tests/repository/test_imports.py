"""Imports run one way: noise synthesis, then conversion, then the package; and maths, then trainer, then commands."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "nnunetv2_mlbseg"
ON_TOP = tuple(f"{PACKAGE}.{name}" for name in ("cli", "study", "demo"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def at_run_time(tree: ast.AST):
    """All nodes but those of blocks ``if TYPE_CHECKING:``, which a running program skips."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from at_run_time(node)


def imports_of(path: Path) -> set[str]:
    """What a file imports anywhere in it; ``from a import b`` counts as both ``a`` and ``a.b``."""
    found = set()
    for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


FILES = {
    module_name(path): path
    for folder in (PACKAGE, "dataset_conversion", "noise_synthesis")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
}
IMPORTS = {name: imports_of(path) for name, path in FILES.items()}


def everything_behind(module: str) -> set[str]:
    """What a module imports, and what the modules of this repository among that import, and so on."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in IMPORTS.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found


def belongs_to(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def maths_modules() -> list[str]:
    return [name for name in FILES if belongs_to(name, f"{PACKAGE}.maths")]


@pytest.mark.parametrize("module", maths_modules())
def test_the_maths_knows_neither_nnunet_nor_the_trainer(module):
    above = [f"{PACKAGE}.{name}" for name in ("training", "methods", "settings", "cases")]
    known = everything_behind(module)
    assert "torch" in known
    assert [name for name in known if belongs_to(name, "nnunetv2", *above, *ON_TOP)] == []


@pytest.mark.parametrize("module", [name for name in FILES if belongs_to(name, "noise_synthesis")])
def test_noise_synthesis_needs_no_torch_and_none_of_the_others(module):
    forbidden = ("torch", "nnunetv2", "dataset_conversion", PACKAGE)
    assert [name for name in IMPORTS[module] if belongs_to(name, *forbidden)] == []


@pytest.mark.parametrize("module", [name for name in FILES if belongs_to(name, "dataset_conversion")])
def test_conversion_needs_nothing_of_the_training(module):
    assert [name for name in IMPORTS[module] if belongs_to(name, "torch", PACKAGE)] == []


def test_the_trainer_knows_no_command():
    assert [name for name in everything_behind(f"{PACKAGE}.training.trainer") if belongs_to(name, *ON_TOP)] == []


def test_no_module_imports_itself_in_a_circle():
    circles = [name for name in FILES if name in everything_behind(name)]
    assert circles == []
