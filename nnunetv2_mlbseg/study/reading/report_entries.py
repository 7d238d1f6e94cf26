"""The parts of a study file that say what to report: tables and figures."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from nnunetv2_mlbseg.study.reading import entries
from nnunetv2_mlbseg.study.reading.description import Dataset, Variant
from nnunetv2_mlbseg.study.reading.entries import Entries
from nnunetv2_mlbseg.study.reading.paper import method_names, table_names
from noise_synthesis.safe_io.errors import InputError

DISTANCES = ("hd", "hd95", "asd", "assd")
MEASURES = ("dice", "jaccard", *(f"{name}_{unit}" for name in DISTANCES for unit in ("voxels", "mm")))
DEFAULT_MEASURES = ("dice", "jaccard", "hd_voxels", "asd_voxels")
LAYOUTS = ("variants", "settings")
FIGURES = ("dice_over_views", "weights_over_training")


def read_table(
    content: Any, where: str, datasets: Mapping[str, Dataset], variants: Mapping[str, Variant]
) -> dict[str, Any]:
    """One table: which settings and variants, laid out how, and which of the paper's tables stands beside."""
    table = Entries(content, where)
    found = {
        "title": table.take("title", entries.TEXT),
        "places": places_of(table.take("where", entries.TEXTS), datasets, where),
        "variants": table.take("variants", entries.some_of(*variants), list(variants)),
        "measures": table.take("measures", entries.some_of(*MEASURES), list(DEFAULT_MEASURES)),
        "layout": table.take("layout", entries.one_of(*LAYOUTS), "variants"),
        "paper": read_paper(
            table.take("paper", entries.MAPPING, {}), f"{where}: paper", found_rows(variants, datasets)
        ),
    }
    table.finish()
    return found


def found_rows(variants: Mapping[str, Variant], datasets: Mapping[str, Dataset]) -> list[str]:
    """What a row of a table can be called in the study file."""
    return [*variants, *(setting for dataset in datasets.values() for setting in dataset.settings)]


def read_paper(content: Mapping[str, Any], where: str, rows: list[str]) -> dict[str, Any]:
    """Which rows of a table of the paper stand beside which of ours; for settings, by variant if need be."""
    if not content:
        return {}
    paper = Entries(content, where)
    name = paper.take("table", entries.one_of(*table_names()))
    matched = dict(paper.take("rows", entries.MAPPING))
    paper.finish()
    for row, method in matched.items():
        of_variants = method if isinstance(method, Mapping) else {row: method}
        for key, one in ((row, None), *of_variants.items()):
            if key not in rows:
                raise InputError(f"{where}: rows: '{key}' is neither a variant nor a setting of this study")
            if one is not None and one not in method_names(name):
                raise InputError(f"{where}: rows: {name} has no row {one!r}; it has {method_names(name)}")
    return {"table": name, "rows": matched}


def read_figure(
    content: Any, where: str, datasets: Mapping[str, Dataset], variants: Mapping[str, Variant]
) -> dict[str, Any]:
    """One figure: two variants, or two series of variants, with and without the mean teacher."""
    figure = Entries(content, where)
    kind = figure.take("kind", entries.one_of(*FIGURES))
    a_series = (lambda value: is_series(value, variants), "a mapping of the number of views to a variant")
    a_variant = entries.one_of(*variants)
    check = a_series if kind == "dice_over_views" else a_variant
    found = {
        "kind": kind,
        "title": figure.take("title", entries.TEXT),
        "places": places_of(figure.take("where", entries.TEXTS), datasets, where),
        "with": figure.take("with_teacher", check),
        "without": figure.take("without_teacher", check),
    }
    figure.finish()
    if kind == "weights_over_training" and len(found["places"]) > 1:
        raise InputError(f"{where}: where names {found['places']}, expected one of them for {kind}")
    return found


def is_series(value: Any, variants: Mapping[str, Variant]) -> bool:
    """``{1: mlb_1_view, 2: mlb_2_views}``."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, int) for key in value)
        and set(map(str, value.values())) <= set(variants)
    )


def places_of(patterns: list[str], datasets: Mapping[str, Dataset], where: str) -> list[str]:
    """The DATASET/SETTINGs that patterns name, in the order of the study file."""
    everything = [f"{dataset.name}/{setting}" for dataset in datasets.values() for setting in dataset.settings]
    for pattern in patterns:
        if not fnmatch.filter(everything, pattern):
            raise InputError(
                f"{where}: where has '{pattern}', which no DATASET/SETTING matches; there are {everything}"
            )
    return [place for place in everything if any(fnmatch.fnmatchcase(place, pattern) for pattern in patterns)]
