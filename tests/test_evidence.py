"""The evidence against closed forms, its error against its scatter, and what it says to a log-posterior of other draws."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from disco_samplers import Draws, cli
from disco_samplers.convergence import pareto_k
from disco_samplers.posteriors import Evidence, EvidenceWarning, Measured, log_evidence
from disco_samplers.reference import Gaussian, GaussianMixture

MIXTURE = {"proposal": "mixture", "seed": 0}
CONSTANT = 7.5


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(d):
    return Gaussian(torch.arange(d).double(), torch.eye(d).double())


def modes():
    means = torch.tensor([[0.0, 5.0], [5.0, 0.0]]).double()
    return GaussianMixture(torch.ones(2).double(), means, torch.ones(2, 2).double())


def autoregressive(chains, n, d, rho, seed):
    x = torch.randn(chains, n, d, generator=seeded(seed)).double()
    for t in range(1, n):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * x[:, t]
    return x


def far(found, exact=CONSTANT):
    """By how many of its errors an evidence is off; more than five by chance once in a million."""
    return abs(found.log_z - exact) / found.standard_error


@pytest.mark.parametrize("law", [normal(1), normal(6), modes()], ids=["d=1", "d=6", "modes"])
def test_closed_forms(law):
    x = law.sample(800, generator=seeded(1))
    bridged = log_evidence(x, lambda t: law.evaluate(t) + CONSTANT, **MIXTURE)
    stored = log_evidence(Draws(x, log_prob=law.evaluate(x) + CONSTANT), **MIXTURE)
    assert far(bridged) < 5
    assert far(stored) < 5
    assert bridged.standard_error < 0.03
    assert stored.standard_error < 0.1
    assert (bridged.method, stored.method) == ("bridge", "reciprocal")
    assert bridged.num_evaluations == 1600


def test_the_network_as_proposal():
    """A law with a bend, which one normal does not follow; the estimate's normaliser and its pool have errors too."""

    def log_prob(t):
        return -0.5 * t[:, 0].square() - 0.5 * ((t[:, 1] - t[:, 0].square()) / 0.5).square()

    z = torch.randn(600, 2, generator=seeded(3)).double()
    x = torch.stack([z[:, 0], z[:, 0].square() + 0.5 * z[:, 1]], 1)
    found = log_evidence(x, log_prob, proposal="estimate", seed=0)
    assert found.proposals == ("estimate", "estimate")
    assert far(found, math.log(math.pi)) < 5
    assert found.standard_error < 0.1


def test_conjugate_regression():
    """Bayes factor of a line against a constant, both in closed form."""
    t = torch.linspace(-1, 1, 30).double()
    y = 0.5 + 0.4 * t + 0.5 * torch.randn(30, generator=seeded(5)).double()
    found, exact = [], []
    for k in (1, 2):
        design = torch.stack([torch.ones_like(t), t], 1)[:, :k]
        noise, prior = Gaussian(torch.zeros(30).double(), 0.25 * torch.eye(30).double()), normal(1)
        exact.append(
            float(Gaussian(torch.zeros(30).double(), 0.25 * torch.eye(30).double() + design @ design.T).evaluate(y[None])[0])
        )
        precision = torch.eye(k).double() + design.T @ design / 0.25
        posterior = Gaussian(torch.linalg.solve(precision, design.T @ y / 0.25), torch.linalg.inv(precision))

        def log_posterior(b, design=design, noise=noise, prior=prior):
            return noise.evaluate(y - b @ design.T) + sum(prior.evaluate(column[:, None]) for column in b.T)

        found.append(log_evidence(posterior.sample(600, generator=seeded(k)), log_posterior, **MIXTURE))
    for one, true in zip(found, exact, strict=True):
        assert far(one, true) < 5
    factor = found[1] - found[0]
    assert isinstance(factor, Measured)
    assert abs(float(factor) - (exact[1] - exact[0])) < 5 * factor.standard_error


@pytest.mark.slow
def test_the_error_is_the_scatter():
    """Of 12 repeats: the mean square of (log Z - truth) / error is chi-squared over 12, outside these bounds once in 5,000."""
    law = normal(2)
    off = []
    for i in range(12):
        x = law.sample(150, generator=seeded(100 + i))
        off.append(far(log_evidence(x, law.evaluate, proposal="mixture", generator=seeded(i)), 0.0) ** 2)
    assert 0.11 < sum(off) / 12 < 3.5


def test_chains_and_weights():
    """Correlated and weighted draws: right, and less sure than as many independent ones."""
    chains = log_evidence(Draws(autoregressive(4, 500, 2, 0.9, 0)), lambda t: -0.5 * t.square().sum(1), **MIXTURE)
    assert far(chains, math.log(2 * math.pi)) < 5
    x = 1.5 * torch.randn(2000, 2, generator=seeded(2)).double()
    log_weight = -0.5 * x.square().sum(1) * (1 - 1 / 1.5**2)
    weighted = log_evidence(Draws(x, weights=log_weight.exp()), lambda t: -0.5 * t.square().sum(1), **MIXTURE)
    assert far(weighted, math.log(2 * math.pi)) < 5


@pytest.mark.slow
def test_bounds():
    """An exponential and a uniform column, whose densities have edges: a normal fit of them as they are would be poor."""
    x = torch.stack([torch.rand(800, generator=seeded(0)).log().neg(), torch.rand(800, generator=seeded(1))], 1).double()
    draws = Draws(x, support=[(0.0, None), (0.0, 1.0)])
    found = log_evidence(draws, lambda t: CONSTANT - t[:, 0], **MIXTURE)
    plain = log_evidence(
        x, lambda t: torch.where((t > 0).all(1) & (t[:, 1] < 1), CONSTANT - t[:, 0], -math.inf), proposal="mixture", seed=0
    )
    assert far(found) < 5
    assert far(plain) < 5
    assert found.standard_error < plain.standard_error
    stored = log_evidence(Draws(x, support=draws.support, log_prob=CONSTANT - x[:, 0]), **MIXTURE)
    assert far(stored) < 5
    on = x.clone()
    on[5, 1] = 1.0
    with pytest.raises(ValueError, match="on the bound of column x1, the first at row 5"):
        log_evidence(Draws(on, support=draws.support), lambda t: -t[:, 0], **MIXTURE)


X = torch.randn(500, 3, generator=seeded(9)).double()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: -0.25 * t.square().sum(1),  # another temperature
        lambda t: -0.5 * (t - 0.7).square().sum(1),  # another place
        lambda t: -0.5 * t.square().sum(1) + 2 * t[:, 0],  # a term that it lacks
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_another_log_posterior_is_found_out(wrong, stored):
    with pytest.raises(ValueError, match="do not follow the log-posterior"):
        log_evidence(*((Draws(X, log_prob=wrong(X)),) if stored else (X, wrong)), **MIXTURE)


def test_stored_values_of_a_funnel_are_in_doubt():
    """A mixture fits its neck badly, the weights are heavy: the result is said to be off, not refused."""
    width = 1.5 * torch.randn(20_000, 1, generator=seeded(3)).double()
    x = torch.cat([width, width.exp() * torch.randn(20_000, 1, generator=seeded(4)).double()], 1)
    log_prob = -0.5 * ((width / 1.5).square() + 2 * width + (x[:, 1:] / width.exp()).square())[:, 0]
    with pytest.warns(EvidenceWarning, match="Pareto k"), pytest.warns(EvidenceWarning, match="a fit that is poor"):
        found = log_evidence(Draws(x, log_prob=log_prob), **MIXTURE)
    assert abs(found.log_z - math.log(2 * math.pi * 1.5)) < 0.1


def test_a_slightly_other_log_posterior_is_doubted():
    x = torch.randn(20000, 2, generator=seeded(9)).double()
    with pytest.warns(EvidenceWarning, match="may not follow"):
        log_evidence(Draws(x, log_prob=-0.42 * x.square().sum(1)), **MIXTURE)


def test_stored_values_of_other_draws():
    with pytest.raises(ValueError, match="do not follow the log-posterior"):
        log_evidence(Draws(X, log_prob=-5 * X.square().sum(1).flip(0)), **MIXTURE)


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        (lambda t: t, ValueError, r"must give \(m,\) for points \(m, d\), gave \(500, 3\)"),
        (lambda t: -t.square().sum(1, keepdim=True), ValueError, r"gave \(500, 1\)"),
        (lambda t: t[:, 0] * math.nan, ValueError, "log_posterior is nan at"),
        (lambda t: torch.where(t[:, 0] > 0, 0.0, -math.inf), ValueError, "minus infinity at .* draws.*prior"),
        (lambda _: ["a"], TypeError, "log_posterior must hold real numbers"),
        (None, ValueError, "there is no log-posterior"),
    ],
)
def test_bad_functions(function, error, said):
    with pytest.raises(error, match=said):
        log_evidence(X, function, **MIXTURE)


@pytest.mark.parametrize(
    ("draws", "options", "said"),
    [
        (X[:29], {}, "29 distinct draws of 3 parameters: ten times"),
        (Draws(X, log_prob=X[:, 0]), {}, "not both"),
        (X, {"proposal": "best"}, "proposal must be"),
        (X, {"seed": 0, "generator": seeded(0)}, "not both"),
        (X, {"num_proposals": 3}, "num_proposals must be at least 100"),
        (torch.randn(300, 21, generator=seeded(0)), {"proposal": "estimate"}, "at most 20 columns"),
        (X * math.nan, {}, "draws: values holds NaN"),
    ],
)
def test_bad_arguments(draws, options, said):
    with pytest.raises(ValueError, match=said):
        log_evidence(draws, lambda t: -0.5 * t.square().sum(1), **options)


def test_options_without_effect(small):
    def log_posterior(t):
        return -0.5 * t.square().sum(1)

    with pytest.raises(ValueError, match='model has no effect with proposal "mixture"'):
        log_evidence(X, log_posterior, model=small, **MIXTURE)
    with pytest.raises(ValueError, match="num_proposals has no effect on stored values"):
        log_evidence(Draws(X, log_prob=log_posterior(X)), num_proposals=500, **MIXTURE)


def test_pareto_k():
    """Of weights u^-k it is k, to a few hundredths of 20,000."""
    u = np.random.default_rng(0).random(20000)
    assert pareto_k(-0.5 * np.log(u)) == pytest.approx(0.5, abs=0.1)
    assert math.isnan(pareto_k(np.zeros(100)))


def test_the_command(tmp_path, capsys, monkeypatch):
    """Two models of one column; the better one has the higher evidence by what the closed form says."""
    for name, scale in (("a", 1.0), ("b", 2.0)):
        x = scale * torch.randn(4, 200, generator=seeded(1)).double()
        lp = (-0.5 * (x / scale).square()).numpy()
        lines = ["chain,draw,m,lp"]
        lines += [f"{c},{i},{float(x[c, i])},{lp[c, i]}" for c in range(4) for i in range(200)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert cli.main(["evidence", *paths, "--log-posterior", "lp", "--proposal", "mixture"]) == 0
    said = capsys.readouterr().out
    assert "log evidence = " in said
    assert "800 draws of 4 chains" in said
    assert abs(float(said.split("log Bayes factor = ")[1].split()[0]) + math.log(2)) < 0.1
    from disco_samplers import posteriors

    log_evidence, calls = posteriors.log_evidence, iter(range(2))

    def interrupted(*arguments, **options):
        if next(calls):
            raise KeyboardInterrupt
        return log_evidence(*arguments, **options)

    monkeypatch.setattr(posteriors, "log_evidence", interrupted)
    assert cli.main(["evidence", *paths, "--log-posterior", "lp", "--proposal", "mixture", "--quiet", "--json"]) == 130
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "interrupted: these are 1 of 2 models\n"
    assert ([model["file"] for model in told["models"]], told["log_bayes_factors"]) == ([paths[0]], {})
    monkeypatch.undo()
    assert cli.main(["evidence", paths[0], "--log-posterior", "nothing"]) == 1
    assert "has no column nothing: it has m, lp" in capsys.readouterr().err
    table = pd.read_csv(paths[0]).assign(own=0.0)
    table.to_csv(tmp_path / "more.csv", index=False)
    more = ["evidence", paths[1], str(tmp_path / "more.csv"), "--log-posterior", "lp", "--proposal", "mixture"]
    assert cli.main([*more, "--exclude", "own", "--quiet"]) == 0
    assert "log Bayes factor = 0.6" in capsys.readouterr().out
    (tmp_path / "few.csv").write_text("m,lp\n1,2\n2,3\n")
    assert cli.main(["evidence", str(tmp_path / "few.csv"), "--log-posterior", "lp", "--proposal", "mixture"]) == 1
    assert "few.csv: draws has 2 distinct draws" in capsys.readouterr().err
    for command in (["evidence", paths[0], "--log-posterior", "lp", "--proposal", "mixture"], ["compare", *paths]):
        assert cli.main([*command, "--device", "cuda"]) == 1
        assert "--device cuda is for DiScoFormer's estimate, and --proposal mixture makes none" in capsys.readouterr().err


def test_stored_values_of_other_rows():
    """Their own values in another order; a flat law's values tell nothing, and are not accused."""
    x = torch.randn(1000, 2, generator=seeded(9)).double()
    with pytest.raises(ValueError, match="log_prob does not follow the draws: its values have a rank correlation of"):
        log_evidence(Draws(x, log_prob=-0.5 * x.square().sum(1).flip(0)), **MIXTURE)
    flat = Draws(torch.rand(1000, 2, generator=seeded(9)), log_prob=torch.full((1000,), CONSTANT), support=["unit", "unit"])
    assert far(log_evidence(flat, **MIXTURE)) < 5


@pytest.mark.parametrize("seed", range(5))
def test_stored_values_of_few_draws_are_not_accused(seed):
    """Twenty draws, of which some five judge the values: these tell a standard error badly, and t is not a normal law's."""
    x = torch.randn(20, 2, generator=seeded(seed)).double()
    assert far(log_evidence(Draws(x, log_prob=-0.5 * x.square().sum(1)), **MIXTURE), math.log(2 * math.pi)) < 5


def test_the_row_of_a_value_is_named():
    values = torch.zeros(500).double()
    values[3] = -math.inf
    with pytest.raises(ValueError, match="1 of 500 rows, first at row 3;"):
        log_evidence(Draws(X, log_prob=values), **MIXTURE)


def test_repr():
    shown = repr(Evidence(-3.0, 0.01, 0.2, "bridge", ("mixture", "mixture"), 10))
    assert shown == "log evidence = -3.000 ± 0.010 nats (bridge, Pareto k 0.20)"
