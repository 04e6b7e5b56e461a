import contextlib
import copy
import gc
import itertools
import math
import weakref

import numpy as np
import pytest
import torch
from conftest import perturbed
from torch.distributions.transforms import ExpTransform

from disco_samplers import AdaptationReport, DensityEstimate, DiScoFormer
from disco_samplers.estimators import IndependentEstimator, TailTransform, WhitenedPartsEstimator, consistency, draw_rows
from disco_samplers.model.network import _order
from disco_samplers.reference import GaussianMixture
from disco_samplers.testing import assert_same_distribution


def points(rng, n=60, d=3):
    x = torch.randn(n, d, generator=rng)
    return x + torch.sign(x[:, :1])


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
    for method in (estimate.sample, estimate.adapt):
        with pytest.raises(ValueError, match="one data set"):
            method(5)


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
        assert torch.isfinite(kept.adapt(1).log_prob(y)).all()
    if model.device.type != "meta":
        fresh = model.condition(x)
        assert fresh.dtype == model.dtype
        assert not torch.equal(fresh.log_prob(y), before[0])
        torch.testing.assert_close(fresh.log_prob(y), copy.deepcopy(model).condition(x).log_prob(y), rtol=0, atol=0)


def test_estimates_share_their_weights(small, rng):
    x = points(rng)
    one, two = small.condition(x), small.condition(2 * x)
    assert one.model is two.model is one.with_model(small).model
    in_place(small)
    three = small.condition(x)
    assert three.model is not one.model
    kept = weakref.ref(three.model)
    del three
    small.double().condition(x)
    gc.collect()
    assert kept() is None
    assert {name for name, _ in small.named_modules()} == {name for name, _ in perturbed().named_modules()}


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def shortened(by):
    """Matrix products as on a GPU in TensorFloat32, by each of torch's two ways to ask for it."""
    cuda, everywhere = torch.backends.cuda.matmul, torch.backends
    before = torch.get_float32_matmul_precision()
    if by == "older":
        torch.set_float32_matmul_precision("medium")
    elif by == "cuda":
        cuda.fp32_precision = "tf32"
    else:
        everywhere.fp32_precision = "tf32"
    state = [b.fp32_precision for b in (cuda, torch.backends.mkldnn.matmul, everywhere)]
    try:
        yield
        assert [b.fp32_precision for b in (cuda, torch.backends.mkldnn.matmul, everywhere)] == state
        if by == "older":
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        everywhere.fp32_precision = "none"
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16


SURROUNDINGS = {
    "autocast": autocast,
    "double": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "half": lambda: default_dtype(torch.float16),
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference": torch.inference_mode,
    "older": lambda: shortened("older"),
    "cuda": lambda: shortened("cuda"),
    "everywhere": lambda: shortened("everywhere"),
}


def answers(model, x, y, mask):
    """Of estimates of every kind, all made and asked here."""
    rng = torch.Generator().manual_seed(0)
    flat = x.clone()
    flat[:, 1] = 5.0
    estimate = model.condition(x)
    asked = {
        "plain": estimate,
        "double": estimate.to(dtype=torch.float64),
        "groups": model.condition(x, keys=20),
        "flat": model.condition(flat),
        "normalized": estimate.normalized(num_samples=100, generator=rng),
        "adapted": model.condition(x[:40]).adapt(1),
        "tails": model.condition(x, transform=TailTransform.fit(x, 0.3, radial=True)),
        "positive": model.condition(x.exp(), transform=ExpTransform().inv),
        "independent": DensityEstimate(model, x, IndependentEstimator(model.network, x)),
        "parts": DensityEstimate(model, x, WhitenedPartsEstimator(model.network, x)),
        "other": estimate.with_model(model),
    }
    found = {name: each.log_prob_and_score(y.abs() if name == "positive" else y) for name, each in asked.items()}
    found["batch"] = model.condition(torch.stack([x, x + 1]), mask=mask).log_prob_and_score(torch.stack([y, y]))
    found["white"] = [estimate.white_log_prob(estimate.whiten(y[None]))]
    found["sample"] = [estimate.sample(3, num_steps=3, generator=rng)]
    of_numpy = model.condition(x.numpy()).log_prob_and_score(y.numpy())
    found["numpy"] = [torch.as_tensor(answer, dtype=torch.float32) for answer in of_numpy]
    return found, asked


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_answers_do_not_depend_on_what_surrounds_them(model, rng, name):
    data = points(rng), points(rng, 7), torch.rand(2, 60, generator=rng) < 0.7
    expected, _ = answers(model, *data)
    with SURROUNDINGS[name]():
        found, asked = answers(model, *data)
    for kind, values in expected.items():
        assert [v.dtype for v in found[kind]] == [v.dtype for v in values]
        assert all(torch.equal(a, b) for a, b in zip(found[kind], values, strict=True)), kind
    # What was made there is as good as any outside.
    for kind, estimate in asked.items():
        y = torch.ones(1, estimate.dim, requires_grad=True)
        assert torch.isfinite(torch.autograd.grad(estimate.log_prob(y).sum(), y)[0]).all(), kind


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_adapt_gives_a_new_estimate_and_leaves_the_model(small, rng, monkeypatch):
    monkeypatch.setattr("disco_samplers.estimators.choosing._FEWEST", 10_000)  # the heads alone
    model, x = small, points(rng, 120)
    estimate = model.condition(x)
    before, answer = state(model), estimate.log_prob(x)
    adapted = estimate.adapt(num_steps=20, learning_rate=3e-3)
    assert isinstance(adapted, DensityEstimate)
    assert adapted is not estimate
    assert estimate.report is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(estimate.log_prob(x), answer)
    assert not any(p.requires_grad for p in (*model.parameters(), *adapted.model.parameters()))
    report = adapted.report
    assert isinstance(report, AdaptationReport)
    assert (len(report.losses), len(report.criterion)) == (20, 21)
    assert report.seconds > 0
    assert report.chosen > 0
    assert report.criterion[report.chosen] < report.criterion[0]
    changed = [name for name, value in adapted.model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed
    assert all(name.startswith("network.heads.") for name in changed)
    assert not torch.equal(adapted.log_prob(x), answer)


def test_adapt_keeps_the_start_unless_a_step_is_clearly_better(small, rng, monkeypatch):
    calls = iter(range(100))

    def judge(estimator, rows, probes, scale):
        # Each step lowers the mean by 0.01, which is noise beside the spread of the rows' differences.
        step = next(calls)
        noise = torch.randn(len(rows), dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        return noise - noise.mean() - 0.01 * step

    for module in ("choosing", "heads"):
        monkeypatch.setattr(f"disco_samplers.estimators.{module}.criterion", judge)
    report = small.condition(points(rng, 120)).adapt(num_steps=4).report
    assert report.criterion == sorted(report.criterion, reverse=True)
    assert report.chosen == 0


def test_adapt_is_reproducible_and_the_seed_matters(small, rng):
    estimate = small.condition(points(rng, 120))
    one, two, other = (estimate.adapt(num_steps=3, learning_rate=1e-2, seed=s) for s in (0, 0, 1))
    assert one.report.losses == two.report.losses
    assert all(torch.equal(value, state(two.model)[name]) for name, value in state(one.model).items())
    assert one.report.losses != other.report.losses
    # The global random state is neither used nor changed.
    before = torch.get_rng_state()
    estimate.adapt(num_steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_adapt_that_makes_things_worse_gives_the_start(small, rng):
    estimate = small.condition(points(rng, 120))
    adapted = estimate.adapt(num_steps=3, learning_rate=1e3)
    assert adapted.report.chosen == 0
    before = state(small)
    assert all(torch.equal(value, before[name]) for name, value in adapted.model.state_dict().items())


def test_adapt_whose_criterion_is_never_finite_gives_the_start(small, rng, monkeypatch):
    for module in ("choosing", "heads"):
        monkeypatch.setattr(
            f"disco_samplers.estimators.{module}.criterion", lambda e, rows, p, s: torch.full((len(rows),), math.inf)
        )
    adapted = small.condition(points(rng, 120)).adapt(num_steps=2)
    assert adapted.report.chosen == 0
    before = state(small)
    assert all(torch.equal(value, before[name]) for name, value in adapted.model.state_dict().items())


def test_adapt_lowers_the_inconsistency(small, rng):
    report = small.condition(points(rng, 120)).adapt(num_steps=30, learning_rate=3e-3).report
    assert min(report.losses) < 0.9 * report.losses[0]


def test_adapt_stops_in_time(small, rng):
    estimate = small.condition(points(rng, 120))
    report = estimate.adapt(num_steps=1000, max_seconds=0.0).report
    assert len(report.losses) == 1


def interrupting(function, after):
    """The function, interrupted at its call number ``after``."""
    calls = itertools.count(1)

    def interrupted(*args, **options):
        if next(calls) >= after:
            raise KeyboardInterrupt
        return function(*args, **options)

    return interrupted


@pytest.mark.parametrize("steps_made", [0, 2])
def test_an_interrupt_of_the_steps_keeps_those_made(small, rng, monkeypatch, steps_made):
    monkeypatch.setattr("disco_samplers.estimators.heads.consistency", interrupting(consistency, steps_made + 1))
    estimate = small.condition(points(rng, 40))  # too few rows for coordinates to be tried
    if steps_made:
        assert len(estimate.adapt(num_steps=5).report.losses) == steps_made
    else:
        with pytest.raises(KeyboardInterrupt):
            estimate.adapt(num_steps=5)


@pytest.mark.parametrize("kinds_tried", [0, 1, 2])
def test_an_interrupt_of_the_choice_of_coordinates_is_the_end(small, rng, monkeypatch, kinds_tried):
    rows = torch.rand(200, 2, dtype=torch.float64, generator=rng)
    gains = iter([0.0, 1.0])  # of the samples as they are, then of parts, which are better

    def judge(x, fit, evaluate, **_):
        return rows - next(gains)

    monkeypatch.setattr("disco_samplers.estimators.choosing.crossfit", interrupting(judge, kinds_tried + 1))
    monkeypatch.setattr(
        "disco_samplers.estimate.adaptation.adapt_heads", lambda *_, **__: pytest.fail("steps are made after an interrupt")
    )
    estimate = small.condition(torch.linspace(-1, 1, 200)[:, None])
    if kinds_tried < 2:
        with pytest.raises(KeyboardInterrupt):
            estimate.adapt()
    else:
        report = estimate.adapt().report
        assert report.coordinates == ("parts", 0.0)
        assert (report.losses, report.criterion, report.chosen) == ([], [], 0)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_adapt_takes_the_smallest_sets(small, rng, n):
    x = points(rng, n, 2)
    estimate = small.condition(x)
    adapted = estimate.adapt(num_steps=2)
    assert torch.isfinite(adapted.log_prob(x)).all()
    if n < 4:
        assert adapted.report.losses == []
        assert torch.equal(adapted.log_prob(x), estimate.log_prob(x))


def test_adapt_of_no_steps_and_of_columns_without_variance(small, rng):
    x = points(rng)
    x[:, 1] = 5.0
    estimate = small.condition(x)
    assert torch.equal(estimate.adapt(num_steps=0).log_prob(x), estimate.log_prob(x))
    assert torch.isfinite(estimate.adapt(num_steps=2).log_prob(x)).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_steps": -1}, "num_steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
    ],
)
def test_wrong_options_of_adapt(small, rng, options, match):
    with pytest.raises(ValueError, match=match):
        small.condition(points(rng)).adapt(**options)


def test_units_do_not_change_an_adaptation(small, rng):
    x = points(rng, 120).double()
    plain, scaled = (small.condition(s * x).adapt(num_steps=3) for s in (1.0, 1e6))
    torch.testing.assert_close(torch.tensor(scaled.report.losses), torch.tensor(plain.report.losses), rtol=1e-3, atol=0)
    torch.testing.assert_close(1e6 * scaled.score(1e6 * x), plain.score(x), rtol=1e-2, atol=1e-3)


def test_trained_estimate_of_a_gaussian(disco, rng):
    x = torch.randn(2000, 2, generator=rng)
    y = torch.randn(500, 2, generator=rng)
    estimate = disco.condition(x)
    exact = -0.5 * y.square().sum(-1) - math.log(2 * math.pi)
    assert (estimate.log_prob(y) - exact).abs().mean() < 0.15
    assert (estimate.score(y) + y).square().sum() / y.square().sum() < 0.05
    # A Kolmogorov-Smirnov distance of .28 is allowed at these sizes and a false-alarm probability of 1e-6.
    assert_same_distribution(estimate.sample(400, generator=rng), y)


def test_keys_beyond_the_context_change_nothing(small, rng):
    x, y = torch.randn(60, 3, generator=rng), torch.randn(10, 3, generator=rng)
    assert torch.equal(small.condition(x, keys=60).score(y), small.condition(x).score(y))


def test_a_context_in_groups_is_several_contexts_that_queries_see_together(small, rng):
    x = torch.randn(2, 90, 3, generator=rng)
    whole = small.network.encode(x, keys=32)
    dealt = x[:, _order(90, x.device)].view(2, 3, 30, 3)
    groups = [small.network.encode(dealt[:, g]) for g in range(3)]
    for i, block in enumerate(whole.blocks):
        torch.testing.assert_close(block.keys, torch.cat([group.blocks[i].keys for group in groups], 2))
    assert float(whole.sizes[0, 0, 0]) == pytest.approx(math.log(90))


def test_groups_of_unequal_size_count_every_row_once(small, rng):
    x, y = torch.randn(1, 91, 3, generator=rng), torch.randn(1, 5, 3, generator=rng)
    whole, padded = small.network.encode(x, keys=32), torch.cat([x, 1e3 * torch.ones(1, 2, 3)], 1)
    counts = (torch.arange(93) < 91).float()[None]
    assert whole.blocks[0].keys.shape[2] == 93
    assert float(whole.sizes[0, 0, 0]) == pytest.approx(math.log(91))
    # What is left out may stand anywhere: with one group the answers are those without it.
    for got, right in zip(
        small.network.decode(small.network.encode(padded, counts), y),
        small.network.decode(small.network.encode(x), y),
        strict=True,
    ):
        torch.testing.assert_close(got, right)


def test_rows_that_alternate_between_chains_are_dealt_like_any_others(disco):
    """Four clusters in turn, four groups: dealt in step, each group would see one cluster."""
    rng = torch.Generator().manual_seed(3)
    centers = 4 * torch.randn(4, 5, generator=rng)
    x = centers[torch.arange(4096) % 4] + torch.randn(4096, 5, generator=rng)
    y = centers[torch.arange(200) % 4] + torch.randn(200, 5, generator=rng)
    in_turn = disco.condition(x, keys=1024).score(y)
    shuffled = disco.condition(x[torch.randperm(4096, generator=rng)], keys=1024).score(y)
    assert (in_turn - shuffled).square().sum() < 2e-3 * shuffled.square().sum()


@pytest.mark.parametrize("d", [2, 5])
def test_groups_cost_little_accuracy(disco, d):
    g = torch.Generator().manual_seed(d)
    target = GaussianMixture(torch.ones(4), 6 * torch.rand(4, d, generator=g) - 3, 0.2 + 0.8 * torch.rand(4, d, generator=g))
    x, y = target.draw(1000, g), target.draw(500, g)
    true = target.score(y)
    whole, grouped = (
        float((disco.condition(x, keys=k).score(y) - true).square().sum() / true.square().sum()) for k in (None, 500)
    )
    assert grouped < 1.5 * whole
    single = float((disco.condition(x[:500]).score(y) - true).square().sum() / true.square().sum())
    assert grouped < single


def test_a_long_context_is_dealt_into_groups_unless_told_otherwise(small, rng):
    x, y = torch.randn(2100, 1, generator=rng), torch.randn(3, 1, generator=rng)
    assert torch.equal(small.condition(x).score(y), small.condition(x, keys=1050).score(y))
    assert not torch.equal(small.condition(x).score(y), small.condition(x, keys=None).score(y))
    assert torch.equal(small.condition(x[:2048]).score(y), small.condition(x[:2048], keys=None).score(y))


def test_groups_with_masked_rows_answer_for_every_set(small, rng):
    x = torch.randn(2, 100, 2, generator=rng)
    mask = torch.ones(2, 100, dtype=torch.bool)
    mask[1, 3:] = False  # some groups hold no row of this set
    estimate = small.condition(x, mask=mask, keys=20)
    log_prob, score = estimate.log_prob_and_score(x)
    assert log_prob.isfinite().all()
    assert score.isfinite().all()
    changed = x.clone()
    changed[1, 3:] = 100.0
    again = small.condition(changed, mask=mask, keys=20)
    torch.testing.assert_close(again.log_prob(x), log_prob)


@pytest.mark.parametrize(("keys", "error"), [(15, ValueError), (2.5, TypeError), ("many", TypeError)])
def test_bad_keys(small, rng, keys, error):
    with pytest.raises(error, match="keys must be"):
        small.condition(torch.randn(50, 2, generator=rng), keys=keys)
