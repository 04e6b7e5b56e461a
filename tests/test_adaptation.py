"""Adaptation: what its steps do, when they are kept, and how it is interrupted."""

import itertools
import math

import pytest
import torch
from conftest import points

from disco_samplers import AdaptationReport, DensityEstimate
from disco_samplers.estimators import MIXTURE, Trial, consistency, read


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
    report = estimate.adapt(num_steps=1000, budget=0.0).report
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


def trying(monkeypatch, after, end):
    """Rows likelier by a nat in parts than otherwise, and an end of the search when so many ways have been judged."""
    calls = itertools.count()

    def judge(self, kind):
        if next(calls) == after:
            raise end
        rows = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.losses[kind] = rows - float(kind == ("parts", 0.0))
        return float(self.losses[kind].mean())

    monkeypatch.setattr(Trial, "judge", judge)
    monkeypatch.setattr(Trial, "judge_mixture", lambda self: self.losses.update({MIXTURE: torch.full((200,), 9.0).double()}))
    monkeypatch.setattr(
        "disco_samplers.estimate.adaptation.adapt_heads", lambda *_, **__: pytest.fail("steps are made after the end")
    )


@pytest.mark.parametrize("end", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("judged", [0, 1, 2])
def test_the_end_of_the_search_loses_nothing(small, rng, monkeypatch, judged, end):
    trying(monkeypatch, judged, end)
    x = torch.cat([torch.linspace(-3, -2, 100), torch.linspace(2, 3, 100)])[:, None]
    estimate = small.condition(x)
    if end is KeyboardInterrupt and judged < 2:  # the samples as they are, and parts
        with pytest.raises(KeyboardInterrupt):
            estimate.adapt(num_steps=2)
        return
    adapted = estimate.adapt(num_steps=2)
    report = adapted.report
    assert report.stopped == ("interrupt" if end is KeyboardInterrupt else "budget")
    assert report.coordinates == (("parts", 0.0) if judged == 2 else ("plain", 0.0))
    assert (report.losses, report.criterion, report.chosen, report.mixture) == ([], [], 0, 0.0)
    if judged < 2:
        assert torch.equal(adapted.log_prob(x), estimate.log_prob(x))
        return
    assert report.gain == pytest.approx(1.0)
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    assert float(torch.trapezoid(adapted.log_prob(grid[:, None]).exp(), grid)) == pytest.approx(1.0, abs=0.05)


def test_an_interrupt_while_the_answer_is_made_is_heard_once(small, monkeypatch):
    trying(monkeypatch, 2, TimeoutError)
    x = torch.cat([torch.linspace(-3, -2, 100), torch.linspace(2, 3, 100)])[:, None]
    calls = itertools.count(1)

    def read_once_in_vain(*args, **options):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return read(*args, **options)

    monkeypatch.setattr("disco_samplers.estimate.adaptation.read", read_once_in_vain)
    report = small.condition(x).adapt().report
    assert (report.coordinates, report.stopped) == (("parts", 0.0), "interrupt")


def test_what_would_end_past_the_deadline_is_not_begun(small, rng, monkeypatch):
    """By a clock that stands still, and a pace of a second for a million pairs."""
    monkeypatch.setattr("disco_samplers.estimators.trial.time.monotonic", lambda: 0.0)
    trial = Trial(small.network, points(rng, 90), counts=None, blocks=None, keys=None, seed=0, deadline=1.0, pace=1e-6)
    trial.check(900_000)
    trial.reserve = 200_000
    with pytest.raises(TimeoutError):
        trial.check(900_000)
    with pytest.raises(TimeoutError):
        trial.check(10_000_000)


def test_no_time_changes_nothing(small, rng):
    x = points(rng, 120)
    estimate = small.condition(x)
    adapted = estimate.adapt(budget=0.0)
    assert torch.equal(adapted.log_prob(x), estimate.log_prob(x))
    assert str(adapted.report).endswith("nothing tried is better on held-out rows; ended by the budget")


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (AdaptationReport(seconds=0.24), "not adapted, 0.2 s: too few rows or too many columns to try more"),
        (
            AdaptationReport(
                {("columns", 0.3): 1.0}, gain=0.21, standard_error=0.004, seconds=3.0, tried={("plain", 0.0): 1.0}
            ),
            "adapted in 3.0 s: tails drawn in by column, strength 0.3; held-out rows likelier by 0.210 ± 0.004 nats",
        ),
        (
            AdaptationReport({("mixture", 0.0): 0.6, ("plain", 0.0): 0.4}, 0.1, 0.01, seconds=9.0, losses=[1.0, 2.0], chosen=1),
            "adapted in 9.0 s: 60 % a Gaussian mixture, 40 % samples read as they are, step 1 of 2 kept; "
            "held-out rows likelier by 0.100 ± 0.010 nats",
        ),
    ],
)
def test_a_report_is_one_line(report, line):
    assert str(report) == line


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_adapt_takes_the_smallest_sets(small, rng, n):
    x = points(rng, n, 2)
    estimate = small.condition(x)
    adapted = estimate.adapt(num_steps=2)
    assert torch.isfinite(adapted.log_prob(x)).all()
    if n < 4:
        assert adapted.report.losses == []
        assert torch.equal(adapted.log_prob(x), estimate.log_prob(x))


def test_adapt_of_columns_without_variance(small, rng):
    x = points(rng)
    x[:, 1] = 5.0
    estimate = small.condition(x)
    assert torch.equal(estimate.adapt().log_prob(x), estimate.log_prob(x))
    assert torch.isfinite(estimate.adapt(num_steps=2).log_prob(x)).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_steps": -1}, "num_steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"num_steps": 0, "learning_rate": -3.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"budget": -1.0}, "budget"),
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
