"""Adaptation: what its steps do, when they are kept, and how it is interrupted."""

import itertools
import math

import pytest
import torch
from conftest import points

from disco_samplers import AdaptationReport, DensityEstimate
from disco_samplers.estimators import consistency


@pytest.fixture
def heads_alone(monkeypatch):
    """No coordinates are tried: what is tested are the steps."""
    monkeypatch.setattr("disco_samplers.estimators.choosing._FEWEST", 10_000)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.usefixtures("heads_alone")
def test_adapt_gives_a_new_estimate_and_leaves_the_model(small, rng):
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


@pytest.mark.usefixtures("heads_alone")
def test_adapt_keeps_the_start_unless_a_step_is_clearly_better(small, rng, monkeypatch):
    calls = iter(range(100))

    def judge(estimator, rows, probes, scale):
        # Each step lowers the mean by 0.01, which is noise beside the spread of the rows' differences.
        step = next(calls)
        noise = torch.randn(len(rows), dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        return noise - noise.mean() - 0.01 * step

    monkeypatch.setattr("disco_samplers.estimators.heads.criterion", judge)
    report = small.condition(points(rng, 120)).adapt(num_steps=4).report
    assert report.criterion == sorted(report.criterion, reverse=True)
    assert report.chosen == 0


@pytest.mark.usefixtures("heads_alone")
def test_adapt_is_reproducible_and_the_seed_matters(small, rng):
    estimate = small.condition(points(rng))
    before = torch.get_rng_state()
    one, two, other = (estimate.adapt(num_steps=3, learning_rate=1e-2, seed=s) for s in (0, 0, 1))
    assert one.report.losses == two.report.losses
    assert all(torch.equal(value, state(two.model)[name]) for name, value in state(one.model).items())
    assert one.report.losses != other.report.losses
    # The global random state is neither used nor changed.
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("heads_alone")
def test_adapt_that_makes_things_worse_gives_the_start(small, rng):
    estimate = small.condition(points(rng, 120))
    adapted = estimate.adapt(num_steps=3, learning_rate=1e3)
    assert adapted.report.chosen == 0
    before = state(small)
    assert all(torch.equal(value, before[name]) for name, value in adapted.model.state_dict().items())


@pytest.mark.usefixtures("heads_alone")
def test_adapt_whose_criterion_is_never_finite_gives_the_start(small, rng, monkeypatch):
    never = torch.full((1,), math.inf)
    monkeypatch.setattr("disco_samplers.estimators.heads.criterion", lambda e, rows, p, s: never.expand(len(rows)))
    adapted = small.condition(points(rng, 120)).adapt(num_steps=2)
    assert adapted.report.chosen == 0
    before = state(small)
    assert all(torch.equal(value, before[name]) for name, value in adapted.model.state_dict().items())


@pytest.mark.usefixtures("heads_alone")
def test_adapt_lowers_the_inconsistency(small, rng):
    report = small.condition(points(rng, 120)).adapt(num_steps=30, learning_rate=3e-3).report
    assert min(report.losses) < 0.9 * report.losses[0]


@pytest.mark.usefixtures("heads_alone")
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


@pytest.mark.parametrize("judged", [0, 1, 4])
def test_an_interrupt_of_the_choice_of_coordinates_is_the_end(small, rng, monkeypatch, judged):
    rows = torch.rand(200, dtype=torch.float64, generator=rng)
    gains = iter([[0.0], [1.0, 0.0], 1.0, 0.0])  # of the samples as they are; of parts, which are better, and whitened ones

    def judge(x, fit, evaluate, **_):
        gain = torch.as_tensor(next(gains), dtype=rows.dtype)
        return rows[:, None] - gain if gain.ndim else rows - gain  # the criterion, of parts first

    monkeypatch.setattr("disco_samplers.estimators.choosing.crossfit", interrupting(judge, judged + 1))
    monkeypatch.setattr(
        "disco_samplers.estimate.adaptation.adapt_heads", lambda *_, **__: pytest.fail("steps are made after an interrupt")
    )
    estimate = small.condition(torch.linspace(-1, 1, 200)[:, None])
    if judged < 4:  # the plain way, parts, and the criterion of each
        with pytest.raises(KeyboardInterrupt):
            estimate.adapt()
    else:
        adapted = estimate.adapt()
        grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
        assert float(torch.trapezoid(adapted.log_prob(grid[:, None]).exp(), grid)) == pytest.approx(1.0, abs=0.05)
        report = adapted.report
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
        ({"num_steps": 0, "learning_rate": -3.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"max_seconds": -1.0}, "max_seconds"),
    ],
)
def test_wrong_options_of_adapt(small, rng, options, match):
    with pytest.raises(ValueError, match=match):
        small.condition(points(rng)).adapt(**options)


def test_units_do_not_change_an_adaptation(small, rng):
    x = torch.randn(60, 1, generator=rng).double()
    plain, scaled = (small.condition(s * x).adapt(num_steps=3) for s in (1.0, 1e6))
    torch.testing.assert_close(torch.tensor(scaled.report.losses), torch.tensor(plain.report.losses), rtol=1e-3, atol=0)
    torch.testing.assert_close(1e6 * scaled.score(1e6 * x), plain.score(x), rtol=1e-2, atol=1e-3)
