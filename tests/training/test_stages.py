"""Stages of a training: which epoch belongs to which, what its loaders draw, how long a pass is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnunetv2_mlbseg.cases.datasets import count_images
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.method import Method
from nnunetv2_mlbseg.training.stages import LATEST, Draw, Labelling, Stage, Stages
from noise_synthesis.safe_io.errors import InputError

ROLES = FoldRoles(("c1", "c0"), ("n0",), ("u0", "u1"), ("v0",))
CLEAN, PAIRS = Draw(("clean",), 4, "clean_batch_size"), Draw(("noisy", "unlabeled"), 3, "imperfect_batch_size")
FIRST = Stage("first", 2, CLEAN, keeps="kept.pth")
SECOND = Stage("second", 3, CLEAN, PAIRS, paced_by=PAIRS, by_method=True, labelling=Labelling("teacher", True, False))
THIRD = replace(SECOND, epochs=1, name="third")
STAGES = Stages([FIRST, Stage("left out", 0, CLEAN), SECOND, THIRD])


def _of(method: type[Method], **values) -> Stages:
    return Stages(method.stages(resolve(method.Settings, {"warmup_epochs": 2, "epochs": 3, **values}), 12, ROLES))


def test_every_epoch_belongs_to_a_stage_and_the_last_one_goes_on():
    assert STAGES.epochs == 6 and STAGES.begins == {0: FIRST, 2: SECOND, 5: THIRD}
    assert [STAGES.at(epoch).name for epoch in range(8)] == ["first"] * 2 + ["second"] * 3 + ["third"] * 3
    assert [STAGES.began(epoch) for epoch in range(7)] == [0, 0, 2, 2, 2, 5, 5]


def test_networks_are_kept_where_a_stage_ends_that_keeps_them():
    stages = Stages([replace(FIRST, keeps="first.pth"), SECOND, replace(THIRD, keeps="third.pth")])
    latest = "checkpoint_latest.pth"
    assert [stages.kept_after(done) for done in range(7)] == [(), (), ("first.pth", latest), (), (), (), ("third.pth",)]


def test_a_training_can_go_on_from_before_every_correction_of_labels():
    """A correction overwrites the labels of the one before."""
    stages = Stages([replace(SECOND, corrects=number, labelling=None) for number in range(3)])
    assert [stages.kept_after(done) for done in (2, 3, 6, 9)] == [(), (LATEST,), (LATEST,), ()]
    assert [stages.loaders_began(epoch) for epoch in (2, 3, 8)] == [0, 3, 6]
    assert stages.at(8).at_rest.corrects == 0


def test_a_stage_that_goes_on_under_its_name_is_no_new_one():
    assert STAGES.renamed == {2: "second", 5: "third"}
    assert Stages([FIRST, replace(FIRST, epochs=4), SECOND]).renamed == {6: "second"}
    assert Stages([FIRST]).renamed == {}


def test_loaders_go_on_where_the_next_stage_draws_the_same():
    assert SECOND.loaders == THIRD.loaders != FIRST.loaders
    assert [STAGES.loaders_began(epoch) for epoch in range(7)] == [0, 0, 2, 2, 2, 2, 2]
    assert SECOND.loaders != replace(SECOND, labelling=None).loaders
    assert FIRST.loaders != replace(FIRST, true_labels=True).loaders
    assert FIRST.loaders != replace(FIRST, main=replace(CLEAN, images=5)).loaders


def test_a_finished_training_needs_no_imperfect_case():
    rest = replace(SECOND, true_labels=True).at_rest
    assert rest.draws == (CLEAN,) and rest.labelling is None and not rest.true_labels
    given = replace(FIRST, main=Draw(("clean", "noisy"), 4, "key")).at_rest
    assert given.main.cases(ROLES) == ("c0", "c1")


def test_cases_of_a_draw_are_sorted_over_its_roles():
    assert PAIRS.cases(ROLES) == ("n0", "u0", "u1") and CLEAN.cases(ROLES) == ("c0", "c1")


class _Dataset:
    """Two-dimensional cases whose number of slices is in their name."""

    opened = 0

    def __init__(self, cases):
        type(self).opened += 1
        self.identifiers = cases

    def load_case(self, case):
        return (np.empty((1, {"c": 5, "n": 7, "u": 2}[case[0]], 8, 8)), None, None, None)


def test_a_pass_counts_the_slices_of_the_cases_that_pace_the_stage_once():
    """10 clean slices by 4; 7 + 2 + 2 imperfect ones by 3."""
    _Dataset.opened = 0
    assert [STAGES.one_pass(stage, ROLES, _Dataset) for stage in (FIRST, SECOND, THIRD, FIRST)] == [3, 4, 4, 3]
    assert _Dataset.opened == 2
    assert count_images(_Dataset(["c0", "u0"]), (4, 4)) == 7, "in 2D a slice counts once, however small the patch"


def test_a_pass_in_3d_draws_as_many_patches_as_fill_the_cases():
    """Slices of 8 x 8. Five of them are 5/4 x 8/4 x 8/5 = 4.0 patches; two are fewer than a patch has: 1 x 2 x 1.6."""
    assert count_images(_Dataset(["c0"]), (4, 4, 5)) == 4
    assert count_images(_Dataset(["u0"]), (4, 4, 5)) == 4, "3.2, rounded up"
    assert count_images(_Dataset(["c0", "u0"]), (64, 64, 64)) == 2, "a case is one patch at least"
    assert Stages([FIRST], (4, 4, 5)).one_pass(FIRST, ROLES, _Dataset) == 2, "two clean cases, 8 patches by 4"


def test_batches_smaller_than_the_number_of_processes_are_refused_by_their_key():
    STAGES.check_batches(Processes(0, 3))
    with pytest.raises(InputError, match="imperfect_batch_size: 3 images cannot be divided among 4 processes"):
        STAGES.check_batches(Processes(0, 4))
    assert STAGES.imperfect_images == 3 and Stages([FIRST]).imperfect_images == 0


def test_a_derived_batch_has_an_image_for_every_process():
    """Of a plan's batch of 2 the five views leave one imperfect image."""
    stages = MLBSeg.stages(resolve(MLBSeg.Settings), 2, ROLES)
    assert Stages(stages, processes=1).imperfect_images == 1
    shared = Stages(stages, processes=2)
    shared.check_batches(Processes(0, 2))
    assert shared.imperfect_images == 2 and shared.all[1].paced_by == shared.all[1].imperfect
    asked = Stages(MLBSeg.stages(resolve(MLBSeg.Settings, {"imperfect_batch_size": 1}), 2, ROLES), processes=2)
    with pytest.raises(InputError, match="imperfect_batch_size: 1 images cannot be divided among 2 processes"):
        asked.check_batches(Processes(0, 2))


def test_the_stages_of_mlbseg():
    """Q = 4 views beside the image take the place of one batch of the plan: 12 // 5 images."""
    warmup, bootstrapping = _of(MLBSeg).all
    assert (warmup.name, warmup.epochs, warmup.keeps) == ("warm-up", 2, "checkpoint_warmup.pth")
    unlabeled = Draw(("unlabeled",), 2, "imperfect_batch_size", derived=True, blank=("unlabeled",))
    assert warmup.draws == (Draw(("clean",), 12, "warmup_batch_size"), unlabeled) and warmup.by_method
    assert warmup.reads_clean_labels_alone and not bootstrapping.reads_clean_labels_alone
    assert (bootstrapping.name, bootstrapping.epochs) == ("bootstrapping", 3) and bootstrapping.by_method
    assert [draw.images for draw in bootstrapping.draws] == [
        12,
        2,
    ] and bootstrapping.paced_by == bootstrapping.imperfect
    assert bootstrapping.labelling == Labelling("teacher", mirror=True, align=True)
    assert [draw.images for draw in _of(MLBSeg, clean_batch_size=7, imperfect_batch_size=9).all[-1].draws] == [7, 9]
    assert _of(MLBSeg, warmup_epochs=0).all[0].name == "bootstrapping"


@pytest.mark.parametrize(
    ("share", "lengths"), [(0.0, [(("clean",), 4)]), (0.3, [(("clean", "noisy"), 1), (("clean",), 3)])]
)
def test_the_warm_up_takes_noisy_labels_as_they_are_for_its_share(share: float, lengths: list[tuple[tuple, int]]):
    stages = _of(MLBSeg, warmup_given=share, warmup_epochs=4)
    found = [(stage.main.roles, stage.epochs) for stage in stages.all if stage.name == "warm-up"]
    assert found == lengths and stages.renamed == {4: "bootstrapping"}
    assert [stages.kept_after(done)[:1] for done in range(1, 5)] == [(), (), (), ("checkpoint_warmup.pth",)]
    first, clean = stages.all[0], replace(stages.all[0].main, roles=("clean",))
    assert (first.name, first.paced_by or first.main) == ("warm-up", clean), "as many iterations as plain trainings"


def test_a_warm_up_on_given_labels_alone_keeps_its_networks_and_without_noisy_cases_there_is_none():
    (given, _) = _of(MLBSeg, warmup_given=1).all
    assert (given.main.roles, given.epochs, given.keeps) == (("clean", "noisy"), 2, "checkpoint_warmup.pth")
    settings = resolve(MLBSeg.Settings, {"warmup_given": 0.5})
    (clean, _) = Stages(MLBSeg.stages(settings, 12, replace(ROLES, noisy=()))).all
    assert (clean.main.roles, clean.epochs) == (("clean",), 200)


def test_without_strong_views_or_unlabeled_cases_the_warm_up_is_nnunets_own_training():
    without = Stages(MLBSeg.stages(resolve(MLBSeg.Settings), 12, replace(ROLES, unlabeled=())))
    for plain in (_of(MLBSeg, strong_weight=0).all[0], without.all[0]):
        assert not plain.by_method and plain.draws == (Draw(("clean",), 12, "warmup_batch_size"),)
        assert plain.reads_clean_labels_alone
    with_views = _of(MLBSeg).all[0]
    assert with_views.main == plain.main == with_views.paced_by and with_views.labelling is None


def test_plain_training_is_one_stage_by_its_name_with_the_passes_of_the_method():
    method, plain = _of(MLBSeg), _of(Plain, training_labels="true")
    assert plain.epochs == method.epochs and plain.renamed == {} and plain.loaders_began(4) == 0
    assert {stage.name for stage in plain.all} == {"plain training"}
    assert plain.all[0].main.cases(ROLES) == ("c0", "c1", "n0", "u0", "u1") and plain.all[0].true_labels
    for epoch in range(plain.epochs):
        ours, theirs = plain.at(epoch), method.at(epoch)
        assert ours.draws == (ours.main,) and not ours.by_method
        assert plain.one_pass(ours, ROLES, _Dataset) == method.one_pass(theirs, ROLES, _Dataset)
    alone = FoldRoles(("c0",), (), (), ("v0",))
    stages = Plain.stages(resolve(Plain.Settings, {"training_labels": "clean"}), 4, alone)
    assert all(stage.paced_by.cases(alone) == ("c0",) for stage in stages)


def test_a_method_of_ones_own_warms_up_and_then_draws_pairs_of_whole_batches():
    warmup, own = _of(Method).all
    assert warmup.name == "warm-up" and (own.name, own.by_method) == ("training", True)
    assert [draw.images for draw in own.draws] == [12, 12] and own.labelling is None
    assert own.imperfect.roles == ("noisy", "unlabeled")
    noisy_only = type("NoisyOnly", (Method,), {"roles": classmethod(lambda cls, settings: ("clean", "noisy"))})
    assert _of(noisy_only).all[1].imperfect.roles == ("noisy",)
