"""Take entries out of a mapping that came from a YAML file; whatever is wrong is one line that names the place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from noise_synthesis.safe_io.errors import InputError

REQUIRED: Any = object()


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which would otherwise let the last of two equal keys win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"the key '{twice}' stands twice in the mapping that begins in line {line}")
        return super().construct_mapping(node, deep)


def load(text: str, where: str) -> Any:
    """Parse YAML.

    Raises:
        InputError: it is not YAML, or a key stands twice.
    """
    try:
        return yaml.load(text, UniqueKeyLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{where}: not valid YAML{place}: {problem}") from None


class Entries:
    """A mapping of the file, and where it stands; every key must be taken."""

    def __init__(self, content: Any, where: str):
        if not isinstance(content, Mapping):
            raise InputError(f"{where}: got {shown(content)}, expected a mapping of keys and values")
        self.content, self.where = dict(content), where
        self._known: list[str] = []

    def take(self, key: str, check: tuple[Callable[[Any], bool], str], default: Any = REQUIRED) -> Any:
        """The value of a key, checked."""
        self._known.append(key)
        if key not in self.content or (self.content[key] is None and default is None):
            self.content.pop(key, None)
            if default is REQUIRED:
                raise InputError(f"{self.where}: {key} is missing, expected {check[1]}")
            return default
        value = self.content.pop(key)
        if not check[0](value):
            raise InputError(f"{self.where}: {key} is {shown(value)}, expected {check[1]}")
        return value

    def finish(self) -> None:
        """Refuse what nobody took."""
        for key in self.content:
            near = difflib.get_close_matches(str(key), self._known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(self._known))}"
            raise InputError(f"{self.where}: unknown key '{key}'; {hint}")


def shown(value: Any) -> str:
    """A value as it may stand in an error line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(least: int) -> tuple[Callable[[Any], bool], str]:
    """A whole number."""
    return lambda value: _is_whole(value) and value >= least, f"a whole number, {least} or more"


def whole_list(least: int) -> tuple[Callable[[Any], bool], str]:
    """A list of whole numbers."""
    return (
        lambda value: isinstance(value, list) and bool(value) and all(_is_whole(v) and v >= least for v in value),
        f"a list of whole numbers, {least} or more each",
    )


def one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    """One of some words."""
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)


def some_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    """A list of some words, each at most once, and one at least."""

    def fits(value: Any) -> bool:
        words = isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
        return words and len(set(value)) == len(value) and set(value) <= set(names)

    return fits, "a list from " + ", ".join(names)


TEXT = (lambda value: isinstance(value, str) and bool(value.strip()), "a text")
TEXTS = (
    lambda value: isinstance(value, list) and bool(value) and all(isinstance(v, str) and v for v in value),
    "a list of texts",
)
MAPPING = (lambda value: isinstance(value, Mapping), "a mapping")
LIST = (lambda value: isinstance(value, list), "a list")
BOOL = (lambda value: isinstance(value, bool), "true or false")
