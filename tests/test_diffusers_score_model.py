"""The score model: exact answers of every parameterization, its configuration, moves, files and errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import Draws
from disco_samplers.reference import GaussianMixture, OptimalDenoiser

pytest.importorskip("diffusers")
import diffusers
from disco_samplers.integrations.diffusers import DiscoScoreModel, LinearBasis, NoisedData

NAMES = ["epsilon", "v_prediction", "sample", "edm", "edm_cosine", "flow", "score", "consistency"]
SCHEDULERS = {
    "epsilon": diffusers.DDIMScheduler,
    "v_prediction": lambda: diffusers.DDIMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2"),
    "sample": lambda: diffusers.DDPMScheduler(prediction_type="sample", beta_schedule="scaled_linear", beta_start=0.00085),
    "edm": diffusers.EDMEulerScheduler,
    "edm_cosine": lambda: diffusers.CosineDPMSolverMultistepScheduler(sigma_min=0.05, prediction_type="epsilon"),
    "flow": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "score": diffusers.ScoreSdeVeScheduler,
}


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    f = GaussianMixture(torch.ones(2), torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), torch.full((2, 2), 0.1))
    return f, f.sample(300, generator=generator)


@pytest.fixture(scope="module")
def model(data):
    """A score model of a small, untrained network: what is tested here does not depend on the weights."""
    return DiscoScoreModel.from_data(data[1], model=perturbed(), replicas=2, calibrate=False, context_size=64)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(200, 3, generator=generator) @ torch.randn(3, 48, generator=generator)
    x = 0.3 * (flat + 0.1 * torch.randn(200, 48, generator=generator)).view(200, 3, 4, 4)
    labels = torch.arange(200) % 3
    return DiscoScoreModel.from_data(x, labels=labels, model=perturbed(), replicas=1, calibrate=False, share=0.9)


def exact(model):
    """A model that is the exact denoiser of its training set at every level."""
    model = copy.deepcopy(model)
    model.weight.fill_(1.0)
    return model


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_what_the_scheduler_makes_of_the_output_is_the_denoised_mean(name, model, data):
    """Each scheduler's own formula for the clean sample, from its own noising, gives D(y, sigma) back."""
    scheduler = SCHEDULERS[name]()
    matched = exact(model).matching(scheduler)
    denoiser = OptimalDenoiser(data[1].double())
    x0, noise = data[1][:20], torch.randn(20, 2, generator=torch.Generator().manual_seed(2))
    for at in (0.1, 0.5, 0.8):
        if name.startswith("edm"):
            scheduler.set_timesteps(10)
            t, sigma = scheduler.timesteps[int(10 * at)], float(scheduler.sigmas[int(10 * at)])
            y = x0 + sigma * noise
            got = scheduler.precondition_outputs(y, matched(scheduler.precondition_inputs(y, sigma), t).sample, sigma)
        elif name == "flow":
            t = torch.tensor(1000 * at)
            sigma, x = at / (1 - at), (1 - at) * x0 + at * noise
            y, got = x0 + sigma * noise, x - at * matched(x, t).sample
        elif name == "score":
            sigma = at
            y = x0 + sigma * noise
            got = y + sigma**2 * matched(y, torch.full((20,), sigma)).sample
        else:
            t = torch.tensor(int(1000 * at))
            scheduler.set_timesteps(1000)
            kept = float(scheduler.alphas_cumprod[t])
            sigma = ((1 - kept) / kept) ** 0.5
            y = x0 + sigma * noise
            x = scheduler.add_noise(x0, noise, t[None])
            clean = type(scheduler).from_config(scheduler.config, clip_sample=False)
            clean.set_timesteps(1000)
            got = clean.step(matched(x, t).sample, t, x).pred_original_sample
        torch.testing.assert_close(got, denoiser(y.double(), sigma).float(), rtol=2e-3, atol=2e-3)


def test_consistency_output_is_the_boundary_condition_of_the_trajectory(model):
    """At the smallest sigma a consistency function is the identity; above, the scheduler's formula gives its end."""
    scheduler = diffusers.CMStochasticIterativeScheduler(clip_denoised=False)
    matched = exact(model).matching(scheduler)
    y = matched.samples[:5] + 0.5
    for sigma in (0.002, 0.3, 3.0):
        t = torch.tensor(scheduler.sigma_to_t(np.array([sigma]))[0])
        output = matched(y * (sigma**2 + 0.25) ** -0.5, t).sample
        skip, out = scheduler.get_scalings_for_boundary_condition(torch.tensor(sigma))
        end = skip * y + out * output
        # The trajectory of the exact denoiser ends in the training set.
        nearest = torch.cdist(end, matched.samples).amin(1)
        assert (nearest < 0.02).all() if sigma > 0.1 else torch.allclose(end, y, atol=1e-4)


def test_timesteps_fractional_and_one_a_sample(model):
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(3))
    one_by_one = torch.cat([model(x[i : i + 1], t).sample for i, t in enumerate((10, 500.5, 999))])
    together = model(x, torch.tensor([10, 500.5, 999])).sample
    torch.testing.assert_close(together, one_by_one)
    low, mid, high = (model(x, t).sample for t in (500, 500.5, 501))
    assert not torch.equal(low, mid)
    assert ((mid - low).abs() <= (high - low).abs() + 1e-4).all()


def test_outputs_and_further_arguments(model):
    x = torch.zeros(2, 2)
    output = model(x, 10)
    (plain,) = model(x, 10, None, False)
    torch.testing.assert_close(plain, output.sample)
    torch.testing.assert_close(model(x, 10, encoder_hidden_states=None, added_cond_kwargs={}).sample, plain)
    torch.testing.assert_close(output[0], plain)
    for shape in ((2, 2, 1, 1), (2, 1, 2)):
        torch.testing.assert_close(model(x.view(shape), 10).sample.flatten(1), plain)


def test_same_seed_same_answer_and_replicas(data):
    options = {"model": perturbed(), "calibrate": False}
    y = data[1][:5]
    a, b, c = (DiscoScoreModel.from_data(data[1], seed=seed, **options).score(y, 0.2) for seed in (0, 0, 1))
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.allclose(a, c)


def test_scores_of_replicas_are_averaged(model, data):
    """The model's score is the mean of its replicas' estimates; the second replica's noise is minus the first's."""
    noised = model.noised()
    y = data[1][:5]
    basis, estimates = noised.level(0.2)
    assert len(estimates) == 2
    z, _ = basis.project(y - model.basis.mean)
    torch.testing.assert_close(model.score(y, 0.2), sum(e.score(z) for e in estimates) / 2 @ basis.components)
    torch.testing.assert_close(estimates[0].samples + estimates[1].samples, 2 * basis.project(noised.data[_rows(noised)])[0])
    assert all(len(e.samples) == 64 for e in estimates)


def _rows(noised):
    return torch.randperm(len(noised.data), generator=torch.Generator().manual_seed(noised.seed))[: noised.context_size]


def test_contexts_are_encoded_once_and_forgotten_on_a_move(model):
    model = copy.deepcopy(model).to(torch.float32)
    model.encode(torch.tensor([100, 200]))
    encoded = dict(model.noised()._levels)
    assert len(encoded) == 2
    model(torch.zeros(1, 2), 100)
    assert dict(model.noised()._levels) == encoded
    model.to(torch.float64)
    assert len(model.noised()._levels) == 0


def test_cache_keeps_at_most_what_it_may(data):
    model = DiscoScoreModel.from_data(data[1], model=perturbed(), calibrate=False, replicas=1, cache_size=2)
    model.encode(torch.tensor([10, 20, 30]))
    assert len(model.noised()._levels) == 2


def test_adaptation_at_each_level(data):
    """adapt= adapts every context; the estimates carry the report."""
    model = DiscoScoreModel.from_data(data[1], model=perturbed(), calibrate=False, replicas=1, adapt=True)
    assert all(e.report is not None for e in model.noised().level(0.1).estimates)


def test_held_out_weights_rise_from_no_trust_to_full(data, disco):
    """At small noise the exact denoiser of the training set is worthless on new data, at large noise unsurpassed."""
    model = DiscoScoreModel.from_data(data[1], model=disco, replicas=1)
    weight = model.weight[0]
    assert (weight.diff() >= 0).all()
    assert weight[0] < 0.5
    assert weight[-1] == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtype_moves(model, dtype):
    moved = copy.deepcopy(model).to(dtype)
    assert moved.dtype == dtype
    x = torch.full((2, 2), 0.5)
    got = moved(x.to(dtype), 300).sample
    assert got.dtype == dtype
    tolerance = {torch.float64: 1e-4, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(got.float(), model(x, 300).sample, rtol=tolerance, atol=tolerance)
    assert moved.data.dtype in (torch.float32, torch.float64)  # data are never rounded


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_save_and_load(images, dtype, tmp_path):
    images.save_pretrained(tmp_path)
    loaded = DiscoScoreModel.from_pretrained(
        tmp_path, low_cpu_mem_usage=False, **({} if dtype is None else {"torch_dtype": dtype})
    )
    assert public(loaded.config).keys() == public(images.config).keys()
    assert loaded.data.dtype == torch.float32
    assert loaded.sample_shape == (3, 4, 4)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(loaded(x, 500, labels).sample, images(x, 500, labels).sample)


def public(config):
    return {key: value for key, value in config.items() if not key.startswith("_")}


def test_making_and_loading_leave_the_random_state(data, tmp_path):
    before = torch.get_rng_state()
    DiscoScoreModel.from_data(data[1], replicas=1, calibrate=False).save_pretrained(tmp_path)
    DiscoScoreModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_from_config_shares_every_argument(images):
    again = DiscoScoreModel.from_config(images.config)
    assert public(again.config) == public(images.config)


@pytest.mark.parametrize("shape", [(5,), (2, 6), (1, 4, 4), (3, 4, 6)])
def test_any_shape(shape):
    x = torch.randn(120, *shape, generator=torch.Generator().manual_seed(0))
    model = DiscoScoreModel.from_data(x, model=perturbed(), replicas=1, calibrate=False)
    assert model.sample_shape == shape
    assert model(x[:3], 10).sample.shape == (3, *shape)
    assert model.config.in_channels == shape[0]


def test_numpy_data_and_matching_shares_memory(data):
    model = DiscoScoreModel.from_data(data[1].numpy(), model=perturbed(), replicas=1, calibrate=False)
    other = model.matching(diffusers.FlowMatchEulerDiscreteScheduler())
    assert other.data.data_ptr() == model.data.data_ptr()
    assert model.config.parameterization == "epsilon"
    assert other.config.parameterization == "flow"


# The basis.


def test_basis_keeps_its_share_and_the_rest_is_exactly_gaussian():
    """Of data that are Gaussian outside three directions, score and density of the rest are those of that Gaussian."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 6, generator=generator) * torch.tensor([3.0, 2.0, 1.5, 0.2, 0.2, 0.2])
    basis = LinearBasis.fit(x, 0.99)
    assert basis.rank == 3
    kept = basis.project(x)[0].var(0).sum() / x.var(0).sum()
    assert kept > 0.99
    # 4000 draws: a standard error of 0.0009 for each, and the sorting of three.
    assert (basis.rest_variances - 0.04).abs().max() < 0.006
    model = DiscoScoreModel.from_data(x / 2, share=0.99, model=perturbed(), calibrate=False, replicas=1)
    y = torch.randn(5, 6, generator=generator)
    _, rest = model.basis.project(y)
    _, score_rest = model.basis.project(model.score(y, 0.3) + model.basis.mean)
    covariance = torch.cov(x.T / 2)
    exact = -torch.linalg.solve(covariance + 0.09 * torch.eye(6), (y - model.basis.mean).T).T
    _, exact_rest = model.basis.project(exact + model.basis.mean)
    torch.testing.assert_close(score_rest, exact_rest, rtol=1e-3, atol=1e-3)
    log_prob = model.basis.rest_log_prob(rest, 0.3)
    values = torch.linalg.eigvalsh(covariance).flip(0)[3:] + 0.09
    squared = -(rest * exact_rest).sum(1)
    torch.testing.assert_close(log_prob, -0.5 * (squared + (2 * torch.pi * values).log().sum()), rtol=1e-3, atol=1e-3)


def test_directions_that_the_data_do_not_tell_share_one_variance():
    """With few samples for many dimensions: one direction for every four samples, and the total variance is kept."""
    x = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    basis = LinearBasis.fit(x, 0.1)
    known = basis.rank + len(basis.rest_variances)
    assert known == 10
    kept = basis.project(x)[0].var(0, unbiased=False).sum() + basis.rest_variances.sum() + (100 - known) * basis.tail_variance
    torch.testing.assert_close(kept, x.var(0, unbiased=False).sum())


@pytest.mark.parametrize(("sigma", "rank"), [(0.5, 3), (1.5, 1), (4.0, 0)])
def test_directions_without_a_signal_are_gaussian(sigma, rank):
    """At a level only directions above the noise are estimated; in the others score and density are the Gaussian's."""
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.6])
    options = {"context_size": 400, "replicas": 1, "seed": 0, "adapt": False, "cache_size": 8}
    noised = NoisedData(perturbed("rotations"), x, lambda sigma: 0.0, **options)
    basis, estimates = noised.level(sigma)
    assert basis.rank == rank
    assert [e.dim for e in estimates] == [rank] * bool(rank)
    covariance = torch.cov(x.T, correction=0) + sigma**2 * torch.eye(3)
    y = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    exact = -torch.linalg.solve(covariance, (y - x.mean(0)).T).T
    outside = torch.eye(3) - basis.components.T @ basis.components
    torch.testing.assert_close(-noised.noise(y, sigma) / sigma @ outside, exact @ outside, rtol=1e-4, atol=1e-4)
    if not rank:
        gaussian = torch.distributions.MultivariateNormal(x.mean(0), covariance)
        torch.testing.assert_close(noised.log_prob(y, sigma), gaussian.log_prob(y), rtol=1e-4, atol=1e-4)
    axes = NoisedData(perturbed("axes"), x, lambda sigma: 0.0, context_size=400, replicas=1, seed=0, adapt=False, cache_size=8)
    torch.testing.assert_close(axes.level(sigma).basis.components, torch.eye(3))


def test_default_weights_follow_the_coordinates(data):
    """Columns as they are: those that see columns. A basis, whose directions are nobody's columns: the invariant ones."""
    assert DiscoScoreModel.from_data(data[1], calibrate=False).disco.config.symmetry == "axes"
    assert DiscoScoreModel.from_data(data[1], calibrate=False, share=0.9).disco.config.symmetry == "rotations"


def test_full_share_keeps_the_coordinates():
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    basis = LinearBasis.fit(x, 1.0)
    torch.testing.assert_close(basis.components, torch.eye(4))
    assert basis.rest_dim == 0


# Draws that are worth unlike.


def weighted(n=300):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 2, generator=generator) * 1.5
    return Draws(x, weights=torch.exp(-0.5 * x.double().square().sum(1) * (1 - 1 / 2.25)))


def test_weighted_rows_are_told_apart_from_equal_ones(disco):
    """Draws of N(0, 1.5^2) with weights to N(0, 1): scores of N(0, 1 + sigma^2); of the draws a third off at .1."""
    model = DiscoScoreModel.from_data(weighted(2000), model=disco, calibrate=False)
    y = torch.randn(500, 2, generator=torch.Generator().manual_seed(6))
    for sigma in (0.1, 0.5, 3.0):
        exact = -y / (1 + sigma**2)
        assert (model.score(y, sigma) - exact).square().sum() < 0.05 * exact.square().sum()


def test_rows_of_a_context_are_those_of_all_weight():
    draws = weighted()
    rows, counts = draws.counts()
    options = {"replicas": 1, "seed": 0, "adapt": False, "cache_size": 8}
    few = NoisedData(perturbed(), rows, lambda sigma: 0.0, counts, context_size=100, **options).level(0.1).estimates[0]
    worth = float(counts.sum())
    assert few.effective_size == pytest.approx(100 / (1 + 100 * (1 / worth - 1 / 300)), rel=1e-5)
    share = few.counts / few.counts.sum()
    # Systematic resampling: shares are those of the weights to within one of the hundred.
    for k in range(2):
        below = rows[:, k] < 0.5
        assert float(share @ (few.samples[:, k] < 0.5).to(share)) == pytest.approx(float(counts[below].sum() / worth), abs=0.1)
    every = NoisedData(perturbed(), rows, lambda sigma: 0.0, counts, context_size=300, **options).level(0.1).estimates[0]
    assert every.effective_size == pytest.approx(worth, rel=1e-5)
    assert every.num_samples == 300


def test_whole_runs_of_a_chain_are_held_out():
    """A chain whose rows stand nearly still for ten steps: rows dealt one by one would make the memoriser seem good."""
    generator = torch.Generator().manual_seed(4)
    starts = torch.randn(4, 30, 1, 2, generator=generator)
    x = (starts + 1e-3 * torch.randn(4, 30, 10, 2, generator=generator)).flatten(1, 2)
    model = DiscoScoreModel.from_data(Draws(x), model=perturbed(), replicas=1)
    assert float(model.counts.sum()) == pytest.approx(Draws(x).effective_size)
    assert float(model.weight[0, 0]) < 0.2
    assert float(DiscoScoreModel.from_data(x.flatten(0, 1), model=perturbed(), replicas=1).weight[0, 0]) > 0.5


def test_rows_given_twice_are_held_out_together(data):
    """Else the exact denoiser, which has read a copy of what judges it, is best at every level."""
    x = data[1][:100]
    for labels in (None, torch.zeros(200, dtype=torch.int64)):
        made = DiscoScoreModel.from_data(torch.cat([x, x]), labels=labels, model=perturbed(), replicas=1)
        assert bool((made.weight[:, 0] < 0.2).all())


def test_weights_are_saved(tmp_path):
    model = DiscoScoreModel.from_data(weighted(), model=perturbed(), replicas=1, calibrate=False)
    model.save_pretrained(tmp_path)
    loaded = DiscoScoreModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.counts, model.counts)
    torch.testing.assert_close(loaded.score(torch.eye(2), 0.3), model.score(torch.eye(2), 0.3))


def test_labels_want_distinct_rows():
    draws = Draws(torch.randn(40, 2), weights=torch.arange(40.0))
    with pytest.raises(ValueError, match="labels cannot be given with draws"):
        DiscoScoreModel.from_data(draws, labels=torch.arange(40) % 2, model=perturbed())


# Classes.


def test_class_conditional_context_is_that_class(images):
    noised = images.noised(1)
    torch.testing.assert_close(noised.data, images.data[images.labels == 1])
    x = torch.zeros(3, 3, 4, 4)
    mixed = images(x, 500, torch.tensor([0, 1, 1])).sample
    torch.testing.assert_close(mixed[1:2], images(x[:1], 500, torch.tensor([1])).sample)
    assert not torch.allclose(mixed[0], mixed[1])


def test_classifier_free_guidance_is_the_difference_of_scores(images):
    x = torch.full((2, 3, 4, 4), 0.1)
    free, given = images(x, 500).sample, images(x, 500, torch.tensor([2])).sample
    guided = images(x, 500, torch.tensor([2]), guidance_scale=3.0).sample
    torch.testing.assert_close(guided, free + 3 * (given - free), rtol=1e-4, atol=1e-5)


# The optimal denoiser.


def test_optimal_denoiser_is_the_kernel_density_estimate(data):
    from disco_samplers.reference import KDE

    x, y = data[1].double(), data[1][:7].double() + 0.3
    kde, denoiser = KDE(x, 0.25), OptimalDenoiser(x)
    torch.testing.assert_close(denoiser.log_prob(y, 0.25), kde.log_prob(y))
    torch.testing.assert_close(denoiser.score(y, 0.25), kde.score(y))
    points = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(denoiser.log_prob(points, 0.25).sum(), points)
    torch.testing.assert_close(gradient, denoiser.score(y, 0.25))


def test_optimal_denoiser_memorises_and_beats_every_other_on_the_training_set(data, model):
    x = data[1].double()
    y = x + 0.004 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    optimal = (OptimalDenoiser(x)(y, 0.004) - x).square().mean()
    ours = (model.denoise(y.float(), 0.004).double() - x).square().mean()
    assert optimal < ours
    assert optimal < 0.1 * 0.004**2


def test_optimal_denoiser_of_weights_is_that_of_repeated_rows(data):
    x, y = data[1][:20].double(), data[1][:7].double() + 0.3
    times = torch.arange(20) % 3
    weighted, repeated = OptimalDenoiser(x, 0.1 * times), OptimalDenoiser(x.repeat_interleave(times, 0))
    torch.testing.assert_close(weighted(y, 0.25), repeated(y, 0.25))
    torch.testing.assert_close(weighted.log_prob(y, 0.25), repeated.log_prob(y, 0.25))
    with pytest.raises(ValueError, match="weights must have shape"):
        OptimalDenoiser(x, times[:3])


@pytest.mark.parametrize(("sigma", "y"), [(0.0, torch.zeros(1, 2)), (0.1, torch.zeros(1, 3)), (-1.0, torch.zeros(1, 2))])
def test_optimal_denoiser_errors(sigma, y, data):
    with pytest.raises(ValueError, match="must"):
        OptimalDenoiser(data[1])(y, sigma)


# What is wrong is said.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 100 * x, "not scaled"),
        (lambda x: 1e-3 * x, "not scaled"),
        (lambda x: x[:5], "at least 16"),
        (lambda x: x[:, 0], "must have shape"),
        (lambda x: torch.where(x > 1, torch.nan, x), "NaN"),
    ],
)
def test_bad_data(change, message, data):
    with pytest.raises(ValueError, match=message):
        DiscoScoreModel.from_data(change(data[1]), model=perturbed(), calibrate=False)


def test_bad_pictures():
    """Sizes that differ, pixels as they are in files, channels last."""
    pictures = [torch.zeros(1, 8, 8)] * 20 + [torch.zeros(1, 7, 8)]
    with pytest.raises(ValueError, match=r"different shapes, \(1, 7, 8\) and \(1, 8, 8\)"):
        DiscoScoreModel.from_data(pictures)
    for array in (torch.ones(20, 1, 8, 8, dtype=torch.uint8), np.ones((20, 1, 8, 8), np.uint8)):
        with pytest.raises(ValueError, match=r"data / 127.5 - 1"):
            DiscoScoreModel.from_data(array)
    last = torch.randn(60, 5, 5, 3, generator=torch.Generator().manual_seed(0))
    last[:, 0, 0, 0] = torch.nan
    with pytest.warns(UserWarning, match=r"channels first, data.permute\(0, 3, 1, 2\)"), pytest.raises(ValueError, match="NaN"):
        DiscoScoreModel.from_data(last)


def test_a_share_that_the_samples_do_not_carry():
    """Asked for, it is refused; by default there is one direction for every four samples."""
    x = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    for rows, options in ((x, {"share": 0.99}), (x[:, :11], {})):
        with pytest.raises(ValueError, match="give more samples or a smaller share"):
            DiscoScoreModel.from_data(rows, model=perturbed(), calibrate=False, **options)
    assert DiscoScoreModel.from_data(x, model=perturbed(), calibrate=False).basis.rank == 5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(3), "one a sample"),
        (torch.full((300,), 0.5), "whole numbers"),
        (-torch.ones(300), "whole numbers"),
        (torch.arange(300) // 290, "class 1 has 10 samples"),
    ],
)
def test_bad_labels(labels, message, data):
    with pytest.raises(ValueError, match=message):
        DiscoScoreModel.from_data(data[1], labels=labels, model=perturbed(), calibrate=False)


@pytest.mark.parametrize(
    ("name", "timestep"),
    [("epsilon", 1001), ("epsilon", -1), ("flow", 1000.5), ("edm", 50.0), ("edm_cosine", 1.0), ("score", 0.0), ("score", -1.0)],
)
def test_timesteps_outside_the_schedule(name, timestep, model):
    with pytest.raises(ValueError, match="outside the schedule"):
        model.matching(SCHEDULERS[name]())(torch.zeros(1, 2), timestep)


def test_bad_calls(model, images):
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        model(torch.zeros(3, 3), 10)
    with pytest.raises(ValueError, match="one a sample"):
        model(torch.zeros(3, 2), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="no labels"):
        model(torch.zeros(3, 2), 10, torch.tensor([0]))
    with pytest.raises(ValueError, match="no class 7"):
        images(torch.zeros(1, 3, 4, 4), 10, torch.tensor([7]))
    with pytest.raises(ValueError, match="needs class_labels"):
        images(torch.zeros(1, 3, 4, 4), 10, guidance_scale=2.0)
    with pytest.raises(ValueError, match="use DiscoPipeline"):
        model(torch.full((2, 2), 1e3), 10)
    with pytest.raises(ValueError, match="parameterization must be one of"):
        model.matching(SCHEDULERS["edm"](), parameterization="nothing")(torch.zeros(1, 2), 1)
    with pytest.raises(ValueError, match="VP family"):
        model.matching(diffusers.VQDiffusionScheduler(num_vec_classes=4))
    with pytest.raises(TypeError, match="replicas must be an integer"):
        DiscoScoreModel.from_data(torch.randn(50, 2), model=perturbed(), replicas=1.5)
