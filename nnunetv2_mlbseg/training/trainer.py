"""nnUNetTrainerMLBSeg: nnU-Net's seams, and the stages composed from the other modules. No formula lives here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from os.path import join
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import nn

from nnunetv2_mlbseg.audit import after_training
from nnunetv2_mlbseg.cases.datasets import RelabelledDataset, count_slices, open_dataset
from nnunetv2_mlbseg.cases.label_preparation import LabelPreparation
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.leakage_guard import HeldOut
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader
from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.cases.roles import FoldRoles, roles_of_fold
from nnunetv2_mlbseg.cases.training_cases import METHOD, TRUE, describe, training_cases
from nnunetv2_mlbseg.cases.verification import verify_all
from nnunetv2_mlbseg.cases.worker_processes import InterruptibleLoader, abandon, close
from nnunetv2_mlbseg.maths.mean_teacher import ema_decay_at, ema_update_, make_teacher
from nnunetv2_mlbseg.methods.mlbseg.method import BootstrapStep
from nnunetv2_mlbseg.networks.fingerprints import weight_sums
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.progress.epoch_log import EpochLog, epoch_means, hold_undefined_dice
from nnunetv2_mlbseg.runtime import errors as error_line
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.nnunet_version import check_version
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.stop_request import PartialEpoch, StoppedBetweenStepsError, StopRequest
from nnunetv2_mlbseg.runtime.threads import use_requested_threads
from nnunetv2_mlbseg.settings.training import PLANS_KEY, MLBSegConfig, environment_value, resolve_config
from nnunetv2_mlbseg.training.restored import TrainedFold
from nnunetv2_mlbseg.training.step_guard import Patience, StepGuard, refuse_non_finite
from nnunetv2_mlbseg.training.support import (
    check_deep_supervision,
    check_sharing_supported,
    check_supported,
    check_unlabeled_supported,
)
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch
from noise_synthesis.safe_io.compressed import refuse_short_nifti
from noise_synthesis.safe_io.files import remove_leftovers

WARMUP, BOOTSTRAP, PLAIN = "warm-up", "bootstrapping", "plain training"


class nnUNetTrainerMLBSeg(nnUNetTrainer):
    """MLB-Seg inside nnU-Net: warm-up on the clean cases, generated labels, bootstrapping (Eq. 1-13).

    Plans, preprocessing, augmentation, inference and folders are nnU-Net's. :class:`MLBSegConfig` holds every number.
    """

    variant: ClassVar[Mapping[str, Any]] = {}
    """Configuration keys that a subclass fixes; an ablation changes nothing else."""

    variant_defaults: ClassVar[Mapping[str, Any]] = {}
    """Configuration keys that a subclass changes the default of; plans and environment still override them."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net reads this signature)
    ):
        error_line.install()
        check_version()
        use_requested_threads(device)
        configuration_manager = check_supported(plans, configuration, dataset_json)
        overrides = configuration_manager.configuration.get(PLANS_KEY)
        self.config: MLBSegConfig = resolve_config(overrides, environment_value(), self.variant, self.variant_defaults)
        check_deep_supervision(configuration, configuration_manager, self.config)
        labels = self.config.training_labels
        self.processes = Processes.present()
        with self.processes.first_alone():  # it may copy files
            self.roles: FoldRoles = roles_of_fold(
                plans["dataset_name"], configuration_manager.data_identifier, fold, needs_imperfect=labels == METHOD
            )
        self.training_cases = training_cases(self.roles, labels)
        check_unlabeled_supported(bool(self.roles.unlabeled), configuration, configuration_manager, self.config)
        self.held_out = HeldOut.of_fold(
            plans["dataset_name"],
            dataset_json["file_ending"],
            self.training_cases,
            self.roles,
            patient_regex=self.config.patient_regex,
            allowed=self.config.allow_leakage,
        )
        self.held_out.check_names()
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp and not torch.cuda.is_available():  # nnU-Net takes a GPU per process for granted
            self.device, self.grad_scaler = torch.device("cpu"), None
        self._take_settings()
        self.teacher: nn.Module  # made in initialize, as the network is
        self.ema_step = 0
        self.epoch_log = EpochLog()
        self.patience = Patience()
        self.stop = StopRequest()
        self.partial: PartialEpoch | None = None
        """Set in a checkpoint that SIGTERM asked for, and after reading one until its epoch is complete."""
        folder = Path(self.output_folder)
        self.generated = LabelStore(folder / "generated_labels", writer=self.processes.rank)
        self.true_labels = LabelStore(folder / "true_labels", kind="true")
        self.preparation = LabelPreparation(
            self.preprocessed_dataset_folder, self.roles, self.processes, self.print_to_log_file
        )
        self.generated_by: str | None = None
        self.pending_random_state: dict[str, Any] | None = None
        self._loaders_stage: str | None = None
        self._slices: dict[str, int] = {}
        self._initial_sums: dict[str, float] = {}
        self.print_to_log_file("MLB-Seg configuration:", self.config.as_dict(), add_timestamp=False)

    def _take_settings(self) -> None:
        config = self.config
        self.num_epochs = config.warmup_epochs + config.epochs
        self.num_val_iterations_per_epoch = config.val_iterations_per_epoch
        self.initial_lr, self.weight_decay = config.initial_lr, config.weight_decay
        self.enable_deep_supervision = config.deep_supervision
        self.save_every = config.save_every
        plan_batch = self.configuration_manager.batch_size
        self.batch_sizes: dict[str, int] = {  # in images, by stage
            WARMUP: config.warmup_batch_size or plan_batch,
            PLAIN: config.warmup_batch_size or plan_batch,
            BOOTSTRAP: config.clean_batch_size or plan_batch,
            "imperfect": config.imperfect_batch_size or max(1, plan_batch // (len(config.views) + 1)),
        }
        self.processes.check_batch(plan_batch, "batch_size in the plans file")
        keys = {PLAIN: "warmup_batch_size"}
        if config.training_labels == METHOD:
            keys = {WARMUP: "warmup_batch_size", BOOTSTRAP: "clean_batch_size", "imperfect": "imperfect_batch_size"}
        for batch, key in keys.items():
            self.processes.check_batch(self.batch_sizes[batch], key)

    @property
    def stage(self) -> str:
        """What the current epoch belongs to."""
        if self.config.training_labels != METHOD:
            return PLAIN
        return WARMUP if self.current_epoch < self.config.warmup_epochs else BOOTSTRAP

    @property
    def has_own_network(self) -> bool:
        """Whether a subclass builds another network than the one of the plans."""
        return type(self).build_network_architecture is not nnUNetTrainer.build_network_architecture

    # --- set-up ---------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """nnU-Net's set-up, then the teacher, the generators and the loss of the clean batch."""
        if self.config.seed is not None:
            random_state.seed_everything(self.config.seed)
        # Several processes average gradients in BootstrapStep: the clean one is needed before any loss.backward().
        shared, self.is_ddp = self.is_ddp, False
        super().initialize()
        self.is_ddp = shared
        plain = plain_network(self.network)
        check_sharing_supported(plain, self.processes)
        self.processes.copy_from_first_(plain)
        self.teacher = make_teacher(plain)
        self._initial_sums = weight_sums(plain)
        self.step_guard = StepGuard(self.optimizer, plain, scaled=self.grad_scaler is not None)
        self.bootstrap_step = BootstrapStep.of_trainer(self)

    def configure_optimizers(self):
        """SGD as configured; a decay exponent of 0 keeps the learning rate constant."""
        config = self.config
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            config.initial_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
        )
        return optimizer, PolyLRScheduler(optimizer, config.initial_lr, self.num_epochs, config.lr_decay_exponent)

    def _build_loss(self):
        """nnU-Net's loss, over all processes and without a wait for the device."""
        return over_whole_batch(super()._build_loss(), self.label_manager.ignore_label, self.processes)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's own expects its data-parallel wrapper, which is not used here."""
        decoder: Any = plain_network(self.network).decoder
        decoder.deep_supervision = enabled

    def do_split(self):
        """Training and validation cases of the fold, from the dataset's own roles and splits; never a random split."""
        return list(self.training_cases), list(self.roles.validation)

    def on_train_start(self) -> None:
        """Check the data once, generate labels where a resumed run needs them, build the loaders."""
        if not self.was_initialized:
            self.initialize()
        self.print_to_log_file(describe(self.roles, self.config.training_labels))
        if self.config.audit:
            after_training.check_before_training(
                TrainedFold.of(self),
                processes=self.processes.count,
                writes_checkpoints=not self.disable_checkpointing,
            )
        if self.current_epoch == 0 and self.partial is None:
            self._take_pretrained_weights()
            self._verify_data()
            self._set_old_training_aside()
        for folder in (self.output_folder, self.generated.folder) if self.processes.is_first else ():
            for name in remove_leftovers(folder):
                self.print_to_log_file(f"Removed {join(folder, name)}, which a killed training had not finished")
        super().on_train_start()

    def _set_old_training_aside(self) -> None:
        if self.processes.is_first and not self.disable_checkpointing:
            for name in checkpoint.set_aside(self.output_folder):
                self.print_to_log_file(f"{name} is of an earlier training, renamed to {name}.replaced")

    def _take_pretrained_weights(self) -> None:
        """Start the teacher from what ``-pretrained_weights`` put into the student, and say what it left out."""
        plain = plain_network(self.network)
        kept = [name for name, value in weight_sums(plain).items() if value == self._initial_sums[name]]
        if len(kept) == len(self._initial_sums):
            return
        self.teacher.load_state_dict(plain.state_dict())
        self.print_to_log_file(
            f"Pretrained weights: {len(self._initial_sums) - len(kept)} of {len(self._initial_sums)} tensors differ "
            f"from the initialisation; warm-up starts from them. Unchanged: {', '.join(kept) or 'none'}"
        )

    def _verify_data(self) -> None:
        if not self.config.verify_data:
            return
        cases = [*self.training_cases, *self.held_out.validation]
        images = verify_all(self.preprocessed_dataset_folder, cases, self.label_manager, self.processes)
        self.print_to_log_file(f"Read {len(images)} preprocessed cases: all usable")
        for leak in self.held_out.check_images(images):
            self.print_to_log_file(f"Allowed by allow_leakage: {leak}")

    # --- loaders --------------------------------------------------------------------------------------------------

    def _dataset(self, cases):
        return open_dataset(self.preprocessed_dataset_folder, cases)

    def get_dataloaders(self):
        """Loaders of the current stage: clean cases in the warm-up, clean and imperfect pairs afterwards.

        Plain training has one stage, with all its cases in one loader.
        """
        factory = LoaderFactory.of_trainer(self, deterministic=self.config.seed is not None)
        with random_state.preserved():  # building loaders draws; a resumed run builds them at another moment
            goes_on = self.current_epoch < self.num_epochs  # once it is finished, no imperfect case is needed
            dataset = self._plain_dataset() if self.stage == PLAIN and goes_on else self._dataset(self.roles.clean)
            loader = factory.training(dataset, self.batch_sizes[self.stage])
            if self.stage == BOOTSTRAP and goes_on:
                imperfect = factory.training(self._imperfect_dataset(), self.batch_sizes["imperfect"])
                loader = PairedLoader(loader, imperfect, self.roles.unlabeled, self.roles.number)
            validation = factory.validation(self._dataset(self.roles.validation), self.configuration_manager.batch_size)
            self._loaders_stage = self.stage
            started = factory.run(loader, validation, get_allowed_n_proc_DA(), self._seed_of_epoch())
            return tuple(InterruptibleLoader(augmenter, self.stop) for augmenter in started)

    def _seed_of_epoch(self) -> tuple[int, ...] | None:
        """Numbers that differ between epochs and between processes, which must not draw the same cases."""
        if self.config.seed is None:
            return None
        own = () if self.processes.is_first else (self.processes.rank,)
        return (self.config.seed, self.current_epoch, *own)

    def _imperfect_dataset(self) -> RelabelledDataset:
        """The imperfect cases; unlabeled ones with labels by the network as the warm-up left it (Eq. 1)."""
        if self.roles.unlabeled:
            labeller = self.teacher if self.config.pseudo_label_network == "teacher" else plain_network(self.network)
            mirror = self.inference_allowed_mirroring_axes if self.config.mirror_generated else None
            about = self.plans_manager, self.configuration_manager, self.dataset_json, mirror, self.device
            begun = self.current_epoch > self.config.warmup_epochs or self.partial is not None
            with self._for_inference(labeller):
                self.generated_by = self.preparation.generated(
                    self.generated,
                    CasePredictor(labeller, *about),
                    known=self.generated_by,
                    begun=begun,
                    align=self.config.align_shares,
                )
        return RelabelledDataset(self._dataset(self.roles.imperfect), self.roles.unlabeled, self.generated)

    def _plain_dataset(self):
        """The cases of plain training, with the labels nnU-Net preprocessed or with the true ones."""
        dataset = self._dataset(self.training_cases)
        if self.config.training_labels != TRUE:
            return dataset
        about = self.plans_manager, self.configuration_manager, self.dataset_json
        begun = self.current_epoch > 0
        self.generated_by = self.preparation.true(self.true_labels, *about, known=self.generated_by, begun=begun)
        return RelabelledDataset(dataset, self.roles.imperfect, self.true_labels)

    # --- epochs ---------------------------------------------------------------------------------------------------

    def on_epoch_start(self) -> None:
        """Enter the stage of the epoch, then nnU-Net's own."""
        if self._loaders_stage != self.stage:
            with self.stop.at_once():  # labels may be generated for hours, and all that counts is on disk
                close(self.dataloader_train)
                close(self.dataloader_val)
                self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self._before = self.partial or PartialEpoch([])
        self._outputs: list[dict[str, Any]] = []  # of this process; those of before are of the whole batch
        self._validation_began: dict[str, Any] | None = None
        self._iterations = self.config.iterations_per_epoch or self._one_pass()
        self.num_iterations_per_epoch = max(0, self._iterations - self._before.iterations)  # those left to do
        self.partial = None
        epochs = max(0, self.current_epoch - self.config.warmup_epochs)
        self.bootstrap_step.begin_epoch(epochs * self._iterations)
        self._settle_random_state()
        super().on_epoch_start()
        self.stop.deferred = True

    def _settle_random_state(self) -> None:
        """The first process goes on as its checkpoint says; the others begin every epoch from seeds of their own."""
        seeds = random_state.worker_seeds(self._seed_of_epoch(), 1)
        if self.processes.is_first:
            if self.pending_random_state is not None:
                random_state.restore(self.pending_random_state)
        elif seeds is not None:
            random_state.seed_everything(seeds[0])
        self.pending_random_state = None

    def _one_pass(self) -> int:
        """Iterations until as many slices were drawn as the clean or, after the warm-up, the imperfect cases have.

        Plain training counts them as the method would, so that both have the same number of iterations.
        """
        warms_up = self.current_epoch < self.config.warmup_epochs or not self.roles.imperfect
        stage, cases = (WARMUP, self.roles.clean) if warms_up else ("imperfect", self.roles.imperfect)
        if stage not in self._slices:
            self._slices[stage] = count_slices(self._dataset(cases))
        return math.ceil(self._slices[stage] / self.batch_sizes[stage])

    def on_train_epoch_start(self) -> None:
        """nnU-Net's own, with the stage in the log."""
        super().on_train_epoch_start()
        before = self._before.iterations
        done = f", continuing after iteration {before}" if before else ""
        generated = self.stage == BOOTSTRAP and self.roles.unlabeled
        least = self.bootstrap_step.generated_weight
        more = " or more" if self.config.align_shares and least < 1 else ""
        weight = f", weight of generated labels {least:.3g}{more}" if generated else ""
        self.print_to_log_file(f"Stage: {self.stage}, {self._iterations} iterations{done}{weight}")

    def train_step(self, batch: dict) -> dict[str, Any]:
        """One iteration of the current stage, then the teacher's update, unless the step was left out."""
        with self.step_guard.step():
            if self.stage != BOOTSTRAP:
                alone = self.processes.count == 1
                loss = super().train_step(batch)["loss"] if alone else self.bootstrap_step.warm_up(batch, self.loss)
                found = {"loss": loss, "warmup" if self.stage == WARMUP else "plain": loss}
            else:
                found = self.bootstrap_step(batch)
                if self.roles.unlabeled:
                    found["weight_generated"] = self.bootstrap_step.weight_of_generated() / self.processes.count
        found["skipped"] = self.step_guard.skipped() / self.processes.count
        if not self.step_guard.left_out:
            ema_update_(self.teacher, plain_network(self.network), ema_decay_at(self.ema_step, self.config.ema_decay))
            self.ema_step += 1
        self._outputs.append(found)
        self._stop_if_asked()
        return found

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Fetch the epoch's values from the device at once; log nnU-Net's and ours."""
        epoch = self._before.followed_by(self.processes.add_up(self._outputs))
        if epoch.forgotten:
            self.print_to_log_file(
                f"The first {epoch.forgotten} iterations ran under another configuration; the epoch's values are means "
                f"over the other {len(epoch.outputs)}"
            )
        means, steps = epoch_means(epoch.outputs), len(epoch.outputs)
        super().on_train_epoch_end([{"loss": means.pop("loss")}])
        self.epoch_log.record(self.current_epoch, means)
        for line in self.epoch_log.lines(self.current_epoch):
            self.print_to_log_file(line)
        self.patience.judge(self.current_epoch, round(means["skipped"] * steps), steps)

    def on_validation_epoch_start(self) -> None:
        """Validate the network that inference will use."""
        self._validation_began = random_state.capture()
        self._training_network = self.network
        self.network = self._inference_network()
        super().on_validation_epoch_start()

    def validation_step(self, batch: dict) -> dict[str, Any]:
        """nnU-Net's own."""
        found = super().validation_step(batch)
        self._stop_if_asked()
        return found

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """nnU-Net's own; then the network in training is back."""
        self.network = self._training_network
        super().on_validation_epoch_end(val_outputs)
        held = hold_undefined_dice(self.logger)
        if held is not None:
            self.print_to_log_file(
                f"No validation batch of this epoch shows or predicts foreground: no pseudo Dice, its running mean "
                f"stays at {held:.4f}"
            )

    def on_epoch_end(self) -> None:
        """nnU-Net's own, our curves, and the network after the warm-up in a file of its own."""
        super().on_epoch_end()
        warmup_epochs = 0 if self.stage == PLAIN else self.config.warmup_epochs
        if self.processes.is_first:
            self.epoch_log.plot(Path(self.output_folder) / "mlbseg_progress.png", warmup_epochs)
            about = {"trainer": type(self).__name__, "warmup_epochs": warmup_epochs, "views": self.config.all_views}
            about["config"] = self.config.as_dict()
            self.epoch_log.write(Path(self.output_folder) / "mlbseg_log.json", about)
        if self.current_epoch == warmup_epochs:
            self.current_epoch -= 1  # as in nnU-Net's on_train_end: save_checkpoint stores the number plus one
            self.save_checkpoint(join(self.output_folder, "checkpoint_warmup.pth"))
            if self.current_epoch + 1 < self.num_epochs:
                self.save_checkpoint(join(self.output_folder, "checkpoint_latest.pth"))
            self.current_epoch += 1
        if self.current_epoch < self.num_epochs:
            self._stop_if_asked(epoch_complete=True)

    def on_train_end(self) -> None:
        """nnU-Net's own; then the audit of the noisy labels, if one is asked for."""
        close(self.dataloader_train)  # nnU-Net's own ends no worker behind InterruptibleLoader
        close(self.dataloader_val)
        super().on_train_end()
        if not self.config.audit:
            return
        with self.stop.at_once():  # the training itself is on disk
            self.print_to_log_file(after_training.audit_training(TrainedFold.of(self)))

    # --- stopping -------------------------------------------------------------------------------------------------

    def run_training(self) -> None:
        """nnU-Net's own. SIGTERM saves a checkpoint after the present iteration and ends the process."""
        with self.stop.listening() if not self.is_ddp else nullcontext():
            try:
                super().run_training()
            except StoppedBetweenStepsError:
                self._stop_if_asked()
            except RuntimeError:
                # A signal to all processes at once ends the workers first, and nnU-Net's loader fails without them.
                if not self.stop.requested or self.step_guard.within_step:
                    raise
                self._stop_if_asked()
            finally:
                end = abandon if self.stop.requested else close
                end(self.dataloader_train)
                end(self.dataloader_val)
            if self.stop.requested:
                self.stop.exit()

    def _stop_if_asked(self, epoch_complete: bool = False) -> None:
        """Between iterations, or after an epoch: if SIGTERM came, save where ``--c`` goes on, and end the process."""
        if not self.stop.requested:
            return
        if self._validation_began is not None and not epoch_complete:
            self.network = self._training_network
        present = self._before.followed_by(self._outputs)
        if epoch_complete:
            self.current_epoch -= 1  # save_checkpoint stores the number plus one
        else:
            self.partial = replace(present, random_state=self._validation_began)
        self.save_checkpoint(join(self.output_folder, "checkpoint_latest.pth"))
        then = "nothing of it was saved" if self.disable_checkpointing else "--c goes on from here"
        self.print_to_log_file(
            f"Stopped by SIGTERM in epoch {self.current_epoch} after iteration {present.iterations} of "
            f"{self._iterations}; {then}"
        )
        self.stop.exit()

    # --- inference and checkpoints --------------------------------------------------------------------------------

    def _inference_network(self) -> nn.Module:
        return self.teacher if self.config.inference_network == "teacher" else self.network

    @contextmanager
    def _for_inference(self, network: nn.Module) -> Iterator[None]:
        """nnU-Net's own set-up for predicting with ``network``: deep supervision off, evaluation mode."""
        in_training, self.network = self.network, network
        was_training = in_training.training
        try:
            self.set_deep_supervision_enabled(False)
            yield
        finally:
            self.set_deep_supervision_enabled(self.enable_deep_supervision)
            self.network = in_training
            self.network.train(was_training)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's own, with the network chosen by ``inference_network``."""
        in_training, self.network = self.network, self._inference_network()
        try:
            with self.stop.listening() if not self.is_ddp else nullcontext():
                super().perform_actual_validation(save_probabilities)
            self._refuse_cut_predictions(Path(self.output_folder) / "validation")
        except RuntimeError:  # of the process that read or wrote one
            self._refuse_cut_predictions(Path(self.output_folder) / "validation")
            raise
        finally:
            self.set_deep_supervision_enabled(self.enable_deep_supervision)
            self.network = in_training

    def _refuse_cut_predictions(self, folder: Path) -> None:
        """On a full disk nnU-Net's writer cuts files without a word, and the scores are those of the cut files."""
        try:
            for case in self.roles.validation:
                refuse_short_nifti(folder / (case + self.dataset_json["file_ending"]))
        except OSError:
            (folder / "summary.json").unlink(missing_ok=True)
            raise

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's fields and names, plus both networks and all the state that ``--c`` needs; written whole.

        The first process writes; in all of them the networks are the same.
        """
        if not self.processes.is_first:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
        else:
            refuse_non_finite({"student": plain_network(self.network), "teacher": self.teacher})
            checkpoint.write(checkpoint.collect(self), filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Go on exactly where a checkpoint of this trainer was written."""
        if not self.was_initialized:
            self.initialize()
        found = filename_or_checkpoint
        if not isinstance(found, dict):
            found = checkpoint.read(found, self.device)
        checkpoint.restore(self, found)
        where = f"epoch {self.current_epoch}, stage {self.stage}, EMA step {self.ema_step}"
        self.print_to_log_file(f"Continuing in {where}")
        then = found["mlbseg"]["config"]
        changed = {key: (now, then.get(key)) for key, now in self.config.as_dict().items() if now != then.get(key)}
        if changed:
            self.print_to_log_file(f"Configuration changed since the checkpoint (now, then): {changed}")
