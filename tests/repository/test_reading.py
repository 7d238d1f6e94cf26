"""Image files are read in one place only: a cut file that goes past it is read as zeros, and nobody notices."""

from __future__ import annotations

import ast

import pytest
from house import REPOSITORY, files

READERS = {"ReadImage", "ImageFileReader", "ImageSeriesReader", "read_images", "read_seg", "imread", "TiffFile"}
LIBRARIES = {"nibabel", "nib", "tifffile", "io", "Image"}
DOOR = "read_files"


def reads_in(tree: ast.AST, *, behind_the_door: bool = False) -> list[int]:
    """Lines that read an image file by a library, but for those within the arguments of the one function for it."""
    found: list[int] = []
    for node in ast.iter_child_nodes(tree):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == DOOR
        inside = behind_the_door or called
        if isinstance(node, ast.Attribute) and not inside:
            of_library = isinstance(node.value, ast.Name) and node.value.id in LIBRARIES
            if node.attr in READERS or (of_library and node.attr in ("load", "open")):
                found.append(node.lineno)
        found += reads_in(node, behind_the_door=inside)
    return found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x = sitk.ReadImage(name)", [1]),
        ("y = 0\nx = reader().read_seg(name)", [2]),
        ("x = nibabel.load(name)", [1]),
        ("x = Image.open(name)", [1]),
        ("x = read_files(lambda names: sitk.ReadImage(names[0]), paths)", []),
        ("x = path.open('rb')\nx = json.load(file)", []),
    ],
)
def test_a_direct_read_is_seen(text, lines):
    assert reads_in(ast.parse(text)) == lines


def test_no_file_reads_images_past_the_one_function():
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in files().values()
        for line in reads_in(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
