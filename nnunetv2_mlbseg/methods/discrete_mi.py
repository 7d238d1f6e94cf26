"""Mutual information of clusters (DiscreteMI): features should tell what a view does not change, as much as can be.

An imperfect image u and a mirrored view of it go through the network; maps of the view are mirrored back. At the
bottleneck and at the decoder's two finest stages, heads assign every position to one of K clusters, softly and several
times over. The loss is minus the mutual information of both assignments: they should agree, and use all clusters. In
the decoder, neighbours of a position count as well. L = sup - sum_l w_l I_l + w <sum_c (p_c - p'_c)^2> / C. Weights are
those of the authors, whose sup is one loss, not half of two. Their joint has its least value taken off before it is
normalised; this one has not. At the bottleneck they take the mean over all positions. Instance normalisation makes that
nearly the same for all images, so here it is that of every half along each axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunetv2_mlbseg.maths.consistency import view_consistency
from nnunetv2_mlbseg.maths.mutual_information import information_loss
from nnunetv2_mlbseg.maths.pooling import means_of_halves
from nnunetv2_mlbseg.maths.views import Views, draw_views
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.networks.levels import convolution_like, widths
from nnunetv2_mlbseg.settings.rules import number, whole
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Task, Terms

LEVELS: Mapping[str, int] = {"bottleneck": -1, "coarse": 1, "fine": 0}
"""Where there are heads, by the resolution: 0 is full."""
AUTHORS = "Peng et al., MIDL 2020, and their code"


class DiscreteMISettings(SemiSupervisedSettings):
    """The keys of mutual information."""

    bottleneck_weight: float = number(0.1, least=0, unit="factor", source=AUTHORS)
    """Factor of the mutual information at the bottleneck."""
    decoder_weight: float = number(0.05, least=0, unit="factor", source=AUTHORS)
    """Factor of the mutual information at each of the decoder's two finest stages."""
    agreement_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the squared distance between an image's prediction and its view's, mean over the classes."""
    clusters: int = whole(20, least=2, unit="clusters", source=AUTHORS)
    """Clusters of a head."""
    heads: int = whole(5, least=1, unit="heads", source=AUTHORS)
    """Heads at each of the three places; each assigns to clusters of its own."""
    displacement: int = whole(1, least=0, unit="pixels", source=AUTHORS)
    """How far apart positions of the decoder may be that are compared, each direction by itself."""


class DiscreteMI(SemiSupervised):
    """Clusters of features that a mirrored view keeps."""

    Settings: ClassVar = DiscreteMISettings
    settings: DiscreteMISettings
    needs_whole_batch: ClassVar[bool] = True
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "bottleneck": "mutual information, bottleneck",
        "decoder": "mutual information, decoder",
        "agreement": "distance between views",
    }
    card: ClassVar[Card] = Card(
        idea="features tell what a mirrored view keeps: mutual information of clusters",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=3,
        citation="Peng et al., MIDL 2020",
    )

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """A head at each place, whose first assignments are clear ones.

        From torch's own start all clusters are nearly alike, and the gradient is nearly 0. The authors' Adam scales it,
        SGD does not.
        """
        network, out = task.built(), settings.heads * settings.clusters
        channels = widths(network)
        heads = {name: convolution_like(network, channels[at], out) for name, at in LEVELS.items()}
        for head in heads.values():
            nn.init.normal_(head.weight)
        return nn.ModuleDict(heads)

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch; agreement and mutual information of imperfect images and their views."""
        settings, images = self.settings, imperfect.images
        ramp, views = self.ramp(moment), self.drawn(images)
        losses = {"supervised": self.supervised(clean)}
        outputs, found = self.passes.features(views.apply(images))
        maps = {"bottleneck": found.skips[-1], "coarse": found.decoded[-2], "fine": found.decoded[-1]}
        shared = {name: self.information(name, one, views) for name, one in maps.items()}
        losses["bottleneck"] = ramp * settings.bottleneck_weight * shared["bottleneck"]
        losses["decoder"] = ramp * settings.decoder_weight * (shared["coarse"] + shared["fine"])
        losses["agreement"] = ramp * settings.agreement_weight * self.apart(outputs[0].softmax(dim=1), views)
        return Terms(losses | self.face_value(imperfect, [output[: len(images)] for output in outputs]))

    def drawn(self, images: Tensor) -> Views:
        """Every image, and mirrored along an axis."""
        generator = self.passes.generators.on_host("views")
        return draw_views(("flip",), len(images), self.task.dims, generator, device=self.passes.device)

    def apart(self, probabilities: Tensor, views: Views) -> Tensor:
        """The mean squared distance of a prediction from that of the view, over classes, pixels and images."""
        aligned, covered = views.invert(probabilities), views.covered(probabilities.shape[2:])
        return view_consistency(aligned, covered, self.passes.total) / self.task.classes

    def information(self, name: str, maps: Tensor, views: Views) -> Tensor:
        """Minus the mutual information of both assignments of feature maps ``(2 * B, F, *S)``."""
        image, view = views.invert(maps)
        if name == "bottleneck":
            return information_loss(
                self.assigned(name, means_of_halves(image)), self.assigned(name, means_of_halves(view))
            )
        return information_loss(self.assigned(name, image), self.assigned(name, view), self.settings.displacement)

    def assigned(self, name: str, maps: Tensor) -> Tensor:
        """Probabilities of clusters, ``(B, heads, clusters, *S)``."""
        scores: Tensor = self.heads[name](maps)
        return scores.unflatten(1, (self.settings.heads, self.settings.clusters)).softmax(dim=2)
