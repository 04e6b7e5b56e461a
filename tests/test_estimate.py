"""An estimate's answers: types, shapes, precision, wrong input, and what does not change them."""

import copy
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from conftest import perturbed, points

from disco_samplers import DensityEstimate, DiScoFormer
from disco_samplers.estimators import IndependentEstimator, WhitenedPartsEstimator, draw_rows
from disco_samplers.testing import assert_same_distribution


@pytest.fixture
def estimate(model, rng):
    return model.condition(points(rng))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int32])
def test_numpy_in_numpy_out(small, rng, dtype):
    x = (10 * points(rng)).numpy().astype(dtype)
    estimate = small.condition(x)
    log_prob, score = estimate.log_prob_and_score(x[:5])
    expected = np.float64 if dtype in (np.float64, np.int64, np.int32) else np.float32
    for answer, shape in ((log_prob, (5,)), (score, (5, 3)), (estimate.sample(2, num_steps=2), (2, 3))):
        assert isinstance(answer, np.ndarray)
        assert answer.shape == shape
    assert log_prob.dtype == score.dtype == expected
    # The context's kind decides nothing about the queries'.
    assert isinstance(estimate.log_prob(torch.zeros(1, 3)), torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_torch_in_torch_out(small, rng, dtype):
    x = (10 * points(rng)).to(dtype)
    log_prob, score = small.condition(x).log_prob_and_score(x[:5])
    assert log_prob.dtype == score.dtype == (torch.float64 if dtype in (torch.float64, torch.int64) else torch.float32)
    assert (log_prob.shape, score.shape) == ((5,), (5, 3))


def test_nested_lists_and_strided_arrays(small, rng):
    x = points(rng)
    estimate = small.condition(x.tolist())
    wanted = estimate.log_prob(x.double().numpy())
    np.testing.assert_allclose(estimate.log_prob(x.tolist()), wanted)
    wide = np.zeros((120, 6))
    wide[::2, ::2] = x
    np.testing.assert_allclose(small.condition(wide[::2, ::2]).log_prob(np.asfortranarray(x.double())), wanted, rtol=1e-4)


def test_offset_is_not_truncated(small, rng):
    # In float32 a step at 1e6 is 1/16: whitening must see the float64 values.
    x, y = points(rng).double(), points(rng, 9).double()
    near, far = small.condition(x), small.condition(x + 1e6)
    torch.testing.assert_close(far.log_prob(y + 1e6), near.log_prob(y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(far.score(y + 1e6), near.score(y), rtol=1e-3, atol=1e-4)


def test_call_is_the_score_and_both_at_once(estimate, rng):
    y = points(rng, 7)
    log_prob, score = estimate.log_prob_and_score(y)
    assert torch.equal(estimate(y), score)
    assert torch.equal(estimate.score(y), score)
    assert torch.equal(estimate.log_prob(y), log_prob)
    assert torch.equal(estimate.log_prob(y, gradient="score"), log_prob)


def test_forward_of_the_model_is_condition_and_query(small, rng):
    x, y = points(rng), points(rng, 7)
    for got, wanted in zip(small(x, y), small.condition(x).log_prob_and_score(y), strict=True):
        assert torch.equal(got, wanted)


def test_log_prob_is_differentiable(model, rng):
    x = points(rng).double()
    estimate = model.double().condition(x)
    y = points(rng, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(estimate.log_prob, y)
    assert torch.autograd.gradcheck(estimate.score, y)
    assert not estimate.log_prob(y.detach()).requires_grad
    with torch.no_grad():
        assert not estimate.log_prob(y).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_score_is_the_score_head(estimate, rng, dtype):
    y = points(rng, 7).to(dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(estimate.log_prob(y, gradient="score").sum(), y)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, estimate.score(y).detach())
    weights = torch.arange(7.0).to(dtype)
    (weighted,) = torch.autograd.grad((weights * estimate.log_prob(y, gradient="score")).sum(), y)
    torch.testing.assert_close(weighted, weights[:, None] * gradient)
    with pytest.raises(ValueError, match="gradient"):
        estimate.log_prob(y, gradient="both")


def test_precision(small, rng):
    x, y = points(rng), points(rng, 7)
    single = small.condition(x)
    double = single.to(dtype=torch.float64)
    assert (single.dtype, double.dtype, small.dtype) == (torch.float32, torch.float64, torch.float32)
    torch.testing.assert_close(double.score(y), single.score(y), rtol=1e-3, atol=1e-4)
    assert torch.equal(double.log_prob(y), small.double().condition(x).log_prob(y))
    with pytest.raises(TypeError, match="float32 or"):
        single.to(dtype=torch.float16)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3)])
def test_empty_and_single_queries(estimate, shape):
    for y in (torch.zeros(shape), torch.zeros(shape, dtype=torch.float64), np.zeros(shape)):
        log_prob, score = estimate.log_prob_and_score(y)
        assert (tuple(log_prob.shape), tuple(score.shape)) == (shape[:1], shape)
        assert log_prob.dtype == score.dtype == y.dtype


def test_directions_of_no_variance(model, rng):
    x = points(rng, 200)
    x[:, 1] = 5.0
    estimate = model.condition(x)
    y = x[:4].clone()
    on = estimate.log_prob(y)
    assert torch.isfinite(on).all()
    for shift in (-0.01, 0.01):
        y[:, 1] = 5.0 + shift
        log_prob, score = estimate.log_prob_and_score(y)
        assert (log_prob < on).all()
        assert (score[:, 1] * shift < 0).all()
    # The Gaussian there has 1e-3 of the other columns' scale.
    scale = 1e-3 * float(x[:, [0, 2]].std(0, correction=0).log().mean().exp())
    torch.testing.assert_close(score[:, 1], torch.full((4,), -0.01 / scale**2), rtol=1e-3, atol=0)
    without = model.condition(x[:, [0, 2]]).log_prob(x[:4, [0, 2]])
    torch.testing.assert_close(on - without, torch.full((4,), -math.log(scale * math.sqrt(2 * math.pi))), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("far", [1e4, 1e10, 1e30])
def test_far_queries_are_finite_and_pull_back(estimate, far):
    u = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 2.0, 0.3], [0.1, 0.1, -5.0]], dtype=torch.float64)
    log_prob, score = estimate.log_prob_and_score(far * u)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(score).all()
    assert ((u * score).sum(-1) < 0).all()
    assert (log_prob < estimate.log_prob(u)).all()
    single = estimate.log_prob_and_score((far * u).float())
    assert all(torch.isfinite(answer).all() for answer in single)


def test_the_gaussian_tail_joins_on(small, rng):
    x = points(rng).double()
    estimate = small.double().condition(x)
    white = torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64)  # radius sqrt(d)
    back = torch.linalg.inv(estimate.estimator.whitening.matrix[0])
    y = x.mean(0) + 1000 * torch.cat([white * (1 - 1e-9), white * (1 + 1e-9)]) @ back
    log_prob, score = estimate.log_prob_and_score(y)
    torch.testing.assert_close(log_prob[0], log_prob[1], rtol=1e-7, atol=0)
    torch.testing.assert_close(score[0], score[1], rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("points", "error", "match"),
    [
        (torch.zeros(3), ValueError, r"shape \(m, d\).*x\[:, None\]"),
        (torch.zeros(3, 2), ValueError, "3 columns"),
        (torch.zeros(1, 3, 3), ValueError, r"shape \(m, d\)"),
        (torch.tensor([[0.0, math.nan, 0.0]]), ValueError, "first at row 0"),
        (np.array([[0.0, 0.0, 0.0], [0.0, math.inf, 0.0]]), ValueError, "1 of 2 rows, first at row 1"),
        ([["a", "b", "c"]], TypeError, "real numbers"),
        ([[1.0, 2.0, 3.0], [1.0]], TypeError, "rectangular"),
        (torch.zeros(1, 3, dtype=torch.complex64), TypeError, "real numbers"),
        (torch.zeros(1, 3, device="meta"), ValueError, "on meta"),
    ],
)
def test_wrong_points(small, rng, points, error, match):
    estimate = small.condition(torch.randn(20, 3, generator=rng))
    for method in (estimate.log_prob, estimate.score, estimate.log_prob_and_score, estimate):
        with pytest.raises(error, match=f"points.*{match}"):
            method(points)


@pytest.mark.parametrize(
    ("samples", "error", "match"),
    [
        (torch.zeros(5), ValueError, r"x\[:, None\]"),
        (torch.zeros(1, 3), ValueError, "at least 2 rows"),
        (torch.zeros(0, 3), ValueError, "at least 2 rows"),
        (torch.zeros(5, 0), ValueError, "empty"),
        (torch.zeros(2, 2, 5, 3), ValueError, "shape"),
        (torch.ones(5, 3), ValueError, "no variance"),
        (torch.zeros(5, 2000), ValueError, "at most 1024"),
        (torch.tensor([[0.0], [math.nan]]), ValueError, "NaN"),
        (np.array([["1.0"], ["2.0"]]), TypeError, "real numbers"),
        (None, TypeError, "real numbers"),
    ],
)
def test_wrong_samples(small, samples, error, match):
    with pytest.raises(error, match=f"samples.*{match}"):
        small.condition(samples)


def test_batches(model, rng):
    x = torch.stack([points(rng) for _ in range(4)])
    estimate = model.condition(x)
    assert (estimate.dim, estimate.num_samples) == (3, 60)
    assert estimate.log_prob(x[:, :5]).shape == (4, 5)
    assert estimate.score(x[:, :0].numpy()).shape == (4, 0, 3)
    for wrong in (x[0], x[:2], x[None]):
        with pytest.raises(ValueError, match=r"points must have shape \(4, m, d\)"):
            estimate.score(wrong)
    for ask in (lambda: estimate.sample(5), estimate.adapt):
        with pytest.raises(ValueError, match="one data set"):
            ask()


def test_wrong_masks(small, rng):
    x = torch.stack([points(rng) for _ in range(2)])
    few = torch.zeros(2, 60, dtype=torch.bool)
    few[:, 0] = True
    for wrong, samples, match in (
        (torch.ones(2, 59), x, "shape"),
        (torch.ones(60), x[0], "shape"),
        (few, x, "at least 2 rows"),
    ):
        with pytest.raises(ValueError, match=f"mask.*{match}"):
            small.condition(samples, mask=wrong)


def test_mask_takes_integers_and_numpy(small, rng):
    x = torch.stack([points(rng) for _ in range(2)])
    mask = torch.rand(2, 60, generator=rng) < 0.7
    wanted = small.condition(x, mask=mask).log_prob(x)
    for kind in (mask.int(), mask.float(), mask.numpy()):
        assert torch.equal(small.condition(x, mask=kind).log_prob(x), wanted)


def test_sample(estimate, rng):
    generator = torch.Generator()
    draws = [estimate.sample(50, generator=generator.manual_seed(s), num_steps=5) for s in (1, 1, 2)]
    assert draws[0].shape == (50, 3)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    # New points, not rows of the context.
    assert torch.cdist(draws[0], estimate.samples).min() > 0
    for count in (0, -1):
        with pytest.raises(ValueError, match="num_samples"):
            estimate.sample(count)
        with pytest.raises(ValueError, match="steps must be at least 1"):
            estimate.sample(5, num_steps=count)
    with pytest.raises(TypeError, match="steps must be an integer"):
        estimate.sample(5, num_steps=2.5)


def test_repr(small, rng):
    x = points(rng)
    assert repr(small.condition(x)) == "DensityEstimate(n=60, d=3, device=cpu, dtype=torch.float32)"
    assert "batch=2, n=60" in repr(small.condition(torch.stack([x, x])))


def test_input_is_kept_and_not_changed(small, rng):
    x = points(rng)
    before = x.clone()
    estimate = small.condition(x)
    estimate.log_prob(x)
    assert torch.equal(x, before)
    assert torch.equal(estimate.samples, x)


def test_draws_leave_the_rows_they_start_from(rng):
    """A ridge of a hundred-thousandth, ten rows a column: 500 independent draws correlate by 4.5 / sqrt(500) once in 1e5."""
    turn = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64, generator=rng))[0]
    root = turn * torch.tensor([1.0] * 9 + [1e-5], dtype=torch.float64).sqrt()
    x = torch.randn(100, 10, dtype=torch.float64, generator=rng) @ root.T
    estimate = DiScoFormer.from_pretrained().condition(x)
    start = draw_rows(x, None, 500, rng.manual_seed(1), replacement=True)
    draws = estimate.sample(500, generator=rng.manual_seed(1))
    before, after = (torch.linalg.solve(root, rows.T).T for rows in (x[start], draws))
    assert np.abs(np.corrcoef(before.T, after.T)[:10, 10:].diagonal()).max() < 4.5 / math.sqrt(500)


def test_draws_of_a_funnel_are_no_nearer_to_its_rows_than_fresh_ones(rng):
    v = 1.5 * torch.randn(1200, 1, dtype=torch.float64, generator=rng)
    points = torch.cat([v, torch.randn(1200, 2, dtype=torch.float64, generator=rng) * (v / 2).exp()], 1)
    x, fresh = points[:400], points[400:]
    draws = DiScoFormer.from_pretrained().condition(x).sample(400, generator=rng)
    nearest, expected = (torch.cdist(rows / x.std(0), x / x.std(0)).amin(1).median() for rows in (draws, fresh))
    assert nearest > 0.8 * expected


def test_later_changes_of_the_samples_do_not_matter(small, rng):
    x = points(rng, 120)
    changed = x.clone()
    estimate = small.condition(changed)
    changed.zero_()
    assert torch.equal(estimate.samples, x)
    assert torch.equal(estimate.to(dtype=torch.float32).log_prob(x), small.condition(x).log_prob(x))


def test_samples_with_a_graph(small, rng):
    x = points(rng).requires_grad_()
    estimate = small.condition(x)
    assert not estimate.samples.requires_grad
    assert torch.equal(estimate.log_prob(x.detach()), small.condition(x.detach()).log_prob(x.detach()))


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", "u2", "u4", "u8", "i1", np.longdouble])
def test_any_real_dtype(small, rng, dtype):
    x = (10 * points(rng).abs()).numpy().astype(dtype)
    log_prob = small.condition(x).log_prob(x)
    np.testing.assert_allclose(log_prob, small.condition(x.astype(float)).log_prob(x.astype(float)), rtol=1e-4, atol=1e-4)


def in_place(model):
    for parameter in model.parameters():
        parameter.data.mul_(-1.0)  # of which autograd's count of versions knows nothing


def trained(model):
    optimizer = torch.optim.SGD(model.requires_grad_().network.heads.parameters(), 0.1)
    sum(p.square().sum() for p in model.network.heads.parameters()).backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.double(),
        lambda model: model.to("meta"),
        lambda model: model.half().float(),
        lambda model: model.load_state_dict(perturbed(model.config.symmetry, seed=1).state_dict()),
        lambda model: setattr(model.network, "heads", perturbed(model.config.symmetry, seed=1).network.heads),
        in_place,
        trained,
    ],
    ids=["double", "moved", "rounded", "loaded", "replaced", "in place", "trained"],
)
def test_an_estimate_is_not_changed_with_its_model(model, rng, change):
    x, y = points(rng, 40), points(rng, 7)
    estimate, other = model.condition(x), perturbed(model.config.symmetry).condition(x).with_model(model)
    before = estimate.log_prob_and_score(y)
    change(model)
    for kept in (estimate, other):
        assert all(torch.equal(a, b) for a, b in zip(kept.log_prob_and_score(y), before, strict=True))
        assert torch.equal(kept.to(dtype=torch.float32).score(y), before[1])
        assert torch.isfinite(kept.adapt().log_prob(y)).all()
    if model.device.type != "meta":
        fresh = model.condition(x)
        assert fresh.dtype == model.dtype
        assert not torch.equal(fresh.log_prob(y), before[0])
        torch.testing.assert_close(fresh.log_prob(y), copy.deepcopy(model).condition(x).log_prob(y), rtol=0, atol=0)


@pytest.mark.parametrize("change", [in_place, lambda model: model.double(), lambda model: model.to("meta")])
def test_what_becomes_of_an_estimates_model_changes_no_estimate(small, rng, change):
    x, y = points(rng, 40), points(rng, 7)
    estimate, other = small.condition(x), small.condition(x + 1)
    before = estimate.score(y), other.score(y)
    change(estimate.model)
    change(estimate.normalized(num_samples=100, generator=rng).model)
    assert torch.equal(estimate.score(y), before[0])
    assert torch.equal(other.score(y), before[1])
    assert torch.equal(small.condition(x).score(y), before[0])


def reached(thing, seen):
    """Modules that public attributes lead to."""
    seen[id(thing)] = thing
    if isinstance(thing, torch.nn.Module):
        yield thing
        return
    named = [value for name, value in getattr(thing, "__dict__", {}).items() if not name.startswith("_")]
    named += [getattr(thing, name) for name in ("model", "core") if hasattr(thing, name)]
    for part in [*named, *(thing if isinstance(thing, (list, tuple)) else ())]:
        if id(part) not in seen:
            yield from reached(part, seen)


@pytest.mark.parametrize(
    "make",
    [
        lambda model, x: model.condition(x),
        lambda model, x: model.condition(x).calibrated(seed=0).normalized(seed=0).adapt(),
        lambda model, x: model.condition(x.exp(), support=["positive", None, None]),
        lambda model, x: DensityEstimate(model, x, IndependentEstimator(model.network, x)),
        lambda model, x: DensityEstimate(model, x, WhitenedPartsEstimator(model.network, x)),
    ],
    ids=["plain", "adapted", "support", "independent", "parts"],
)
def test_only_copies_of_the_network_can_be_had(small, rng, make):
    x, y = points(rng, 40), points(rng, 7)
    estimate = make(small, x)
    before = estimate.log_prob_and_score(y)
    networks = list(reached(estimate, {}))
    assert networks
    for network in networks:
        in_place(network)
    assert all(torch.equal(a, b) for a, b in zip(estimate.log_prob_and_score(y), before, strict=True))


def test_estimates_share_their_weights(small, rng):
    x = points(rng)
    one, two = small.condition(x), small.condition(2 * x)
    assert one._model is two._model is one.with_model(small)._model
    in_place(small)
    three = small.condition(x)
    assert three._model is not one._model
    kept = weakref.ref(three._model)
    del three
    small.double().condition(x)
    gc.collect()
    assert kept() is None
    assert {name for name, _ in small.named_modules()} == {name for name, _ in perturbed().named_modules()}


def test_trained_estimate_of_a_gaussian(disco, rng):
    x = torch.randn(2000, 2, generator=rng)
    y = torch.randn(500, 2, generator=rng)
    estimate = disco.condition(x)
    exact = -0.5 * y.square().sum(-1) - math.log(2 * math.pi)
    assert (estimate.log_prob(y) - exact).abs().mean() < 0.15
    assert (estimate.score(y) + y).square().sum() / y.square().sum() < 0.05
    # A Kolmogorov-Smirnov distance of .28 is allowed at these sizes and a false-alarm probability of 1e-6.
    assert_same_distribution(estimate.sample(400, generator=rng), y)


def test_what_is_no_model_is_named(small, rng):
    with pytest.raises(TypeError, match="model must be a DiScoFormer"):
        small.condition(points(rng)).with_model("rotations")
    with pytest.raises(TypeError, match="config must be a DiScoFormerConfig"):
        DiScoFormer(3)
