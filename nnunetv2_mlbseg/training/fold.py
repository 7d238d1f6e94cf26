"""The cases of a training: who trains, who validates, and that the one has nothing to do with the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from dataset_conversion.supervision.label_values import refuse_label_values
from nnunetv2_mlbseg.cases.leakage_guard import HeldOut
from nnunetv2_mlbseg.cases.roles import FoldRoles, roles_of_fold
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.method import Method


@dataclass(frozen=True)
class Fold:
    """The cases of one fold.

    Attributes:
        roles: All of them.
        training: Those that train, sorted.
        held_out: The guard of those that do not.
    """

    roles: FoldRoles
    training: tuple[str, ...]
    held_out: HeldOut

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
            InputError: see :func:`roles_of_fold`; label values have a gap; or a held-out case, or its patient, trains.
        """
        refuse_label_values(dataset_json["labels"], dataset_name)
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
        return cls(roles, training, held_out)
