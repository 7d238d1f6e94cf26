"""Labels that a training cannot take from nnU-Net's preprocessed folder are put in place before they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_mlbseg.cases.datasets import open_dataset
from nnunetv2_mlbseg.cases.former_labels import FormerPair, former_pairs
from nnunetv2_mlbseg.cases.further_labels import FurtherLabels
from nnunetv2_mlbseg.cases.label_correction import AS_THEY_ARE, Correction, correct
from nnunetv2_mlbseg.cases.label_generation import divide, fit_bias, generate
from nnunetv2_mlbseg.cases.label_store import Kind, LabelStore
from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.networks.fingerprints import fingerprint
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

OTHERS: dict[Kind, str] = {
    "generated": "they come from another warm-up",
    "true": "they are other ones",
    "corrected": "they come from another network",
}
"""What is said of labels whose source is not the one that the training knows, by the kind of labels."""


@dataclass(frozen=True)
class LabelPreparation:
    """Generated, corrected and true labels of a fold, made by all processes together.

    All methods return the fingerprint of what the labels came from. The training keeps it in its checkpoints; a
    resumed one hands it back as ``known`` and finds the very labels it was trained with, or is refused.

    Attributes:
        folder: nnU-Net's preprocessed cases.
        report: Takes the lines for the log.
    """

    folder: str
    roles: FoldRoles
    processes: Processes
    report: Callable[[str], None]

    def generated(
        self, store: LabelStore, predictor: CasePredictor, *, known: str | None, begun: bool, align: bool
    ) -> str:
        """Eq. 1, once: label the unlabeled cases; a killed run goes on after the last complete case.

        Args:
            store: One for each process, of one folder.
            predictor: Its network labels, and is ready for inference.
            known: The fingerprint in the checkpoint; None: no labels were generated.
            begun: Whether the training has used the labels already. Then they are only checked.
            align: Give the labels the class shares of the clean cases.

        Raises:
            InputError: labels that the training has used are missing or other ones.
        """
        cases = self.roles.unlabeled
        if known is not None and begun:
            check_labels(store, cases, known)
            return known
        how = "-aligned" if align else ""
        source = self.processes.gather(fingerprint(predictor.network) + how)[0]
        with self.processes.first_alone():
            store.start(source)
        self.report(f"Generating labels of {len(cases)} unlabeled cases (Eq. 1) in {store.folder}")
        if align:
            self._fit_bias(store, predictor)
        done = self.processes.gather(store.complete())[0]  # the same for all: a fast one may finish a case
        own = divide(cases, done, self.processes)
        generate(predictor, open_dataset(self.folder, own), own, store, self.report)
        self._unite(store)
        return source

    def corrected(
        self,
        store: LabelStore,
        predictor: CasePredictor,
        correction: Callable[[], Correction | None],
        *,
        known: str | None,
        begun: bool,
    ) -> str:
        """Correct the labels of the noisy cases, once; a killed run goes on after the last complete case.

        Args:
            store, predictor: See :meth:`generated`.
            correction: Makes the method's; None: labels stay as they are.
            known: The fingerprint in the checkpoint; that of an earlier correction before this one is in use.
            begun: Whether the training has used the labels already. Then they are only checked.

        Raises:
            InputError: labels that the training has used are missing or other ones.
        """
        if known is not None and begun:
            check_labels(store, () if known == AS_THEY_ARE else self.roles.noisy, known)
            return known
        how = correction()
        source = AS_THEY_ARE if how is None else f"{fingerprint(predictor.network)} {how.name}"
        source = self.processes.gather(source)[0]
        with self.processes.first_alone():
            store.start(source)
        if how is not None:
            self.report(f"Correcting labels of {len(self.roles.noisy)} noisy cases ({how.name}) in {store.folder}")
            done = self.processes.gather(store.complete())[0]
            own = divide(self.roles.noisy, done, self.processes)
            correct(predictor, open_dataset(self.folder, own), own, store, how, self.report)
            self._unite(store)
        return source

    def _unite(self, store: LabelStore) -> None:
        """When all processes are done."""
        self.processes.wait()
        with self.processes.first_alone():
            store.unite()

    def _fit_bias(self, store: LabelStore, predictor: CasePredictor) -> None:
        """Find the bias of the generated labels, unless a killed run has found it already, and say what it is."""
        bias = self.processes.gather(store.bias())[0]
        if bias is None:
            clean, unlabeled = (open_dataset(self.folder, cases) for cases in (self.roles.clean, self.roles.unlabeled))
            bias = fit_bias(predictor, clean, unlabeled, self.processes, self.report)
            if self.processes.is_first:
                store.keep_bias(bias)
            self.processes.wait()
        names = predictor.structures.values
        pairs = zip(names, bias[-len(names) :], strict=True)  # class 0 has none
        found = ", ".join(f"{name} {value:+.2f}" for name, value in pairs)
        self.report(f"Log-odds added for the class shares of the clean cases (align_shares): {found}")

    def true(
        self,
        store: LabelStore,
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
        *,
        known: str | None,
        begun: bool,
    ) -> str | None:
        """Preprocess the true labels of the imperfect cases; for upper bounds and studies only.

        Args:
            known: The fingerprint in the checkpoint.
            begun: Whether the training has completed an epoch with the labels. Then they are only checked.

        Raises:
            InputError: see :class:`FurtherLabels`; or labels that the training has used are missing or other ones.
        """
        cases = self.roles.imperfect
        if begun:
            check_labels(store, cases, known)
            return known
        true = FurtherLabels.of_dataset(cases, plans, configuration, dataset_json)
        with self.processes.first_alone():  # the others find the labels prepared
            source = true.prepare(open_dataset(self.folder, cases), store, self.report)
        return source

    def former(
        self,
        store: LabelStore,
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> Iterator[FormerPair] | None:
        """Preprocess the former labels of the clean training cases, and pair them with the present ones.

        Returns:
            The pairs; None where nnUNet_raw is not set, so that nothing is known of former labels.

        Raises:
            InputError: see :meth:`FurtherLabels.prepare`.
        """
        found = FurtherLabels.former(self.roles.clean, plans, configuration, dataset_json)
        if found is None:
            self.report("nnUNet_raw is not set, so no former and further labels were looked for")
            return None
        if not found.cases:
            return iter(())
        dataset = open_dataset(self.folder, found.cases)
        with self.processes.first_alone():
            found.prepare(dataset, store, self.report)
        self.report(f"How labels err is known from former labels of {len(found.cases)} clean training cases")
        how = Structures.of(dataset_json), configuration.patch_size
        return former_pairs(dataset, store, self.roles.source_number, *how)

    def further(
        self,
        store: Callable[[str], LabelStore],
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> Iterator[FormerPair]:
        """Preprocess the further labels of all training cases; those of clean ones are paired with the present ones.

        Args:
            store: Where those of a source are kept.

        Raises:
            InputError: see :meth:`FurtherLabels.prepare`.
        """
        pairs: list[Iterator[FormerPair]] = []
        for source, cases in self.roles.further:
            labels, kept = FurtherLabels.of_source(source, cases, plans, configuration, dataset_json), store(source)
            with self.processes.first_alone():
                labels.prepare(open_dataset(self.folder, cases), kept, self.report)
            clean = [case for case in cases if case in self.roles.clean]
            self.report(f"Further labels by {source}: of {len(cases) - len(clean)} noisy and {len(clean)} clean cases")
            numbers = dict.fromkeys(clean, self.roles.number_of_source(source))
            how = Structures.of(dataset_json), configuration.patch_size
            pairs.append(former_pairs(open_dataset(self.folder, clean), kept, numbers.__getitem__, *how))
        return chain(*pairs)


def check_labels(store: LabelStore, cases: Collection[str], source: str | None) -> None:
    """Refuse to go on with other labels than those of before.

    Args:
        source: The fingerprint of what those came from.

    Raises:
        InputError: one is missing, or they came from something else.
    """
    missing = sorted(set(cases) - store.complete())
    if missing or store.source() != source:
        what = f"{len(missing)} cases are missing" if missing else OTHERS[store.kind]
        raise InputError(
            f"{store.folder}: {what}, expected the {store.kind} labels this checkpoint was trained with; "
            f"restore the folder, or train again without --c"
        )
