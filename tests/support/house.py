"""The rooms of this repository as ``tests/house.yaml`` has them, and the imports that its files really have."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "nnunetv2_mlbseg"
PACKAGES = ("noise_synthesis", "dataset_conversion", PACKAGE)
HEAVY = ("torch", "nnunetv2")


@dataclass(frozen=True)
class Room:
    """A row of the table; ``imports`` has its groups (``NAME/*``) resolved, ``written`` has them as they stand."""

    name: str
    holds: str
    imports: tuple[str, ...]
    needs: tuple[str, ...]
    written: tuple[str, ...]


@dataclass(frozen=True)
class Import:
    """A line that imports ``module``: a module of this repository, or the name of another package."""

    line: int
    module: str


@cache
def rooms() -> dict[str, Room]:
    """The table, from the ground up."""
    table = yaml.safe_load((REPOSITORY / "tests" / "house.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, row in table.items():
        assert row.keys() <= {"holds", "imports", "needs"}, f"tests/house.yaml: {name} has an entry of no meaning"
        needs = tuple(row.get("needs", ()))
        found[name] = Room(name, row["holds"], resolved(row["imports"], table), needs, (*row["imports"], *needs))
    return found


def resolved(entries: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The rooms that a row's entries stand for."""
    found: list[str] = []
    for entry in entries:
        group = entry.removesuffix("/*")
        meant = [name for name in names if name == group or (group != entry and name.startswith(f"{group}/"))]
        assert meant, f"tests/house.yaml: no room is called {entry}"
        found += meant
    return tuple(found)


@cache
def files() -> dict[str, Path]:
    """Every module of the three packages, by its dotted name."""
    paths = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return {module_name(path): path for path in paths}


def module_name(path: Path) -> str:
    """``a/b/c.py`` and ``a/b/c/__init__.py`` are ``a.b.c``."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def room_of(path: Path) -> str:
    """The room that a file stands in."""
    inside = path.relative_to(REPOSITORY)
    if inside.parent == Path(PACKAGE):
        return PACKAGE if path.name == "__init__.py" else path.name
    return inside.parent.as_posix().removeprefix(f"{PACKAGE}/")


def place_of(room: str) -> Path:
    """The folder of a room, or its file."""
    return REPOSITORY / (room if room.split("/")[0] in PACKAGES else f"{PACKAGE}/{room}")


def imports_in(text: str, modules: Iterable[str]) -> Iterator[Import]:
    """What a file imports, wherever in it: in functions and under ``TYPE_CHECKING`` as well.

    ``from a import b`` counts as ``a.b`` where that is one of ``modules``, else as ``a``.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield Import(node.lineno, whole if whole in modules else source)


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """The imports of a module of this repository, by line."""
    text = files()[module].read_text(encoding="utf-8")
    return tuple(sorted(set(imports_in(text, files())), key=lambda found: (found.line, found.module)))


def where(module: str, line: int) -> str:
    """``folder/file.py:line``."""
    return f"{files()[module].relative_to(REPOSITORY)}:{line}"


def import_graph() -> dict[str, set[str]]:
    """Which files each file imports."""
    return {module: {found.module for found in imports_of(module)} & files().keys() for module in files()}


def room_graph() -> dict[str, set[str]]:
    """Which other rooms the files of each room import."""
    graph: dict[str, set[str]] = {}
    for module, targets in import_graph().items():
        room = room_of(files()[module])
        graph.setdefault(room, set()).update(room_of(files()[target]) for target in targets)
        graph[room].discard(room)
    return graph


def reached(start: str, graph: Mapping[str, Iterable[str]]) -> set[str]:
    """Everything behind a node: what it leads to, what that leads to, and so on."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in set(graph.get(waiting.pop(), ())) - found:
            found.add(name)
            waiting.append(name)
    return found


def circles(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """One shortest circle for each group of nodes that lead to each other, as ``a -> b -> a``, and how many do."""
    behind = {node: reached(node, graph) for node in graph}
    groups = {frozenset(other for other in behind[node] if node in behind.get(other, ())) for node in graph}
    return sorted(f"{' -> '.join(_way_round(group, graph))} (a knot of {len(group)})" for group in groups if group)


def _way_round(group: frozenset[str], graph: Mapping[str, Iterable[str]]) -> list[str]:
    ways = [[node] for node in sorted(group)]
    while True:
        longer = [[*way, target] for way in ways for target in sorted(set(graph[way[-1]]) & group)]
        closed = [way for way in longer if way[0] == way[-1]]
        if closed:
            return closed[0]
        ways = [way for way in longer if len(set(way)) == len(way)]
