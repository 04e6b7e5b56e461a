"""Images read patch by patch: windows, the exact answer for patches, the stack, and the model made of them."""

from __future__ import annotations

import json
import math

import pytest
import torch

from disco_samplers import Draws
from disco_samplers.measures import nearest_distances
from disco_samplers.reference import OptimalDenoiser

pytest.importorskip("diffusers")
import diffusers
from disco_samplers.integrations.diffusers import (
    DiscoGuidance,
    DiscoPipeline,
    DiscoScoreModel,
    LocalData,
    Measurement,
    Near,
    data_score,
    memory,
    probability_flow_log_prob,
    score_model,
    widening,
)
from disco_samplers.integrations.diffusers.calibration import held_out_images
from disco_samplers.integrations.diffusers.local_data import bounds
from disco_samplers.integrations.diffusers.memorisation import share_copied
from disco_samplers.integrations.diffusers.repeats import nearly_read, repeats
from disco_samplers.integrations.diffusers.stack import stack_curve, stacked
from disco_samplers.integrations.diffusers.trajectory import bounded_noise
from disco_samplers.integrations.diffusers.windows import chunks, starts

SHAPE = (1, 8, 8)
OPTIONS = {"near": Near((3,)), "context_size": 10**6, "seed": 0}


def strokes(count: int, seed: int, size: int = 8, new: bool = False) -> torch.Tensor:
    """Images (n, 1, size, size) of a line across and one down; new ones cross where others do not."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 1, size, size), -1.0)
    places = torch.cartesian_prod(torch.arange(1, size - 1), torch.arange(1, size - 1))
    places = places[(places.sum(1) % 3 == 0) == new]
    for image, place in zip(images, torch.randint(len(places), (count,), generator=generator), strict=True):
        row, column = places[place]
        image[0, row, :] = 1.0
        image[0, :, column] = 1.0
    return images


def local(images: torch.Tensor, **options) -> LocalData:
    return LocalData(images.flatten(1), tuple(images.shape[1:]), lambda sigma: [1.0, 0.0, 0.0], **OPTIONS | options)


@pytest.fixture(scope="module")
def model():
    return DiscoScoreModel.from_data(strokes(120, 0), locality="auto", context_size=1024)


def test_windows_cover_every_pixel_and_end_at_the_edge():
    for length, size, stride in ((28, 13, 3), (28, 3, 1), (9, 9, 2), (10, 4, 4)):
        places = starts(length, size, stride)
        assert (places[0], places[-1]) == (0, length - size)
        assert {p + i for p in places for i in range(size)} == set(range(length))
    assert chunks([0, 1, 2, 3, 5], 2) == [[0, 1], [2, 3], [5]]


def test_a_window_as_large_as_the_image_gives_the_exact_answer_for_whole_images():
    images = strokes(30, 0)
    y = images[:5].flatten(1) + 0.4 * torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    got = local(images).by_windows(y, 0.4, 9)
    torch.testing.assert_close(got, OptimalDenoiser(images.flatten(1).double())(y.double(), 0.4).float(), atol=1e-4, rtol=1e-4)


def test_patches_are_answered_exactly_and_averaged():
    """Against sums over all windows written out, with patches from within one pixel of each square of two."""
    images, sigma = strokes(20, 0, size=5), 0.7
    y = images[:3] + sigma * torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    total, weight = torch.zeros(3, 1, 5, 5).double(), torch.zeros(5, 5).double()
    bump = torch.exp(-0.5 * (1.5 * torch.tensor([-1.0, 0.0, 1.0])).square()).double()
    for top in range(3):
        for left in range(3):
            # Corners 0, 1 and 2 stand in the squares {0, 1} and {2}.
            down, across = ((0, 1, 2) if corner < 2 else (1, 2) for corner in (top, left))
            context = torch.cat([images[:, :, i : i + 3, j : j + 3].flatten(1) for i in down for j in across]).double()
            patch = y[:, :, top : top + 3, left : left + 3].flatten(1).double()
            answer = OptimalDenoiser(context)(patch, sigma).view(3, 1, 3, 3)
            total[:, :, top : top + 3, left : left + 3] += bump[:, None] * bump * answer
            weight[top : top + 3, left : left + 3] += bump[:, None] * bump
    got = local(images).by_windows(y.flatten(1), sigma, 3)
    torch.testing.assert_close(got, (total / weight).flatten(1).float(), atol=1e-4, rtol=1e-4)


def test_patches_from_anywhere_make_the_answer_commute_with_shifts():
    """A picture moved by two pixels is answered by the answer moved, where windows see nothing of the frame."""
    images = strokes(40, 0, size=12)
    anywhere = local(images, near=Near((3,), block=100, reach=None))
    noise = 0.3 * torch.randn(1, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    one, two = (anywhere.by_windows(noise[..., s : s + 12, s : s + 12].flatten(1), 0.3, 3).view(12, 12) for s in (0, 2))
    torch.testing.assert_close(one[4:10, 4:10], two[2:8, 2:8], atol=1e-4, rtol=1e-4)


def test_the_stack_is_the_least_squares_solution_and_leaves_out_what_does_not_help():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(50, 20, generator=generator)
    one, two, junk = (clean + a * torch.randn(50, 20, generator=generator) for a in (0.5, 0.5, 5.0))
    weights = stacked(torch.stack([one, two, junk]), clean)
    pair = torch.stack([one.flatten(), two.flatten()], 1)
    exact = torch.linalg.lstsq(pair, clean.flatten()[:, None]).solution[:, 0]
    torch.testing.assert_close(weights[:2].float(), exact, rtol=1e-3, atol=1e-3)
    assert weights[2] == 0
    curve = stack_curve(torch.tensor([0.0, 2.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert curve(math.e) == pytest.approx([0.5, 0.5])
    assert curve(0.01) == [1.0, 0.0]
    assert curve(100.0) == [0.0, 1.0]


def quarters(count: int, seed: int) -> torch.Tensor:
    """Images (n, 1, 8, 8) of four quarters, each one of eight and with noise: most of what can be met is new as a whole."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    a, b, c, d = (kind[rows] for kind, rows in zip(kinds, torch.randint(8, (4, count), generator=generator), strict=True))
    images = torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 1)[:, None]
    return images + 0.3 * torch.randn(images.shape, generator=generator)


@pytest.mark.parametrize("level", [1.0, 2.0])
def test_windows_are_as_wide_as_images_drawn_are_no_copies(level):
    """Whole images from noise of 1 on are copied nearly always, from 2 on hardly ever: both stacks end there.

    New images give 0.05 of 100, and the distances of a hundred and fifty leave a factor of two: above 0.2 once in a thousand
    times.
    """
    part = local(quarters(150, 1))
    sigmas = torch.logspace(-4, 3, 8, base=2.0, dtype=torch.float64)
    stack = torch.stack([torch.tensor([0.0, 1.0, 0.0] if sigma >= level else [1.0, 0.0, 0.0]) for sigma in sigmas]).double()
    new = nearest_distances(quarters(1000, 2).flatten(1), part.data)

    def copied(factor: float) -> float:
        drawn = widening._drawn(part, stack_curve((sigmas / factor).log(), stack), 100, torch.Generator().manual_seed(9))
        return share_copied(nearest_distances(drawn, part.data), new)

    found = widening.widest([part], None, sigmas, stack, seed=0)
    assert (copied(1.0) > 0.7) == (level == 1)
    assert copied(found) < 0.2
    assert 0.5 <= found / level < 0.6  # below half the level, none is whole at noise of 1


@pytest.mark.parametrize("slope", [1.5, 3.0, 8.0])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_one_image_in_twenty_is_a_copy_at_the_factor_found(factor, slope, monkeypatch):
    """The odds of a copy are known; 800 images tell their logarithm to within 0.2: 0.8 off is once in 10,000 times."""
    sigmas, stack = torch.tensor([0.125, 8.0], dtype=torch.float64), torch.tensor([[-3.0], [3.0]], dtype=torch.float64)

    def odds(log_factor: float) -> float:
        return math.log(1 / 19) + slope * (log_factor - math.log(factor))

    def drawn(part, curve, count, generator):
        share = 1 / (1 + math.exp(-odds(math.log(2) * curve(1.0)[0])))
        return 2.0 * (torch.rand(count, 1, generator=generator) > share)

    monkeypatch.setattr(widening, "_drawn", drawn)
    monkeypatch.setattr(widening, "_apart", lambda images, read: torch.ones(len(images), dtype=torch.float64))
    monkeypatch.setattr(widening, "nearest_distances", lambda images, read: images[:, 0])
    found = widening.widest([local(strokes(30, 0))], None, sigmas, stack, seed=0)
    assert abs(odds(math.log(found)) - odds(math.log(factor))) < 0.8


def test_images_that_are_read_twice_do_not_hide_copies(monkeypatch):
    """A quarter of them twice: the distance of none to itself tells how near new ones come."""
    monkeypatch.setattr(widening, "DRAWN", 40)
    images = quarters(120, 1)
    twice = torch.cat([images, images[:30]]).flatten(1)
    sigmas = torch.logspace(-4, 3, 8, base=2.0, dtype=torch.float64)
    stack = torch.stack([torch.tensor([0.0, 1.0, 0.0] if sigma >= 1 else [1.0, 0.0, 0.0]) for sigma in sigmas]).double()
    once = widening.widest([local(images)], None, sigmas, stack, seed=0)
    for judges in (None, twice[:60]):  # those that judge were read too
        found = widening.widest([local(twice.unflatten(1, SHAPE))], judges, sigmas, stack, seed=0)
        assert found == once


def test_each_class_is_drawn_and_asked_by_its_share(monkeypatch):
    """Ten distances are asked for: eight of the class of near images, and two of the class of far ones."""
    monkeypatch.setattr(widening, "_ASKED", 10)
    asked, drawn, apart, draw = [], [], widening._apart, widening._drawn

    def counted(part, curve, count, generator):
        drawn.append(count)
        return draw(part, curve, count, generator)

    def seen(images, read):
        asked.append(apart(images, read))
        return asked[-1]

    monkeypatch.setattr(widening, "_drawn", counted)
    monkeypatch.setattr(widening, "_apart", seen)
    near, far = 0.01 * quarters(80, 1), 3 + 5 * quarters(20, 2)
    sigmas, stack = torch.tensor([0.5, 1.0], dtype=torch.float64), torch.tensor([[0.0, 0.0, 1.0]] * 2, dtype=torch.float64)
    widening.widest([local(near), local(far)], None, sigmas, stack, seed=0)
    assert drawn[:2] == [128, 32]
    assert (asked[0] < 1).sum() == 8
    assert (asked[0] > 1).sum() == 2


def test_all_judges_tell_how_near_new_images_come(monkeypatch):
    """Of more than the 64 that weigh the answers, so that one in twenty is more than three of them."""
    asked, apart = [], widening._apart

    def seen(images, read):
        asked.append(len(images))
        return apart(images, read)

    monkeypatch.setattr(widening, "_apart", seen)
    monkeypatch.setattr(score_model, "nearest", lambda *_, **__: Near((3,)))
    DiscoScoreModel.from_data(quarters(60, 1), held_out=quarters(200, 2), locality="auto", context_size=64)
    assert asked == [200]


def test_copies_judge_nothing_that_has_read_them():
    copies = torch.tensor([5, 7, 5, 9, 7, 5, 11, 12, 13, 14])
    held, kept = held_out_images(10, 1, 0, copies)
    assert sorted(held.tolist() + kept.tolist()) == list(range(10))
    assert not set(copies[held].tolist()) & set(copies[kept].tolist())
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    for none in (None, torch.arange(10), torch.zeros(10)):  # of images that are all the same nothing else can be had
        assert torch.equal(torch.cat(held_out_images(10, 1, 0, none)), order)


def test_a_class_may_be_one_image():
    images = torch.cat([strokes(60, 0), torch.full((20, *SHAPE), -1.0)])
    made = DiscoScoreModel.from_data(images, labels=torch.arange(80) // 60, locality="auto", context_size=256)
    torch.testing.assert_close(made.denoise(torch.zeros(2, *SHAPE), 0.5, 1), torch.full((2, *SHAPE), -1.0))


@pytest.mark.parametrize(("away", "factor"), [(math.inf, 2.0), (0.0, 0.5)])
def test_the_weights_are_those_of_twice_the_noise_at_most_and_of_half_at_least(away, factor, monkeypatch):
    monkeypatch.setattr(widening, "nearest_distances", lambda drawn, _: torch.full((len(drawn),), away))
    images = quarters(60, 1)
    wide = DiscoScoreModel.from_data(images, locality="auto", context_size=64)
    monkeypatch.setattr(data_score, "widest", lambda *_, **__: 1.0)
    narrow = DiscoScoreModel.from_data(images, locality="auto", context_size=64)
    assert narrow.config.near["reach"] is not None
    assert wide.noised().stack(0.7) == pytest.approx(narrow.noised().stack(factor * 0.7))


def test_new_images_are_denoised_better_than_by_whole_images_or_linearly(model):
    """Lines that were met cross where they were not met: the exact answer for whole images moves them."""
    images = strokes(64, 9, new=True)
    y = images + 0.5 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    data = model.noised()
    whole, linear = data.answers()[-2:]
    loss = [float((d(y.flatten(1), 0.5) - images.flatten(1)).square().mean()) for d in (whole, linear)]
    ours = float((model.denoise(y, 0.5) - images).square().mean())
    assert ours < 0.5 * min(loss), (ours, loss)


def test_where_patches_come_from_is_chosen():
    """A pattern at its place wants nearby patches, a texture that may lie anywhere those from anywhere."""
    generator = torch.Generator().manual_seed(0)
    fixed = torch.randn(1, 8, 8, generator=generator) * (0.5 + torch.rand(80, 1, 1, 1, generator=generator))
    waves = torch.rand(80, 2, generator=generator) * 6.28
    grid = torch.arange(8.0)
    texture = torch.sin(1.9 * grid[None, :, None] + waves[:, :1, None]) * torch.sin(1.3 * grid + waves[:, 1:, None])
    for images, reach, most in ((fixed, 1, 64), (texture[:, None], None, 512)):
        made = DiscoScoreModel.from_data(images, locality="auto", context_size=most)
        assert made.config.near["reach"] == reach


def test_pixels_that_end_at_a_value_are_not_left_beyond_it():
    """Strokes are of -1 and 1: the denoised mean lies between, whatever the linear answer says."""
    read, new = strokes(60, 0).flatten(1), strokes(30, 5).flatten(1)
    linear = LocalData(read, SHAPE, lambda sigma: [0.0, 0.0, 1.0], **OPTIONS)
    assert linear.bounds == (-1.0, 1.0)
    noisy = new + 0.3 * torch.randn(new.shape, generator=torch.Generator().manual_seed(0))
    bounded = noisy - 0.3 * bounded_noise(linear, noisy, 0.3, 0)
    free = linear.answers()[-1](noisy, 0.3)
    assert float(free.abs().max()) > 1.1
    torch.testing.assert_close(bounded, free.clamp(-1, 1))
    assert bounds(torch.randn(100, 9, generator=torch.Generator().manual_seed(1))) == (-math.inf, math.inf)


def test_a_measurement_pulls_at_pixels_that_end():
    """Known pixels, without noise, are kept to a few hundredths, though the answer ends at -1 and 1."""
    digits = pytest.importorskip("sklearn.datasets").load_digits().images
    images = torch.from_numpy(digits).float()[:320, None] / 8 - 1
    read, new = images[:300], images[300:]
    made = DiscoScoreModel.from_data(read, locality="auto", context_size=512)
    known = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.7
    pipe = DiscoPipeline(made.measured(Measurement.of_pixels(new, known)), diffusers.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(num_samples=20, num_inference_steps=30, generator=torch.Generator().manual_seed(0)).samples
    assert float((drawn - new).abs()[:, known].quantile(0.99)) < 0.05


def noisy_texture(seed: int, size: int = 40) -> torch.Tensor:
    """A picture (1, size, size) of noise that is blurred over three pixels."""
    noise = torch.randn(1, 1, size + 2, size + 2, generator=torch.Generator().manual_seed(seed))
    return 1.5 * torch.nn.functional.avg_pool2d(noise, 3, stride=1)[0]


def crops(picture: torch.Tensor, count: int, seed: int, size: int = 12) -> torch.Tensor:
    """Parts (n, 1, size, size) of a picture, no two the same."""
    last = picture.shape[1] - size + 1
    places = torch.randperm(last**2, generator=torch.Generator().manual_seed(seed))[:count].tolist()
    return torch.stack([picture[:, p // last : p // last + size, p % last : p % last + size] for p in places])


def test_an_image_repeats_others_where_its_middle_is_found_in_one_of_them():
    picture = noisy_texture(0)
    others = crops(picture, 100, 0)
    inside = others[3].roll((2, 2), (1, 2))  # whatever wraps around, the middle has moved by two pixels only
    flat = torch.zeros(1, 12, 12)
    judged = torch.stack([others[7], inside, noisy_texture(1)[:, :12, :12], flat])
    assert repeats(judged, torch.cat([others, flat[None]])).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("noise", "expected"), [(0.0, False), (1e-3, True), (0.1, False)])
def test_an_image_is_nearly_read_with_hardly_any_noise(noise, expected):
    """One that is just the same is found by its pixels."""
    read = crops(noisy_texture(0), 60, 0)
    again = read[:10] + noise * torch.randn(read[:10].shape, generator=torch.Generator().manual_seed(1))
    assert nearly_read(again, read).tolist() == [expected] * 10


def test_images_that_nearly_repeat_are_warned_of():
    half = strokes(60, 0)
    twice = torch.cat([half, half + 1e-3 * torch.randn(half.shape, generator=torch.Generator().manual_seed(1))])
    with pytest.warns(UserWarning, match="same pixels as some that are read, or nearly"):
        DiscoScoreModel.from_data(twice, locality="auto", context_size=64)


def test_crops_that_overlap_are_warned_of_and_others_judge_better():
    """With crops from elsewhere as judges the answer for whole images, which only copies, counts for less."""
    read, elsewhere = crops(noisy_texture(0), 120, 0), crops(noisy_texture(1), 32, 1)
    options = {"locality": "auto", "context_size": 256}
    with pytest.warns(UserWarning, match="hold the same pixels as some that are read") as caught:
        fooled = DiscoScoreModel.from_data(read, **options)
    assert caught[0].filename == __file__  # where the caller can do something about it
    honest = DiscoScoreModel.from_data(read, held_out=elsewhere.numpy(), **options)
    new = crops(noisy_texture(2), 40, 2)
    noisy = new + 0.4 * torch.randn(new.shape, generator=torch.Generator().manual_seed(3))
    losses = [float((model.denoise(noisy, 0.4) - new).square().mean()) for model in (fooled, honest)]
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("held_out", "options", "message"),
    [
        (torch.zeros(20, 1, 8, 8), {"locality": None}, "held_out: judges images"),
        (torch.zeros(20, 1, 8, 8), {"calibrate": False}, "held_out: judges images"),
        (torch.zeros(20, 1, 8, 9), {}, r"held_out must have shape \(M, 1, 8, 8\), got \(20, 1, 8, 9\)"),
        (torch.zeros(3, 1, 8, 8), {}, "held_out has 3 images"),
        (torch.full((20, 1, 8, 8), math.nan), {}, "held_out"),
        ((strokes(20, 1) * 127 + 128).to(torch.uint8), {}, "give held_out / 127.5 - 1"),
        (strokes(20, 1) * 127 + 128, {}, "scale both in the same way"),
    ],
)
def test_judges_that_do_not_fit_are_named(held_out, options, message):
    with pytest.raises(ValueError, match=message):
        DiscoScoreModel.from_data(strokes(60, 0), held_out=held_out, **{"locality": "auto", "context_size": 256} | options)


def test_judges_of_half_the_scale_are_warned_of():
    with pytest.warns(UserWarning, match=r"are both scaled in the same way\?"):
        DiscoScoreModel.from_data(strokes(60, 0), held_out=strokes(20, 1) / 2 + 0.5, locality="auto", context_size=256)


def test_it_is_saved_and_loaded_and_moves_in_precision(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = DiscoScoreModel.from_pretrained(tmp_path)
    y = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.denoise(y, 0.7), model.denoise(y, 0.7), rtol=0, atol=0)
    assert again.to(torch.float16).denoise(y.half(), 0.7).dtype == torch.float16


def test_files_of_another_data_set_or_version_are_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_samples": 3}))
    with pytest.raises(ValueError, match=r"data and config.json are not of one model, or of another version \(data: "):
        DiscoScoreModel.from_pretrained(tmp_path)
    path.write_text(json.dumps(config | {"near": config["near"] | {"shape": 3}}))
    with pytest.raises(ValueError, match="near: 'shape' is not known, so that another version has made it"):
        DiscoScoreModel.from_pretrained(tmp_path)


def test_pipelines_draw_images_that_are_new_and_of_the_kind(model):
    """Drawn images are flat but for lines: pixels near -1 and 1, with as many bright ones as the data have."""
    pipe = DiscoPipeline(model, diffusers.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(num_samples=16, num_inference_steps=25, generator=torch.Generator().manual_seed(0)).samples
    assert float((drawn.abs() - 1).abs().mean()) < 0.15
    assert float((drawn > 0).float().mean()) == pytest.approx(float((model.samples > 0).float().mean()), abs=0.1)


def test_classes_are_kept_apart():
    images = torch.cat([strokes(60, 0), -strokes(60, 1)])
    labels = torch.arange(120) // 60
    made = DiscoScoreModel.from_data(images, labels=labels, locality="auto", context_size=512)
    y = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    dark, bright = (made.denoise(y, 1.5, label).mean() for label in (0, 1))
    assert dark < -0.2 < 0.2 < bright


def test_likelihood_ends_at_the_exact_density_of_whole_images():
    """With the stack of whole images alone, the flow's log-density is that of the blurred images."""
    images = strokes(60, 0, size=5)
    made = DiscoScoreModel.from_data(images, locality="auto", calibrate=False)
    wide = made.noised().exact
    got = probability_flow_log_prob(made, images[:4], sigma_min=0.6, num_steps=60)
    torch.testing.assert_close(got.double(), wide.log_prob(images[:4].flatten(1).double(), 0.6), atol=0.2, rtol=0)
    with pytest.raises(ValueError, match="probability_flow_log_prob"):
        made.log_prob(images[:1], 0.6)


def test_guidance_watches_and_corrects_by_it(model):
    pipe = DiscoPipeline(model, diffusers.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    guidance = DiscoGuidance(model, correct=0.05, diversify=0.05)
    generator = torch.Generator().manual_seed(0)
    drawn = pipe(num_samples=4, num_inference_steps=5, generator=generator, callback_on_step_end=guidance).samples
    assert drawn.isfinite().all()
    assert all(map(math.isnan, guidance.record.log_prob))  # patches have no density
    assert all(map(math.isfinite, guidance.record.distance))


def test_series_and_draws_that_repeat():
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(80, 1, 16, generator=generator).cumsum(-1) / 3
    made = DiscoScoreModel.from_data(series, locality="auto", context_size=512)
    assert made.denoise(series[:2], 0.5).shape == (2, 1, 16)
    draws = Draws(torch.cat([series, series[:10]]).flatten(1))
    with pytest.raises(ValueError, match="pixels have neighbours"):
        DiscoScoreModel.from_data(draws, locality="auto")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"locality": "near"}, 'locality must be "auto"'),
        ({"locality": "auto", "share": 0.9}, "share: not used with locality"),
        ({"locality": "auto", "replicas": 2}, "replicas: not used with locality"),
        ({"locality": "auto", "context_size": 3}, "context_size must be at least 16"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DiscoScoreModel.from_data(strokes(60, 0), **options)


def test_a_context_size_that_is_no_number_and_levels_that_are_none_are_named(model):
    with pytest.raises(TypeError, match="context_size must be an integer"):
        DiscoScoreModel.from_data(strokes(60, 0), locality="auto", context_size="8")
    with pytest.raises(TypeError, match="seed must be an integer, got None"):
        DiscoScoreModel.from_data(strokes(60, 0), locality="auto", seed=None)
    with pytest.raises(ValueError, match="sigma must not be negative"):
        model.denoise(torch.zeros(2, *SHAPE), -0.5)
    with pytest.raises(ValueError, match="sigma must be finite, got inf"):
        model.denoise(torch.zeros(2, *SHAPE), torch.tensor([0.5, math.inf]))
    with pytest.raises(ValueError, match="sigma must be one number or one a sample, got 3 for 2"):
        model.denoise(torch.zeros(2, *SHAPE), torch.ones(3))
    with pytest.raises(TypeError, match="sample must be of floating-point numbers"):
        model.denoise(torch.zeros(2, *SHAPE, dtype=torch.uint8), 0.5)
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0\.0"):
        model.score(torch.zeros(2, *SHAPE), 0)


def test_labels_and_arguments_are_looked_at_before_images_are_read(monkeypatch):
    monkeypatch.setattr(score_model, "nearest", None)
    with pytest.raises(TypeError, match="contextsize: no argument of from_data or of DiscoScoreModel"):
        DiscoScoreModel.from_data(strokes(60, 0), locality="auto", contextsize=64)
    with pytest.raises(ValueError, match="labels must have shape"):
        DiscoScoreModel.from_data(strokes(60, 0), locality="auto", labels=[0] * 59)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 50"):
        DiscoScoreModel.from_data(strokes(40, 0), locality="auto")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([torch.zeros(1, 8, 8).numpy(), torch.zeros(1, 8, 9).numpy()] * 30, "different shapes, .1, 8, 8. and .1, 8, 9."),
        ((strokes(60, 0) * 127 + 128).to(torch.uint8), "give data / 127.5 - 1"),
        ((strokes(60, 0) * 127 + 128).to(torch.uint8)[:, 0], "give data / 127.5 - 1"),
        (strokes(60, 0) * 127 + 128, "not scaled"),
        (torch.where(torch.arange(60)[:, None, None, None] == 3, torch.nan, strokes(60, 0)), "NaN"),
        (strokes(60, 0).flatten(1), "whose pixels have neighbours"),
    ],
    ids=["sizes", "uint8", "uint8 without channels", "range", "NaN", "vectors"],
)
def test_images_that_are_none_are_refused_before_anything_is_read(data, message):
    with pytest.raises(ValueError, match=message):
        DiscoScoreModel.from_data(data, locality="auto")


def test_channels_at_the_wrong_place_are_warned_of():
    options = {"locality": "auto", "calibrate": False, "context_size": 64}
    with pytest.warns(UserWarning, match="channels first") as last:
        DiscoScoreModel.from_data(strokes(60, 0).permute(0, 2, 3, 1), **options)
    with pytest.warns(UserWarning, match=r"8 channels of length 8.*data\[:, None\]") as none:
        DiscoScoreModel.from_data(strokes(60, 0)[:, 0], **options)
    assert {last[0].filename, none[0].filename} == {__file__}


def test_samples_with_their_channels_last_are_refused_and_rows_are_not():
    images = strokes(60, 0).repeat(1, 3, 1, 1)
    made = DiscoScoreModel.from_data(images, locality="auto", calibrate=False)
    for call in (lambda x: made(x, 500), lambda x: made.denoise(x, 0.5), lambda x: made.score(x, 0.5)):
        with pytest.raises(ValueError, match=r"sample must have shape \(B, 3, 8, 8\) as the data have, got \(2, 8, 8, 3\)"):
            call(images[:2].permute(0, 2, 3, 1))
    rows = made.denoise(images[:2].flatten(1), 0.5)
    assert torch.equal(rows.view(2, 3, 8, 8), made.denoise(images[:2], 0.5))


def test_pixels_beyond_a_schedulers_range_are_named(model):
    wide = DiscoScoreModel.from_data(2 * strokes(60, 0), locality="auto", calibrate=False)
    with pytest.raises(ValueError, match="clips samples"):
        DiscoPipeline(wide, diffusers.DDIMScheduler())


def test_too_little_memory_is_said_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 2**20)
    with pytest.raises(MemoryError, match=r"60 images of 1 x 8 x 8 need about .* GiB .* there are 0.0 GiB free on cpu"):
        DiscoScoreModel.from_data(strokes(60, 0), locality="auto")


def test_the_need_grows_with_images_and_patches():
    small = memory.needed(1000, (1, 32, 32), 1024)
    assert memory.needed(4000, (1, 32, 32), 1024) > 2 * small
    assert memory.needed(1000, (1, 32, 32), 65536) > 2 * small
    assert memory.needed(1000, (3, 64, 64), 1024) > 8 * small
    assert memory.needed(60, (1, 8, 8), 10**9) == memory.needed(60, (1, 8, 8), 10**8)  # more patches than there are


def test_patches_of_images_that_are_like_it_as_a_whole_count_most():
    """Against sums written out, with weights by windows times weights by whole images, at a width found by itself."""
    images, sigma, count = quarters(60, 0), 0.5, 12
    y = quarters(3, 5).flatten(1) + sigma * torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    data = images.flatten(1).double()
    directions = torch.linalg.svd(data - data.mean(0), full_matrices=False)[2][:20]
    view = local(images, near=Near((3,), block=1, reach=0, alike=count))
    width = view.alike.variance(sigma)
    whole = -0.5 * torch.cdist((y.double()) @ directions.T, data @ directions.T).square() / width
    total, weight = torch.zeros(3, 8, 8).double(), torch.zeros(8, 8).double()
    bump = torch.exp(-0.5 * (1.5 * torch.tensor([-1.0, 0.0, 1.0])).square()).double()
    for top in range(6):
        for left in range(6):
            context = images[:, 0, top : top + 3, left : left + 3].flatten(1).double()
            patch = y.view(3, 8, 8)[:, top : top + 3, left : left + 3].flatten(1).double()
            shares = (whole - 0.5 * torch.cdist(patch, context).square() / sigma**2).softmax(1)
            total[:, top : top + 3, left : left + 3] += bump[:, None] * bump * (shares @ context).view(3, 3, 3)
            weight[top : top + 3, left : left + 3] += bump[:, None] * bump
    torch.testing.assert_close(view.by_windows(y, sigma, 3), (total / weight).flatten(1).float(), atol=2e-4, rtol=2e-4)
    # Of new images with noise as many count as were asked for, up to what 20 of them tell.
    new = quarters(20, 7).flatten(1).double() + sigma * torch.randn(20, 64, generator=torch.Generator().manual_seed(2))
    shares = (-0.5 * torch.cdist(new @ directions.T, data @ directions.T).square() / width).softmax(1)
    assert float((1 / shares.square().sum(1)).mean()) == pytest.approx(count, rel=0.3)


def test_at_much_noise_the_width_of_likeness_is_the_noise():
    view = local(quarters(60, 0), near=Near((3,), alike=12)).alike
    assert view.variance(50.0) == pytest.approx(2500.0, rel=1e-3)
    assert view.variance(1e-4) == pytest.approx(view.variance(1e-3), rel=1e-3)
    assert view.variance(0.3) > 0.3**2
