"""Likelihood by the probability-flow ODE against exact densities, and the report on memorisation."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import perturbed

from disco_samplers.measures import maximum_mean_discrepancy, nearest_distances, precision_recall, sliced_wasserstein
from disco_samplers.reference import GaussianMixture, OptimalDenoiser

pytest.importorskip("diffusers")
pytest.importorskip("torchdiffeq")
import diffusers
from diffusers_zoo import memoriser, rng
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoScoreModel, memorisation, probability_flow_log_prob

F = GaussianMixture(torch.ones(2), torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), torch.tensor([[0.1, 0.3], [0.2, 0.1]]))


@pytest.fixture(scope="module")
def exact():
    return memoriser(F.sample(100, generator=rng())).to(torch.float64)


@pytest.mark.parametrize(("method", "steps"), [("heun2", 60), ("rk4", 20)])
def test_exact_for_the_optimal_denoiser(exact, method, steps):
    """The flow of the blurred training set has that set's own density, which is known."""
    y = F.sample(20, generator=rng(1)).double()
    expected = OptimalDenoiser(exact.samples).log_prob(y, 0.2)
    got = probability_flow_log_prob(exact, y, sigma_min=0.2, num_steps=steps, method=method)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.05)


def test_error_falls_with_the_square_of_the_step(exact):
    """Heun's method is of second order: halving the steps divides the error by about four."""
    y = F.sample(20, generator=rng(1)).double()
    expected = OptimalDenoiser(exact.samples).log_prob(y, 0.4)
    found = [probability_flow_log_prob(exact, y, sigma_min=0.4, num_steps=steps) for steps in (12, 24)]
    coarse, fine = ((log_prob - expected).square().mean().sqrt() for log_prob in found)
    assert 2.8 < coarse / fine < 5.7


def test_hutchinson_agrees_with_the_exact_trace(exact):
    """In two dimensions a probe's error is that of the off-diagonal; 256 probes bring it below the bound."""
    y = F.sample(10, generator=rng(1)).double()
    options = {"sigma_min": 0.3, "num_steps": 8}
    trace = probability_flow_log_prob(exact, y, **options)
    probed = probability_flow_log_prob(exact, y, divergence="hutchinson", probes=256, **options)
    assert (probed - trace).abs().max() < 0.15
    assert not torch.equal(probed, trace)


def test_rest_of_the_basis_is_exact():
    """Outside the basis the density is that of the Gaussian rest: two points that differ there only."""
    x = torch.randn(200, 5, generator=rng()) * torch.tensor([2.0, 1.5, 0.1, 0.1, 0.1])
    model = DiscoScoreModel.from_data(x, share=0.98, model=perturbed(), replicas=1, calibrate=False)
    assert model.basis.rank == 2
    model.weight.fill_(1.0)
    _, rest = model.basis.project(torch.randn(1, 5, generator=rng(1)))
    on = model.basis.mean[None]
    a, b = probability_flow_log_prob(model, torch.cat([on, on + rest]), sigma_min=0.1, num_steps=8)
    precision = torch.linalg.inv(torch.cov(x.T, correction=0) + 0.01 * torch.eye(5))
    torch.testing.assert_close(a - b, 0.5 * ((rest @ precision) * rest).sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_normalised_and_close_to_the_truth(disco):
    """On a mixture: the flow's density integrates to one, and is nearer to the exact one than the memoriser's.

    Integration over a grid that holds all but 1e-6 of the mass; 3 % is for the solver and the grid.
    """
    samples = F.sample(400, generator=rng())
    model = DiscoScoreModel.from_data(samples, model=disco, replicas=1, context_size=200)
    axis = torch.linspace(-3.5, 3.5, 26)
    grid = torch.cartesian_prod(axis, axis)
    log_prob = probability_flow_log_prob(model, grid, sigma_min=0.1, num_steps=14)
    assert abs(float(log_prob.exp().sum() * (axis[1] - axis[0]) ** 2) - 1) < 0.03
    y = F.sample(100, generator=rng(1))
    blurred = GaussianMixture(F.weights, F.means, F.covariances + 0.1**2)
    memoriser = OptimalDenoiser(samples).log_prob(y, 0.1)
    flow = probability_flow_log_prob(model, y, sigma_min=0.1, num_steps=14)
    truth = blurred.log_prob(y)
    assert (flow - truth).square().mean() < (memoriser - truth).square().mean()
    assert -flow.mean() < -memoriser.mean()
    # The density head of the same contexts, unnormalised as it is, says about the same.
    head = model.log_prob(y, 0.1)
    assert (head - flow).square().mean() < 0.3


def test_generalises_where_the_optimal_denoiser_copies(disco):
    """Two half circles, 150 samples: with the same scheduler and noise, ours are new samples, the memoriser's are copies.

    Recall is what copies cannot have: held-out samples lie between the training samples. The margins are a third of what was
    measured (copied 0.10 against 1.00, recall 0.93 against 0.49), and every draw is fixed by a generator.
    """

    def moons(count, seed):
        angle = torch.pi * torch.rand(count, generator=rng(seed))
        upper = torch.stack([angle.cos(), angle.sin()], 1)
        flipped = torch.rand(count, generator=rng(seed + 1)) < 0.5
        return torch.where(flipped[:, None], torch.tensor([1.0, 0.5]) - upper, upper) + 0.1 * torch.randn(
            count, 2, generator=rng(seed + 2)
        )

    training, held = moons(150, 0), moons(400, 10)
    ours = DiscoScoreModel.from_data(training, model=disco, replicas=2)
    memoriser = copy.deepcopy(ours)
    memoriser.weight.fill_(1.0)
    reports = []
    for model in (ours, memoriser):
        pipe = DiscoPipeline(model, diffusers.EDMDPMSolverMultistepScheduler())
        pipe.set_progress_bar_config(disable=True)
        drawn = pipe(num_samples=400, num_inference_steps=15, generator=rng(20)).samples
        reports.append(memorisation(drawn, training, held))
    new, copies = reports
    assert new.copied < 0.3
    assert copies.copied > 0.7
    assert new.recall > copies.recall + 0.15


def test_classes():
    x = torch.cat([F.sample(100, generator=rng()) + shift for shift in (-2.0, 2.0)])
    model = DiscoScoreModel.from_data(x, labels=torch.arange(200) // 100, model=perturbed(), replicas=1, calibrate=False)
    model.weight.fill_(1.0)
    y = x[[0, 150]]
    options = {"sigma_min": 0.3, "num_steps": 6}
    mine, other = (probability_flow_log_prob(model, y, class_labels=labels, **options) for labels in ([0, 1], [1, 0]))
    assert (mine > other + 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "none"}, "divergence must be"),
        ({"probes": 7}, "leave them out"),
        ({"seed": 5}, "leave them out"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"sigma_min": 50.0}, "sigma_min must lie between"),
        ({"sigma_min": 0.0}, "sigma_min must lie between"),
        ({"class_labels": 0}, "no labels"),
    ],
)
def test_bad_options(exact, options, message):
    with pytest.raises(ValueError, match=message):
        probability_flow_log_prob(exact, torch.zeros(2, 2), **options)


def test_bad_samples(exact):
    with pytest.raises(ValueError, match="samples holds NaN or infinite values: 2 of 2 rows"):
        probability_flow_log_prob(exact, torch.full((2, 2), torch.nan))
    with pytest.raises(TypeError, match=r"sample must be of floating-point numbers, on the data's scale, got torch\.uint8"):
        probability_flow_log_prob(exact, torch.zeros(2, 2, dtype=torch.uint8))


def test_it_is_the_same_in_inference_mode(exact):
    y = torch.randn(3, 2, generator=rng())
    expected = probability_flow_log_prob(exact, y, num_steps=4)
    with torch.inference_mode():
        got = probability_flow_log_prob(exact, y + 0.0, num_steps=4)
    torch.testing.assert_close(got.clone(), expected)


# The report, and the distances it is made of.


def test_report_tells_copies_from_new_data():
    """Copies are copies; fresh draws of the same law are told apart from them. The draws are fixed by their generators."""
    training, held, fresh = (F.sample(400, generator=rng(seed)) for seed in range(3))
    copies = training[torch.randint(400, (400,), generator=rng(9))]
    new, old = memorisation(fresh, training, held), memorisation(copies, training, held)
    assert old.copied == 1
    # Binomial: more than 0.12 of 400 at 0.05 (itself known to 0.011) has a probability below 1e-4.
    assert new.copied < 0.12
    assert new.recall > old.recall
    assert abs(new.mmd) < 0.01
    assert new.mmd_training == old.mmd_training
    assert "copied=1.000" in repr(old)


def test_report_is_drawn_and_checks_its_input(tmp_path):
    x = torch.randn(50, 1, 4, 4, generator=rng())
    memorisation(x[:20], x[20:], x[:30]).plot(str(tmp_path / "report.png"))
    assert (tmp_path / "report.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="one shape"):
        memorisation(x, x, x.flatten(1))
    with pytest.raises(ValueError, match="more than neighbours"):
        memorisation(x[:3], x, x)
    with pytest.raises(ValueError, match="held_out holds NaN or infinite values: 50 of 50 rows"):
        memorisation(x, x, x * torch.nan)
    with pytest.raises(TypeError, match="generated must be a tensor"):
        memorisation(x.numpy(), x, x)


def test_mmd_is_unbiased_and_exact_for_gaussians():
    """For N(0, 1) against N(m, 1) the discrepancy has a closed form: means of the kernel under normal differences."""
    h, m = 1.0, 1.5
    scale = h / (h**2 + 2) ** 0.5
    exact = 2 * scale * (1 - torch.exp(torch.tensor(-(m**2) / (2 * (h**2 + 2)))))
    x, y = torch.randn(4000, 1, generator=rng()), torch.randn(4000, 1, generator=rng(1)) + m
    assert abs(maximum_mean_discrepancy(x, y, bandwidth=h) - float(exact)) < 0.02  # four standard errors
    values = [
        maximum_mean_discrepancy(
            torch.randn(50, 1, generator=rng(2 * seed)), torch.randn(50, 1, generator=rng(2 * seed + 1)), bandwidth=h
        )
        for seed in range(100)
    ]
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / 10
    assert abs(mean) < 5 * error  # a false alarm in 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_of_an_object_to_itself_are_those_to_a_copy(dtype):
    x = torch.randn(30, 2, generator=rng()).to(dtype)
    assert maximum_mean_discrepancy(x, x) == maximum_mean_discrepancy(x, x.clone())
    assert precision_recall(x, x) == precision_recall(x, x.clone()) == (1.0, 1.0)
    assert sliced_wasserstein(x, x) == 0.0


@pytest.mark.parametrize(
    ("distance", "options", "error"),
    [
        (sliced_wasserstein, {"projections": 0}, ValueError),
        (sliced_wasserstein, {"order": 0}, ValueError),
        (sliced_wasserstein, {"order": 1.5}, TypeError),
        (precision_recall, {"neighbours": 0}, ValueError),
        (precision_recall, {"neighbours": 5}, ValueError),
        (precision_recall, {"neighbours": 2.0}, TypeError),
    ],
)
def test_wrong_options_of_distances(distance, options, error):
    x = torch.randn(5, 2, generator=rng())
    with pytest.raises(error, match=f"^{next(iter(options))} "):
        distance(x, x, **options)


def test_precision_recall_of_known_sets():
    grid = torch.arange(20.0)[:, None]
    assert precision_recall(grid, grid) == (1.0, 1.0)
    far = grid + 1000
    assert precision_recall(far, grid) == (0.0, 0.0)
    assert precision_recall(torch.cat([grid[:10], far[:10]]), grid)[0] == 0.5


def test_sliced_wasserstein_of_any_order():
    """A shift by c has the distance c sqrt(E u_1^2) in one direction; in one dimension it is c in every order."""
    x = torch.randn(500, 1, generator=rng()).double()
    y = x + 0.5
    scale = torch.cat([x, y]).std()
    for order in (1, 2):
        assert abs(sliced_wasserstein(x, y, order=order) - 0.5 / scale) < 1e-6
        assert abs(sliced_wasserstein(x, y, order=order, standardize=False) - 0.5) < 1e-6
    constant = torch.full_like(x, -1.0)
    both = (torch.cat([t, constant], 1) for t in (x, x.flip(0)))
    assert sliced_wasserstein(*both, order=2) < 1e-6  # a column of one value is not in the way


def test_nearest_distances_against_brute_force():
    x, y = torch.randn(30, 3, generator=rng()), torch.randn(40, 3, generator=rng(1))
    expected = (x[:, None] - y).norm(dim=-1).min(1).values
    torch.testing.assert_close(nearest_distances(x, y), expected)
