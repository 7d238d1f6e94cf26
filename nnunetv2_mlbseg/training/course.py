"""What a training is going to do, checked before anything is written: method, cases and stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import PLANS_KEY, environment_value, resolve
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training import support
from nnunetv2_mlbseg.training.fold import Fold
from nnunetv2_mlbseg.training.method import Method
from nnunetv2_mlbseg.training.stages import Stages


@dataclass(frozen=True)
class Configurable:
    """How a trainer class is configured.

    Attributes:
        settings: The class that its settings are of.
        fixed: Settings that the trainer fixes.
        defaults: Settings that it changes the default of; plans and environment still override them.
        method_of: The method that trains under given settings.
    """

    settings: type[TrainingSettings]
    fixed: Mapping[str, Any]
    defaults: Mapping[str, Any]
    method_of: Callable[[Any], type[Method]]


@dataclass(frozen=True)
class Course:
    """Settings, method, cases and stages of a training."""

    settings: Any
    method: type[Method]
    cases: Fold
    stages: Stages
    processes: Processes

    @property
    def cases_lines(self) -> str:
        """For the log: who trains, and which classes the clean cases do not show."""
        return "\n".join([self.method.cases_line(self.settings, self.cases.roles), *self.cases.class_lines])

    @classmethod
    def checked(
        cls,
        trainer: Configurable,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
    ) -> Course:
        """Resolve the settings, read the roles of the fold, lay out the stages.

        Raises:
            InputError: settings, roles or batch sizes that cannot be; the line says what is expected.
            UnsupportedError: a configuration that is not trained; the line says what to use instead.
        """
        chosen, processes = support.check_supported(plans, configuration), Processes.present()
        sources = chosen.configuration.get(PLANS_KEY), environment_value(), trainer.fixed, trainer.defaults
        settings = resolve(trainer.settings, *sources, dims=len(chosen.patch_size))
        support.check_deep_supervision(configuration, len(chosen.pool_op_kernel_sizes), settings.deep_supervision)
        method = trainer.method_of(settings)
        support.check_regions_supported(method.__name__, method.takes_regions, dataset_json)
        support.check_whole_batch(method.__name__, method.needs_whole_batch, processes)
        cases = Fold.checked(plans["dataset_name"], fold, dataset_json, chosen, method, settings, processes)
        of_method = method.stages(settings, chosen.batch_size, cases.roles)
        stages = Stages(of_method, chosen.patch_size, processes.count)
        if cases.unlabeled_train:
            support.check_unlabeled_supported(configuration, chosen, stages)
        processes.check_batch(chosen.batch_size, "batch_size in the plans file")
        stages.check_batches(processes)
        return cls(settings, method, cases, stages, processes)
