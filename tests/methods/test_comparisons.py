"""What holds for every comparison method. Methods are found by their trainers, see ``comparison_support``."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import nnunetv2
import pytest
import torch
from comparison_support import (
    COMPARED,
    NOT_PLAIN_WITHOUT_WEIGHTS,
    OFF,
    OWN_DRAWS,
    at_both_scales,
    in_float64,
    pair,
    part,
    relabelled,
    without_guard,
)
from maths_support import NoHostReads, small_network
from method_support import CPU, ROLES, parameters_of, saving_of, take_guarded_step, take_step
from thread_processes import at_once, two

from nnunetv2_mlbseg.networks import discriminator
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from nnunetv2_mlbseg.progress.values import epoch_means
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.card import card_of
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(500, 500, 1000)
every_method = pytest.mark.parametrize("compared", COMPARED.values(), ids=COMPARED)


@pytest.fixture(autouse=True)
def _small_critics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs have 512 features, in 3D ten million parameters."""
    monkeypatch.setattr(discriminator, "FEATURES", (4, 6, 8, 10))


@every_method
def test_a_card_says_what_it_is(compared):
    card = card_of(compared.trainer)
    assert card.idea and not card.idea.endswith(".") and len(card.idea) < 80
    assert set(card.labels) <= set(card.images) <= {"clean", "noisy", "unlabeled"} and "clean" in card.labels
    assert card.cost >= 1 and card.citation[-4:].isdecimal()


@cache
def names_in_nnunet() -> set[str]:
    """Of all classes beside nnU-Net's trainer, and of the files that they are in."""
    files = list((Path(nnunetv2.__file__).parent / "training" / "nnUNetTrainer").rglob("*.py"))
    classes = (re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE) for path in files)
    return {path.stem for path in files}.union(*classes)


@every_method
def test_nnunet_has_no_trainer_of_this_name(compared):
    """nnU-Net looks among its own first, and takes the first class whose name is the same."""
    assert compared.trainer.__name__ not in names_in_nnunet()


@every_method
def test_it_trains_as_long_as_mlbseg_on_equal_numbers_of_images_and_labels_it_may_not_read_are_blank(compared):
    settings = compared.settings()
    stages = compared.method.stages(settings, 6, ROLES)
    assert sum(stage.epochs for stage in stages) == settings.warmup_epochs + settings.epochs
    for stage in stages:
        assert stage.labelling is None and not stage.true_labels
        read = compared.method.labels_read(settings)
        for draw in stage.draws:
            assert draw.images == 6 and set(draw.blank) == set(draw.roles) - set(read)
    assert compared.trainer.variant_defaults.get("inference_network", settings.inference_network) == "student"


@every_method
def test_values_are_finite_and_all_of_them_have_a_place_in_the_log(compared):
    learning = compared.begin()
    found = take_guarded_step(learning, pair(), MOMENT)
    assert all(torch.isfinite(value).all() for value in found.values())
    means = epoch_means([found])
    del means["loss"]  # nnU-Net logs it
    EpochLog(learning.method.logged()).record(0, means)


@every_method
def test_without_weights_it_is_nnunets_own_training_on_the_clean_cases(compared):
    if compared.name in NOT_PLAIN_WITHOUT_WEIGHTS:
        pytest.skip(NOT_PLAIN_WITHOUT_WEIGHTS[compared.name])
    assert compared.weights
    off = {**dict.fromkeys(compared.weights, 0.0), **OFF.get(compared.name, {})}
    method, plain = compared.begin(**off), compared.begin()
    for seed in (1, 2, 3):
        take_guarded_step(method, pair(seed=seed), MOMENT)
        with plain.guard.step():
            plain.supervised_step(Batch.of(pair(seed=seed), CPU), "warmup")
        plain.finish_step()
    for ours, expected in zip(method.student.parameters(), plain.student.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@every_method
def test_labels_that_it_may_not_read_change_nothing(compared):
    """Noisy ones for most; those of unlabeled cases for all."""
    unread = slice(1, 2) if "noisy" in compared.method.labels_read(compared.settings()) else slice(None)
    found = []
    for seed in (5, 6):
        batch, learning = pair(), compared.begin()
        draw = torch.Generator().manual_seed(seed)
        garbage = at_both_scales(torch.randint(3, batch["imperfect_data"].shape, generator=draw))
        for target, other in zip(batch["imperfect_target"], garbage, strict=True):
            target[unread] = other[unread]
        values = [take_guarded_step(learning, batch, MOMENT) for _ in range(2)]
        found.append((values, parameters_of(learning.student), parameters_of(learning.heads)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@every_method
def test_gradient_reaches_student_and_heads_and_never_the_teacher(compared):
    learning = compared.begin()
    parts = {"student": learning.student, "heads": learning.heads, "teacher": learning.teacher.network}
    before = {name: parameters_of(part) for name, part in parts.items()}
    for moment in (Moment(100, 100, 1000), MOMENT):  # not all heads learn in both halves
        take_step(learning, pair(), moment)
    still = {
        name: [
            number
            for number, (a, b) in enumerate(zip(before[name], part.parameters(), strict=True))
            if torch.equal(a, b) and b.ndim > 1 and (b.grad is not None or name == "heads")
        ]
        for name, part in parts.items()
    }  # biases before a normalisation have none
    assert still["student"] == still["heads"] == []
    assert all(torch.equal(a, b) for a, b in zip(before["teacher"], parts["teacher"].parameters(), strict=True))
    assert all(parameter.grad is None for parameter in parts["teacher"].parameters())


@every_method
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("classes", [2, 4])
def test_any_labels_give_finite_steps(compared, classes, dims):
    """Half of the pixels ignored, no foreground at all, one class that fills every patch."""
    learning, batch = compared.begin(classes, dims), pair(classes, dims)
    for labels in (relabelled(batch, classes, part=0.5), relabelled(batch, 0), relabelled(batch, 1)):
        values = take_guarded_step(learning, labels, MOMENT)
        assert all(torch.isfinite(value).all() for value in values.values())
        assert float(values["skipped"]) == 0


@every_method
def test_half_precision_is_finite(compared):
    learning = compared.begin()
    learning.passes.bfloat16 = True
    values = [take_guarded_step(learning, pair(seed=seed), MOMENT) for seed in (1, 2)]
    assert all(
        torch.isfinite(value).all() and float(found["skipped"]) == 0 for found in values for value in found.values()
    )


def _all_that_learns(learning: Learning) -> dict[str, Any]:
    modules = {"student": learning.student, "heads": learning.heads, "teacher": learning.teacher.network}
    found: dict[str, Any] = {name: module.state_dict() for name, module in modules.items()}
    found |= {"method": learning.method.state(), "generators": learning.passes.generators.states()}
    return copy.deepcopy({**found, "optimizer": learning.passes.descent.optimizer.state_dict()})


@every_method
def test_two_steps_a_checkpoint_and_a_step_are_three_steps_and_stock_nnunet_loads_it(compared, tmp_path: Path):
    undisturbed, stopped, resumed = (compared.begin() for _ in range(3))
    values = [take_guarded_step(undisturbed, pair(seed=seed), MOMENT) for seed in (1, 2, 3)]
    for seed in (1, 2):
        take_guarded_step(stopped, pair(seed=seed), MOMENT)
    optimizer, saving = stopped.passes.descent.optimizer, saving_of(stopped)
    saving.write({"optimizer_state": optimizer.state_dict()}, saving.run.stages.at(0), str(tmp_path / "a.pth"))
    torch.manual_seed(99), take_guarded_step(resumed, pair(seed=7), MOMENT)  # whatever it has seen is undone
    saving = saving_of(resumed)
    found = saving.read(str(tmp_path / "a.pth"), CPU)
    small_network(deep_supervision=True).load_state_dict(found["network_weights"], strict=True)
    checkpoint.restore_optimizer_(resumed.passes.descent.optimizer, found["optimizer_state"])
    saving.take(found, epoch=0)
    again = take_guarded_step(resumed, pair(seed=3), MOMENT)
    torch.testing.assert_close(again, values[2], rtol=0, atol=0)
    torch.testing.assert_close(_all_that_learns(resumed), _all_that_learns(undisturbed), rtol=0, atol=0)


@every_method
def test_a_step_never_waits_for_a_value(compared):
    learning, batch = without_guard(compared.begin()), pair()
    with NoHostReads() as watched:
        take_step(learning, batch, MOMENT)
    assert watched.operations


@every_method
def test_two_processes_make_the_step_of_one_on_the_whole_batch(compared):
    """Each has a clean and an imperfect image."""
    if compared.method.needs_whole_batch:
        pytest.skip("refused in several processes")

    def steps(learning: Learning) -> tuple[dict[str, Any], list[torch.Tensor]]:
        batch = part(in_float64(pair()), learning.processes)
        found = [take_guarded_step(learning, batch, MOMENT) for _ in range(2)]
        return found[1], parameters_of(learning.student)

    shares = at_once(steps, [compared.begin(processes=one) for one in two()])
    torch.testing.assert_close(shares[0][1], shares[1][1], rtol=0, atol=0)
    assert all(torch.isfinite(value).all() for value in shares[0][0].values())
    if compared.name not in OWN_DRAWS:
        values, parameters = steps(compared.begin(processes=Processes()))
        torch.testing.assert_close(shares[0][1], parameters, rtol=1e-6, atol=1e-8)
        for name, value in values.items():
            assert float(value) == pytest.approx(sum(float(found[name]) for found, _ in shares), rel=1e-5, abs=1e-9)


FACE = {name: one for name, one in COMPARED.items() if "noisy_labels" in one.method.Settings.model_fields}


@pytest.mark.parametrize("compared", FACE.values(), ids=FACE)
def test_noisy_labels_can_be_learned_as_they_are(compared):
    """Then their labels are not blank, and what they say matters."""
    settings = compared.settings(noisy_labels="face")
    (stage,) = [stage for stage in compared.method.stages(settings, 6, ROLES) if stage.imperfect][-1:]
    assert "noisy" in stage.imperfect.roles and "noisy" not in stage.imperfect.blank
    found = []
    for batch in (pair(), relabelled(pair(), 0, part=0.5)):
        batch = {**pair(), "imperfect_target": batch["imperfect_target"]}
        found.append(float(take_step(compared.begin(noisy_labels="face"), batch, MOMENT)["loss"]))
    assert found[0] != found[1]
