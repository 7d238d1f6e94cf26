"""Imports run one way. ``tests/house.yaml`` says which room may import which; here every file is held to it."""

from __future__ import annotations

import ast
import re
import sys

import pytest
from house import (
    HEAVY,
    PACKAGE,
    PACKAGES,
    REPOSITORY,
    circles,
    files,
    import_graph,
    imports_in,
    imports_of,
    place_of,
    reached,
    room_graph,
    room_of,
    rooms,
    where,
)

LONGEST_FILE = 250
FROM = re.compile(rf"\bfrom ((?:{'|'.join(PACKAGES)})(?:\.\w+)*) import (\w+(?:, \w+)*)")
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")


def none_of(violations: list[str]) -> None:
    """Fail with one readable line for each violation."""
    if violations:
        pytest.fail("\n".join(["", *violations]), pytrace=False)


def test_the_table_has_every_room_and_only_rooms_that_are_there():
    assert {room_of(path) for path in files().values()} == set(rooms())
    assert [name for name in rooms() if not place_of(name).exists()] == []


def test_the_table_stands_from_the_ground_up():
    above = [
        f"{name} may import {other}, which does not stand before it"
        for number, (name, room) in enumerate(rooms().items())
        for other in room.imports
        if other not in list(rooms())[:number]
    ]
    none_of(above)


@pytest.mark.parametrize("name", rooms())
def test_a_row_of_the_table_says_what_it_must(name):
    room = rooms()[name]
    assert room.holds.endswith(".") and len(room.holds.split()) > 1
    assert len(set(room.imports)) == len(room.imports) and name not in room.imports
    assert set(room.needs) <= set(HEAVY)


# Beginnings of room names. A row of the table may be changed; these are what the rows are for.
@pytest.mark.parametrize(
    ("name", "alone_with"),
    [
        ("noise_synthesis", ("noise_synthesis",)),
        ("dataset_conversion", ("noise_synthesis", "dataset_conversion")),
        ("dataset_conversion/checks", ("noise_synthesis/safe_io", "dataset_conversion")),
        ("maths/weighting", ("maths", "networks", "noise_synthesis/safe_io")),
        ("study", ("noise_synthesis", "dataset_conversion", "study", "settings", "runtime", "networks", "evaluation")),
        (
            "demo",
            (
                "noise_synthesis/safe_io",
                "dataset_conversion/raw",
                "dataset_conversion/supervision",
                "settings",
                "runtime",
                "networks",
                "evaluation",
            ),
        ),
        ("extension_path.py", ()),
    ],
)
def test_rooms_that_can_be_used_without_the_others(name, alone_with):
    others = [room for room in behind(name) if not inside(room, alone_with)]
    assert [room for room in others if room != PACKAGE] == []


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("cases", ("training", "methods", "audit", "trainers")),
        ("training", ("methods", "audit", "weight_quality", "trainers", "study", "demo", "cli")),
        ("methods/mlbseg", ("audit", "weight_quality", "trainers", "study", "demo", "cli")),
        ("audit", ("methods", "weight_quality", "trainers")),
        ("weight_quality", ("audit", "trainers")),
        ("trainers", ("weight_quality", "study", "demo", "cli")),
    ],
)
def test_rooms_that_never_come_together(name, never):
    assert [room for room in behind(name) if inside(room, never)] == []
    assert all(group in rooms() for group in never)


def test_only_trainers_and_commands_know_the_audit():
    assert {name for name in rooms() if "audit" in rooms()[name].imports} == {"trainers", "cli"}


def behind(name: str) -> set[str]:
    """All rooms that a room may reach, through others too."""
    return reached(name, {room.name: room.imports for room in rooms().values()})


def inside(room: str, groups: tuple[str, ...]) -> bool:
    return any(room == group or room.startswith(f"{group}/") for group in groups)


@pytest.mark.parametrize("name", rooms())
def test_a_room_imports_what_the_table_allows(name):
    room = rooms()[name]
    found = []
    for module in (module for module, path in files().items() if room_of(path) == name):
        for one in imports_of(module):
            package = one.module.partition(".")[0]
            target = room_of(files()[one.module]) if one.module in files() else package
            allowed = {name, *room.imports} if one.module in files() else set(room.needs)
            if (one.module in files() or package in HEAVY) and target not in allowed:
                may = ", ".join(room.written) or "nothing"
                found.append(f"{where(module, one.line)} imports {one.module}, room {name} may import {may}")
    none_of(found)


def test_the_maths_needs_torch_and_nothing_else_from_outside():
    known = {"torch", *PACKAGES, *sys.stdlib_module_names}
    found = [
        f"{where(module, one.line)} imports {one.module}, the maths needs torch alone"
        for module, path in files().items()
        if room_of(path).split("/")[0] == "maths"
        for one in imports_of(module)
        if one.module.partition(".")[0] not in known
    ]
    none_of(found)


def test_imports_are_absolute_and_name_modules_that_exist():
    found = [
        f"{where(module, one.line)} imports {one.module}"
        for module in files()
        for one in imports_of(module)
        if one.module.startswith(".") or (one.module.partition(".")[0] in PACKAGES and one.module not in files())
    ]
    none_of(found)


def test_no_file_imports_itself_in_a_circle():
    found = circles(import_graph())
    none_of(found)


def test_no_rooms_import_each_other_in_a_circle():
    found = circles(room_graph())
    none_of(found)


def test_the_package_itself_has_no_loose_module_but_the_one_that_the_installed_pth_file_names():
    loose = {path.name for path in (REPOSITORY / PACKAGE).glob("*.py")}
    assert loose == {"__init__.py", "extension_path.py"}


@pytest.mark.parametrize("name", [name for name in rooms() if not name.endswith(".py")])
def test_the_init_file_of_a_room_says_what_lives_there_and_what_it_imports(name):
    path = place_of(name) / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    if len(docstring.split()) < 6 or "import" not in docstring.lower():
        none_of([f"{path.relative_to(REPOSITORY)} says {docstring!r}: neither what lives there nor what it imports"])
    rest = [ast.unparse(node).partition(" = ")[0] for node in tree.body[1:]]
    assert rest == (["__version__"] if name == PACKAGE else [])


def test_no_file_is_longer_than_a_reader_can_keep_in_mind():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files().values()}
    found = [f"{path.relative_to(REPOSITORY)} has {n} lines" for path, n in lengths.items() if n > LONGEST_FILE]
    none_of(found)


def test_names_of_modules_in_texts_are_right():
    """In docstrings, in strings and in files that are no Python, where no import would notice."""
    texts = [path for folder in (*PACKAGES, "tests", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")]
    texts += [REPOSITORY / PACKAGE / "study" / "Snakefile", REPOSITORY / "pyproject.toml"]
    found = []
    for path in texts:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            names = DOTTED.findall(line)
            names += [f"{source}.{name}" for source, inside in FROM.findall(line) for name in inside.split(", ")]
            found += [
                f"{path.relative_to(REPOSITORY)}:{number} names {name}, which is not there"
                for name in names
                if not is_there(name)
            ]
    none_of(found)


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module defines or imports."""
    module = name
    while module not in files():
        module = module.rpartition(".")[0]
    inside = name.removeprefix(module).removeprefix(".").partition(".")[0]
    return inside in ("", "pth") or inside in names_in(module)


def names_in(module: str) -> set[str]:
    """What a module defines or imports, and the variables in it."""
    nodes = list(ast.walk(ast.parse(files()[module].read_text(encoding="utf-8"))))
    names = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names |= {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}


def test_imports_are_found_wherever_they_stand():
    text = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from a.b import c\n"
        "def f():\n    import a.b.d as e\n    from . import g\n"
    )
    found = {(one.line, one.module) for one in imports_in(text, {"a", "a.b", "a.b.c"})}
    assert found == {(1, "typing"), (3, "a.b.c"), (5, "a.b.d"), (6, ".")}


def test_circles_are_found_and_shown_by_their_shortest_way():
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "b"], "d": ["a"], "e": ["e"]}
    assert circles(graph) == ["b -> c -> b (a knot of 3)", "e -> e (a knot of 1)"]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []
