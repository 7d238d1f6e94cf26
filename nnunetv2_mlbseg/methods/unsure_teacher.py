"""A mean teacher that says how sure it is, by several passes with noise and dropout. UA-MT and DUWM build on it.

As in the code of UA-MT, teacher and student drop channels (V-Net's two places, p = 0.5) on imperfect images. nnU-Net's
network has no dropout, so the student's pass on clean images has none either.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from nnunetv2_mlbseg.methods.mean_teacher import MeanTeacher, MeanTeacherSettings
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.networks.dropout import channel_dropout
from nnunetv2_mlbseg.networks.surgery import Within
from nnunetv2_mlbseg.settings.rules import number, whole


class UnsureTeacherSettings(MeanTeacherSettings):
    """The keys of a teacher that says how sure it is."""

    uncertainty_passes: int = whole(8, least=1, unit="passes", source="the code of UA-MT")
    """Teacher passes that say how sure it is."""
    dropout: float = number(0.5, least=0, most=0.9, unit="share of the channels", source="the code of UA-MT")
    """Dropped at the bottleneck and in the decoder's last stage: by the teacher; by the student on imperfect images."""


class UnsureTeacher(MeanTeacher):
    """Agreement of student and teacher, both with dropout."""

    Settings: ClassVar = UnsureTeacherSettings
    settings: UnsureTeacherSettings

    def within(self) -> Within | None:
        """Dropout."""
        if self.settings.dropout == 0:
            return None
        draw = partial(uniform, self.passes, purpose="dropout")
        return partial(channel_dropout, probability=self.settings.dropout, uniform=draw)
