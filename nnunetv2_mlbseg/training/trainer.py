"""One trainer on nnU-Net's seams, for any learning method. No formula lives here, and no method is known here."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import join
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_mlbseg.cases.datasets import dataset_class
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, mirror_axes
from nnunetv2_mlbseg.cases.worker_processes import close
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress.undefined_dice import hold_undefined_dice_
from nnunetv2_mlbseg.runtime import errors, random_state
from nnunetv2_mlbseg.runtime.nnunet_version import check_version
from nnunetv2_mlbseg.runtime.threads import prepare_cpu
from nnunetv2_mlbseg.training import companions
from nnunetv2_mlbseg.training.course import Configurable, Course
from nnunetv2_mlbseg.training.descent import sgd
from nnunetv2_mlbseg.training.inference import swapped, whole_predictions
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.loading import LabelStores, Loading
from nnunetv2_mlbseg.training.method import Method
from nnunetv2_mlbseg.training.nnunet_fields import fields_of, take_fields_
from nnunetv2_mlbseg.training.precision import settle_
from nnunetv2_mlbseg.training.preflight import Preflight
from nnunetv2_mlbseg.training.run import Run
from nnunetv2_mlbseg.training.saving import Saving
from nnunetv2_mlbseg.training.stages import LATEST, Stage
from nnunetv2_mlbseg.training.stopping import Stopping
from nnunetv2_mlbseg.training.task import Task
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch


class nnUNetTrainerMethod(nnUNetTrainer):
    """nnU-Net's training with a learning method in it, which a subclass names."""

    method: ClassVar[type[Method]]
    variant: ClassVar[Mapping[str, Any]] = {}
    """Settings that a subclass fixes; an ablation changes nothing else."""
    variant_defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings that a subclass changes the default of; plans and environment still override them."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net reads this signature)
    ):
        errors.install()
        check_version()
        prepare_cpu(device)
        configurable = Configurable(self.method.Settings, self.variant, self.variant_defaults, self.method_of)
        self.course = Course.checked(configurable, plans, configuration, fold, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp and not torch.cuda.is_available():  # nnU-Net takes a GPU per process for granted
            self.device, self.grad_scaler = torch.device("cpu"), None
        self.settings, self.roles, self.processes = self.course.settings, self.course.cases.roles, self.course.processes
        self.num_epochs, self.save_every = self.course.stages.epochs, self.settings.save_every
        self.num_val_iterations_per_epoch = self.settings.val_iterations_per_epoch
        self.initial_lr, self.weight_decay = self.settings.initial_lr, self.settings.weight_decay
        self.enable_deep_supervision = self.settings.deep_supervision
        report, data = self.print_to_log_file, self.preprocessed_dataset_folder
        folder, of_nnunet = Path(self.output_folder), (self.plans_manager, self.configuration_manager, dataset_json)
        stores = LabelStores.of_fold(folder, self.processes.rank)
        self.run = Run(self.course, report)
        self.loading = Loading(data, self.roles, stores, *of_nnunet, report)
        self.preflight = Preflight(folder, stores.written, data, self.course.cases, self.processes, report)
        self.stopping = Stopping(not self.is_ddp, self._save_to_go_on, report)
        self.learning: Learning  # made in initialize, as the network is
        report("MLB-Seg configuration:", self.settings.as_dict(), add_timestamp=False)

    @classmethod
    def method_of(cls, settings: Any) -> type[Method]:
        """The method that trains under these settings."""
        return cls.method

    @property
    def stage(self) -> Stage:
        """What the current epoch belongs to."""
        return self.course.stages.at(self.current_epoch)

    def initialize(self) -> None:
        """nnU-Net's set-up, then all that learns."""
        if self.settings.seed is not None:
            random_state.seed_everything(self.settings.seed)
        # Several processes average gradients themselves: some are needed before any loss.backward().
        shared, self.is_ddp = self.is_ddp, False
        super().initialize()
        self.is_ddp = shared
        networks = {"student": self.network, "heads": self._heads}
        steps = {"optimizer": self.optimizer, "grad_scaler": self.grad_scaler, "loss": self.loss}
        self.learning = Learning(self.course, self._task, device=self.device, **networks, **steps)
        own_network = type(self).build_network_architecture is not nnUNetTrainer.build_network_architecture
        where, report = f"{self.plans_manager.dataset_name}, fold {self.fold}", self.print_to_log_file
        self.saving = Saving(self.run, self.learning, own_network, where, report)

    def configure_optimizers(self):
        """SGD as configured, over the network and the method's heads."""
        labels, patch_size = self.label_manager, self.configuration_manager.patch_size
        of_cases = self.roles, self.course.cases.unshown, mirror_axes(self), plain_network(self.network)
        self._task = Task.of(self.num_input_channels, labels, patch_size, *of_cases)
        self._heads = companions.made(self.course, self._task, self._do_i_compile(), self.print_to_log_file)
        return sgd([*self.network.parameters(), *self._heads.parameters()], self.settings, self.num_epochs)

    def _build_loss(self):
        """nnU-Net's loss, over all processes and without a wait for the device."""
        return over_whole_batch(super()._build_loss(), self.label_manager.ignore_label, self.processes)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's own expects its data-parallel wrapper, which is not used here."""
        plain_network(self.network).decoder.deep_supervision = enabled  # type: ignore[union-attr]

    def do_split(self):
        """Training and validation cases of the fold, from the dataset's own roles and splits; never a random split."""
        return list(self.course.cases.training), list(self.roles.validation)

    def on_train_start(self) -> None:
        """Check the data once, generate labels where a resumed run needs them, build the loaders."""
        if not self.was_initialized:
            self.initialize()
        self.print_to_log_file(self.course.cases_lines)
        settle_(self.run, self.learning, (self.num_input_channels, *self.configuration_manager.patch_size))
        if self.current_epoch == 0 and self.run.partial is None:
            self.preflight.first(self.learning, self.label_manager, not self.disable_checkpointing)
        self.preflight.clear_leftovers()
        super().on_train_start()

    def get_dataloaders(self):
        """Loaders of the current stage; labels that it needs are put in place first."""
        stage = self.stage if self.current_epoch < self.num_epochs else self.stage.at_rest
        run, self.dataset_class = self.run, dataset_class(self.preprocessed_dataset_folder)
        factory = LoaderFactory.of_trainer(self, deterministic=self.settings.seed is not None)
        with random_state.preserved():  # building loaders draws; a resumed run builds them at another moment
            in_use = run.labels_in_use(self.current_epoch)
            mirror = self.inference_allowed_mirroring_axes
            run.labels_from = self.loading.prepare_labels(stage, self.learning, mirror, run.labels_from, in_use)
            run.loaded = stage.loaders
            return self.loading.loaders(stage, factory, self.stopping.request, run.seed_of(self.current_epoch))

    # --- epochs ---------------------------------------------------------------------------------------------------

    def on_epoch_start(self) -> None:
        """Enter the stage of the epoch, then nnU-Net's own."""
        if self.run.loaded != self.stage.loaders:
            with self.stopping.request.at_once():  # labels may be generated for hours, and all that counts is on disk
                close(self.dataloader_train, self.dataloader_val)
                self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self.num_iterations_per_epoch = self.run.begin(self.current_epoch, self.preprocessed_dataset_folder).left
        super().on_epoch_start()
        self.stopping.request.deferred = True

    def on_train_epoch_start(self) -> None:
        """nnU-Net's own, with the stage in the log."""
        super().on_train_epoch_start()
        self.run.enter(self.current_epoch, self.learning)

    def train_step(self, batch: dict) -> dict[str, Any]:
        """One iteration of the current stage, then the teacher's update."""
        moment, nnunets = self.run.moment(self.current_epoch), super().train_step
        found = self.learning.iteration(self.stage, batch, moment, nnunets)
        self.run.epoch.add_(found)
        self.stop_if_asked()
        return found

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log nnU-Net's values and ours."""
        summary = self.run.summarize()
        super().on_train_epoch_end([{"loss": summary.values.pop("loss")}])
        self.run.record(self.current_epoch, summary)

    def on_validation_epoch_start(self) -> None:
        """Validate the network that inference will use."""
        self.run.epoch.validation_began = random_state.capture()
        self.network = self.learning.for_inference
        super().on_validation_epoch_start()

    def validation_step(self, batch: dict) -> dict[str, Any]:
        """nnU-Net's own."""
        found = super().validation_step(batch)
        self.stop_if_asked()
        return found

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """nnU-Net's own; then the network in training is back."""
        self.network = self.learning.student
        super().on_validation_epoch_end(val_outputs)
        hold_undefined_dice_(self.logger, self.print_to_log_file)

    def on_epoch_end(self) -> None:
        """nnU-Net's own, our curves, and the networks at the end of a stage in a file of its own."""
        super().on_epoch_end()
        if self.processes.is_first:
            self.run.publish(Path(self.output_folder), type(self).__name__)
        for name in self.course.stages.kept_after(self.current_epoch):
            self._save(name, complete=True)
        if self.current_epoch < self.num_epochs:
            self.stop_if_asked(complete=True)

    def run_training(self) -> None:
        """nnU-Net's own. SIGTERM saves a checkpoint after the present iteration and ends the process."""
        with self.preflight.alone(), self.stopping.around(self):
            super().run_training()

    def stop_if_asked(self, complete: bool = False) -> None:
        """Between iterations, or after an epoch: if SIGTERM came, save where ``--c`` goes on, and end the process."""
        self.stopping.if_asked(self.run.epoch, self.current_epoch - complete, complete)

    def on_train_end(self) -> None:
        """nnU-Net's own; then the loaders' workers end."""
        super().on_train_end()
        close(self.dataloader_train, self.dataloader_val)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's own, with the network chosen by ``inference_network``."""
        written = Path(self.output_folder) / "validation", self.roles.validation, self.dataset_json["file_ending"]
        with swapped(self, self.learning.for_inference), whole_predictions(*written), self.stopping.listening():
            super().perform_actual_validation(save_probabilities)

    def _save_to_go_on(self, complete: bool) -> str:
        self.run.partial = None if complete else self.run.epoch.partial()
        self._save(LATEST, complete)
        return "nothing of it was saved" if self.disable_checkpointing else "--c goes on from here"

    def _save(self, name: str, complete: bool) -> None:
        """``complete``: between two epochs; save_checkpoint stores the number of the present one plus one."""
        self.current_epoch -= complete
        self.save_checkpoint(join(self.output_folder, name))
        self.current_epoch += complete

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's format with more in it; the first process writes, in all of them the networks are the same."""
        if self.disable_checkpointing and self.processes.is_first:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
        elif self.processes.is_first:
            self.saving.write(fields_of(self, complete=self.run.partial is None), self.stage, filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Go on exactly where a checkpoint of this trainer was written."""
        if not self.was_initialized:
            self.initialize()
        found = self.saving.read(filename_or_checkpoint, self.device)
        take_fields_(self, found)
        self.saving.take(found, self.current_epoch)
