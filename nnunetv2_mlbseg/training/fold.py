"""The cases of a training: who trains, who validates, and that the one has nothing to do with the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import join
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunetv2_mlbseg.cases.leakage_guard import HeldOut
from nnunetv2_mlbseg.cases.roles import FoldRoles, roles_of_fold
from nnunetv2_mlbseg.cases.shown_classes import ShownClasses
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.method import Method
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures, refuse_problems


@dataclass(frozen=True)
class Fold:
    """The cases of one fold.

    Attributes:
        roles: All of them.
        training: Those that train, sorted.
        held_out: The guard of those that do not.
        only_noisy: Foreground classes, or regions, that noisy labels show and no clean one does, by their outputs.
        unshown: Those of them of which clean images say nothing in this training.
        class_lines: For the log, on classes that no clean label shows.
    """

    roles: FoldRoles
    training: tuple[str, ...]
    held_out: HeldOut
    only_noisy: tuple[int, ...] = ()
    unshown: tuple[int, ...] = ()
    class_lines: tuple[str, ...] = ()

    @property
    def unlabeled_train(self) -> bool:
        """Whether any unlabeled case is among those that train."""
        return not set(self.roles.unlabeled).isdisjoint(self.training)

    @classmethod
    def checked(
        cls,
        dataset_name: str,
        fold: int | str,
        dataset_json: Mapping[str, Any],
        configuration: ConfigurationManager,
        method: type[Method],
        settings: TrainingSettings,
        processes: Processes,
    ) -> Fold:
        """Read the roles of a fold; the first process does so alone, since it may copy files.

        Raises:
            InputError: see :func:`roles_of_fold`; labels that nnU-Net cannot train on; a held-out case, or its patient,
                trains; or clean cases that show no class which a method could learn from them.
        """
        refuse_problems(dataset_json, dataset_name)
        with processes.first_alone():
            roles = roles_of_fold(
                dataset_name, configuration.data_identifier, fold, needs_imperfect=method.needs_imperfect
            )
        training = tuple(sorted(case for role in method.roles(settings) for case in getattr(roles, role)))
        held_out = HeldOut.of_fold(
            dataset_name,
            dataset_json["file_ending"],
            training,
            roles,
            patient_regex=settings.patient_regex,
            allowed=settings.allow_leakage,
        )
        held_out.check_names()
        data = join(nnUNet_preprocessed, dataset_name, configuration.data_identifier)
        shown = ShownClasses.of_fold(data, roles, Structures.of(dataset_json))
        unshown = shown.only_noisy if method.noisy_teach_unshown(settings) else ()
        if unshown and len(unshown) + len(shown.nowhere) == len(shown.names):
            raise InputError(
                f"{dataset_name}: no clean training case of fold {fold} shows a class beside the background, expected "
                f"at least one; make a case clean that does, or train with nnUNetTrainerMLBSegAllLabels"
            )
        lines = shown.lines("noisy" in method.roles(settings), bool(unshown))
        return cls(roles, training, held_out, shown.only_noisy, unshown, tuple(lines))
