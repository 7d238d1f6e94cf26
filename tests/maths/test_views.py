"""Views: what they show, their inverses, and which pixels they cover."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.views import VIEW_NAMES, Views, _sampling_grid, draw_views

ALL = ("zoom_in", "zoom_out", "zoom_out", "flip")
SHAPES = {2: (30, 44), 3: (14, 18, 22)}


def drawn(names: tuple[str, ...] = ALL, batch: int = 3, dims: int = 2, seed: int = 0) -> Views:
    return draw_views(names, batch, dims, torch.Generator().manual_seed(seed))


def centres(size: int) -> Tensor:
    """Coordinates of the pixel centres of an axis whose edges are -1 and 1."""
    return torch.tensor([(2 * i + 1) / size - 1 for i in range(size)], dtype=torch.float64)


def smooth(batch: int, shape: tuple[int, ...]) -> Tensor:
    """One period of a cosine along each axis, shifted from image to image."""
    image = torch.zeros(batch, 1, *shape, dtype=torch.float64)
    for axis, size in enumerate(shape):
        line = [1] * len(shape)
        line[axis] = size
        phase = torch.arange(batch, dtype=torch.float64).reshape(batch, 1, *[1] * len(shape))
        image = image + torch.cos(3 * centres(size).reshape(1, 1, *line) + phase)
    return image


@pytest.mark.parametrize("dims", [2, 3])
def test_the_grid_is_that_of_affine_grid(dims: int) -> None:
    matrices = torch.randn(4, dims, dims + 1, dtype=torch.float64)
    expected = F.affine_grid(matrices, [4, 1, *SHAPES[dims]], align_corners=False)
    torch.testing.assert_close(_sampling_grid(matrices, SHAPES[dims], torch.float64), expected)


@pytest.mark.parametrize("names", [(), ALL])
def test_view_0_is_the_input_bit_for_bit(names: tuple[str, ...]) -> None:
    views = drawn(names)
    images, labels = torch.randn(3, 2, 30, 44), torch.randint(-1, 4, (3, 30, 44))
    assert len(views) == len(names) + 1
    assert torch.equal(views.apply(images)[:3], images)
    assert torch.equal(views.apply_labels(labels)[:3], labels)
    assert torch.equal(views.invert(views.apply(images))[0], images)
    assert views.covered((30, 44))[0].all()
    assert views.matrices[0].tolist() == [[[1, 0, 0], [0, 1, 0]]] * 3


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_are_view_major(dims: int) -> None:
    views, shape = drawn(dims=dims), SHAPES[dims]
    images, labels = torch.randn(3, 2, *shape), torch.randint(4, (3, *shape))
    shown = views.apply(images)
    assert shown.shape == (15, 2, *shape)
    assert views.apply_labels(labels).shape == (15, *shape)
    assert views.apply_labels(labels).dtype == torch.int64
    assert views.invert(shown).shape == (5, 3, 2, *shape)
    assert views.covered(shape).shape == (5, 3, *shape)
    assert views.covered(shape).dtype == torch.bool


@pytest.mark.parametrize("dims", [2, 3])
def test_flips_are_flips(dims: int) -> None:
    views, shape = drawn(("flip",) * 4, batch=4, dims=dims), SHAPES[dims]
    images, labels = torch.rand(4, 1, *shape), torch.randint(-1, 5, (4, *shape))
    shown = views.apply(images).unflatten(0, (5, 4))
    shown_labels = views.apply_labels(labels).unflatten(0, (5, 4))
    axes = set()
    for view in range(1, 5):
        for image in range(4):
            signs = views.matrices[view, image, :, :dims].diagonal().tolist()
            axis = dims - 1 - signs.index(-1)  # coordinate 0 runs along the last axis
            axes.add(axis)
            torch.testing.assert_close(shown[view, image], images[image].flip(axis + 1), rtol=0, atol=1e-5)
            assert torch.equal(shown_labels[view, image], labels[image].flip(axis))
    assert axes == set(range(dims))
    assert views.covered(shape).all()
    torch.testing.assert_close(views.invert(shown.flatten(0, 1)), images.expand(5, *images.shape), rtol=0, atol=2e-5)


def test_zoom_in_enlarges_the_centre() -> None:
    """A ramp along an axis is reproduced by linear sampling: at view coordinate y it has the image's value at y / f."""
    views = drawn(("zoom_in",), batch=4)
    magnification = 1 / views.matrices[1, :, 0, 0]
    assert ((magnification > 1.1) & (magnification < 1.4)).all()
    assert len(set(magnification.tolist())) == 4
    ramp = centres(44).float().expand(4, 1, 30, 44)
    shown = views.apply(ramp)[4:]
    torch.testing.assert_close(shown, ramp / magnification.reshape(4, 1, 1, 1), rtol=0, atol=1e-5)


def test_zoom_out_shows_all_with_an_empty_margin() -> None:
    views = drawn(("zoom_out",), batch=4)
    magnification = 1 / views.matrices[1, :, 0, 0]
    assert ((magnification > 0.7) & (magnification < 0.9)).all()
    shown = views.apply(torch.ones(4, 1, 30, 44))[4:]
    labels = views.apply_labels(torch.full((4, 30, 44), 2))[4:]
    for image in range(4):
        rows, columns = (centres(size).abs() <= magnification[image] for size in (30, 44))
        inside = rows[:, None] & columns[None, :]
        assert (labels[image] == torch.where(inside, 2, IGNORE)).all()
        # Linear sampling fades out over one pixel of the image, so compare a pixel away from the edge.
        assert (shown[image, 0][labels[image] == IGNORE] < 0.51).all()
        assert shown[image, 0, 0, 0] == 0
        assert shown[image, 0, 15, 22] == pytest.approx(1.0)


def test_magnification_ranges_are_respected() -> None:
    generator = torch.Generator().manual_seed(0)
    views = draw_views(["zoom_in", "zoom_out"], 50, 2, generator, zoom_in=(2.0, 3.0), zoom_out=(0.4, 0.5))
    for view, (low, high) in ((1, (2.0, 3.0)), (2, (0.4, 0.5))):
        factors = 1 / views.matrices[view, :, 0, 0]
        assert low <= factors.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < factors.max() <= high
        assert torch.equal(views.matrices[view, :, 0, 0], views.matrices[view, :, 1, 1])


def test_zooms_of_a_volume_show_as_much_as_those_of_a_plane() -> None:
    """Shares of 2,000 views: zoomed in, of the image that is shown; zoomed out, of the view that is filled."""
    shares = {}
    for dims in (2, 3):
        views = draw_views(["zoom_in", "zoom_out"], 2000, dims, torch.Generator().manual_seed(0))
        sides = views.matrices[1:, :, range(dims), range(dims)]  # of the view, in those of the image
        shares[dims] = [float(sides[0].prod(-1).mean()), float((1 / sides[1]).prod(-1).mean())]
    assert shares[3] == pytest.approx(shares[2], abs=0.001)
    assert shares[2] == pytest.approx([0.65, 0.643], abs=0.005), "1 / (1.1 * 1.4), and the mean square from 0.7 to 0.9"


def test_in_flat_stacks_zooms_stay_within_their_slices() -> None:
    views = draw_views(ALL, 3, 3, torch.Generator().manual_seed(0), flat=True)
    planes = drawn()  # of the same seed
    depths = _sampling_grid(views.matrices[:4].flatten(0, 1), SHAPES[3])[..., 2]  # coordinate 2 runs along axis 0
    assert torch.equal(depths, _sampling_grid(views.matrices[:1].flatten(0, 1), SHAPES[3])[..., 2].repeat(4, 1, 1, 1))
    assert torch.equal(views.matrices[:4, :, :2, :2], planes.matrices[:4, :, :, :2])


@pytest.mark.parametrize(("dims", "axes"), [(2, (0,)), (2, (1,)), (3, (1, 2)), (3, (0,))])
def test_flips_mirror_no_other_axes(dims: int, axes: tuple[int, ...]) -> None:
    views = draw_views(("flip",) * 4, 8, dims, torch.Generator().manual_seed(0), flip_axes=axes)
    image = torch.rand(8, 1, *SHAPES[dims])
    for shown in views.apply(image).unflatten(0, (5, 8))[1:]:
        for before, after in zip(image, shown, strict=True):
            assert any(torch.allclose(after, before.flip(axis + 1), atol=1e-5) for axis in axes)
    mirrored = {
        dims - 1 - int(signs.argmin()) for signs in views.matrices[1:, :, :, :dims].diagonal(0, 2, 3).reshape(-1, dims)
    }
    assert mirrored == set(axes)


@pytest.mark.parametrize("dims", [2, 3])
def test_coverage(dims: int) -> None:
    """Zoom-out and flip cover everything, zoom-in by f the pixels whose centres lie within 1 / f of the middle."""
    views, shape = drawn(dims=dims), SHAPES[dims]
    covered = views.covered(shape)
    assert covered[[0, 2, 3, 4]].all()
    for image in range(3):
        reach = views.matrices[1, image, 0, 0]
        expected = torch.ones(shape, dtype=torch.bool)
        for axis, size in enumerate(shape):
            line = [1] * dims
            line[axis] = size
            expected &= (centres(size).abs() <= reach).reshape(line)
        assert torch.equal(covered[1, image], expected)
        assert 0 < expected.float().mean() < 0.9


@pytest.mark.parametrize("dims", [2, 3])
def test_invert_undoes_apply_where_covered(dims: int) -> None:
    views, shape = drawn(dims=dims), SHAPES[dims]
    images = smooth(3, shape)
    returned, covered = views.invert(views.apply(images)), views.covered(shape).unsqueeze(2)
    # Half a pixel at the outer edge is blended with the zeros outside the image.
    inner = F.pad(torch.ones([n - 4 for n in shape], dtype=torch.bool), [2] * 2 * dims)
    error = ((returned - images).abs() * (covered & inner)).max()
    assert error < 0.03 * (images.max() - images.min())
    assert (returned * ~covered == 0).all()


def test_returned_probabilities_add_up_to_one_where_covered() -> None:
    views = drawn()
    maps = torch.randn(15, 4, 30, 44).softmax(dim=1)
    total = views.invert(maps).sum(dim=2)
    torch.testing.assert_close(total, views.covered((30, 44)).float())


@pytest.mark.parametrize("dims", [2, 3])
def test_labels_and_one_hot_images_agree_inside_regions(dims: int) -> None:
    views, shape = drawn(dims=dims), SHAPES[dims]
    labels = (smooth(3, shape)[:, 0] > 0.5).long() + (smooth(3, shape)[:, 0] > 1.2).long()
    one_hot = torch.stack([labels == c for c in range(3)], dim=1).float()
    value, best = views.apply(one_hot).max(dim=1)
    inside = value > 1 - 1e-4
    assert inside.float().mean() > 0.4
    assert torch.equal(views.apply_labels(labels)[inside], best[inside])


def test_ignored_labels_stay_ignored() -> None:
    shown = drawn().apply_labels(torch.tensor([IGNORE, -5, 0]).reshape(3, 1, 1).expand(3, 8, 8)).unflatten(0, (5, 3))
    assert (shown[:, :2] == IGNORE).all()
    assert (shown[:, 2, 3:5, 3:5] == 0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_gives_what_its_images_give_alone(dims: int) -> None:
    views, shape = drawn(dims=dims), SHAPES[dims]
    images, labels = torch.randn(3, 2, *shape), torch.randint(-1, 4, (3, *shape))
    shown, shown_labels = views.apply(images), views.apply_labels(labels)
    returned, covered = views.invert(shown), views.covered(shape)
    for b in range(3):
        one = Views(views.matrices[:, b : b + 1], views.inverses[:, b : b + 1])
        torch.testing.assert_close(one.apply(images[b : b + 1]), shown[b::3])
        assert torch.equal(one.apply_labels(labels[b : b + 1]), shown_labels[b::3])
        torch.testing.assert_close(one.invert(shown[b::3])[:, 0], returned[:, b])
        assert torch.equal(one.covered(shape)[:, 0], covered[:, b])


def test_the_generator_fixes_the_views() -> None:
    first, again, other = drawn(seed=5), drawn(seed=5), drawn(seed=6)
    assert torch.equal(first.matrices, again.matrices) and torch.equal(first.inverses, again.inverses)
    assert not torch.equal(first.matrices, other.matrices)
    state = torch.get_rng_state()
    drawn()
    assert torch.equal(torch.get_rng_state(), state), "the global generator must not be used"


def test_inverses_are_inverses() -> None:
    views = drawn(dims=3)
    product = views.matrices[..., :3] @ views.inverses[..., :3]
    torch.testing.assert_close(product, torch.eye(3).expand_as(product))


def test_gradcheck() -> None:
    views = drawn(("zoom_in", "zoom_out", "flip"), batch=2)
    images = torch.randn(2, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    maps = torch.randn(8, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(views.apply, images)
    assert torch.autograd.gradcheck(views.invert, maps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_sampled_in_float32(dtype: torch.dtype) -> None:
    views, images = drawn(), torch.randn(3, 1, 30, 44).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown = views.apply(images)
    assert shown.dtype == torch.float32
    assert torch.equal(shown, views.apply(images.float()))
    assert torch.equal(views.invert(shown.to(dtype)), views.invert(shown.to(dtype).float()))


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(ValueError, match=f"unknown view 'rotate', expected one of {', '.join(VIEW_NAMES)}"):
        drawn(("flip", "rotate"))


def test_no_value_is_read_on_the_host() -> None:
    views = drawn()
    with NoHostReads() as watched:
        views.invert(views.apply(torch.randn(3, 1, 30, 44)))
        views.apply_labels(torch.zeros(3, 30, 44, dtype=torch.int64))
        views.covered((30, 44))
    assert watched.operations


def test_some_names_are_drawn_for_the_whole_batch_without_replacement() -> None:
    """Flips are told by a negative entry, zooms by one that is not 1; the identity stays first."""
    generator, seen = torch.Generator().manual_seed(0), []
    for _ in range(200):
        with NoHostReads():
            views = draw_views(ALL, 3, 2, generator, count=2)
        assert len(views) == 3 and torch.equal(views.matrices[0, 0, :, :2], torch.eye(2))
        scales = views.matrices.diagonal(dim1=2, dim2=3)[1:]
        kinds = [
            "flip" if (scale < 0).any() else "zoom_in" if (scale < 1).all() else "zoom_out"
            for scale in scales.amin(dim=2)
        ]
        assert all(((s < 0).any(1)).all() or (s > 0).all() for s in scales), "one kind for all images"
        assert kinds == sorted(kinds, key=("zoom_in", "zoom_out", "flip").index)
        seen.append(tuple(kinds))
    shares = {kinds: seen.count(kinds) / 200 for kinds in set(seen)}
    assert shares.pop(("zoom_in", "zoom_out")) == pytest.approx(1 / 3, abs=0.1)  # 2 of 6 pairs
    assert shares.pop(("zoom_out", "flip")) == pytest.approx(1 / 3, abs=0.1)
    assert shares.keys() == {("zoom_out", "zoom_out"), ("zoom_in", "flip")}


def test_without_a_count_nothing_more_is_drawn() -> None:
    before, after = (torch.Generator().manual_seed(1) for _ in range(2))
    assert torch.equal(
        draw_views(ALL, 2, 2, before).matrices, draw_views(ALL, 2, 2, after, count=None).matrices
    ) and torch.equal(before.get_state(), after.get_state())
