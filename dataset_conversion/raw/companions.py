"""Files that belong to an image or a label and lie beside it: the spacing of tiff files, voxels apart from a header."""

from __future__ import annotations

import re
from pathlib import Path

from dataset_conversion.raw.dataset import link_or_copy
from dataset_conversion.raw.formats import DatasetFormat
from noise_synthesis.safe_io.errors import InputError

CHANNEL = re.compile(r"_\d{4}$")


def companions(path: Path, case: str, format: DatasetFormat, *, is_image: bool) -> dict[str, Path]:
    """The files that belong to an image or label, by the names that they need beside a case of that name.

    Raises:
        InputError: the voxels, or the spacing, lie where they are not found.
    """
    if format.reader_writer.__name__ == "Tiff3DIO":
        stem = path.name[: -len(format.ending)]
        if is_image:
            if not CHANNEL.search(stem) and path.with_name(f"{stem}.json").is_file():
                raise InputError(
                    f"{path}: nnU-Net looks for the spacing of an image under its name less five characters, and so "
                    f"does not find {stem}.json; rename the image to {stem}_0000{format.ending}"
                )
            stem = stem[:-5]
        beside = path.with_name(f"{stem}.json")
        return {f"{case}.json": beside} if beside.is_file() else {}
    return {found.name: found for found in _named_in_header(path)}


def link_with_companions(
    path: Path, folder: Path, name: str, case: str, format: DatasetFormat, *, is_image: bool
) -> None:
    """Give a file, and those that belong to it, a second name in a folder."""
    link_or_copy(path, folder / (name + format.ending))
    for beside, source in companions(path, case, format, is_image=is_image).items():
        if not (folder / beside).exists():  # the channels of a case share one
            link_or_copy(source, folder / beside)


def _named_in_header(path: Path) -> list[Path]:
    """The file of voxels that an image file of two parts names."""
    name = path.name.lower()
    if name.endswith(".hdr"):
        image = path.with_name(path.name[:-4] + ".img")
        return [image] if image.is_file() else []
    key = "elementdatafile" if name.endswith(".mhd") else "data file" if name.endswith(".nhdr") else None
    if key is None:
        return []
    with path.open("rb") as file:
        lines = file.read(1 << 16).decode("latin-1").splitlines()
    values = [line.replace(":", "=", 1).partition("=")[2].strip() for line in lines if line.lower().startswith(key)]
    found = [Path(value) for value in values if value not in ("", "LOCAL")]
    if any(len(file.parts) > 1 and not file.is_absolute() for file in found):
        raise InputError(f"{path}: its voxels lie in another folder ({found[0]}); save it as one file (.mha, .nrrd)")
    return [path.parent / file for file in found if not file.is_absolute()]
