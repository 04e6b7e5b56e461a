"""Tension against normals and mixtures whose answer is known; the two-sample test against its stated false-alarm rate."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from disco_samplers import Draws, cli
from disco_samplers.posteriors import tension, two_sample
from disco_samplers.posteriors.shift import log_chi2, sigmas_of

MIXTURE = {"proposal": "mixture", "seed": 0}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normals(n, d, shift, seed=0):
    g = seeded(seed)
    a, b = torch.randn(n, d, generator=g).double(), torch.randn(n, d, generator=g).double()
    b[:, 0] += shift
    return a, b


@pytest.mark.parametrize("sigmas", [0.01, 1.0, 5.0, 30.0])
def test_sigmas(sigmas):
    log_p = float(torch.special.log_ndtr(torch.tensor(-sigmas).double())) + math.log(2)
    assert sigmas_of(log_p) == pytest.approx(sigmas, rel=1e-6)
    assert sigmas_of(log_chi2(4.0, 1)) == pytest.approx(2.0)


def test_sigmas_of_what_is_no_float():
    """Of four degrees of freedom P(> q) = (1 + q / 2) exp(-q / 2), here e^-1992; of one, n sigmas at q = n^2."""
    assert log_chi2(4000.0, 4) == pytest.approx(math.log(2001) - 2000, rel=1e-12)
    assert sigmas_of(log_chi2(1e4, 1)) == pytest.approx(100.0, rel=1e-9)
    assert sigmas_of(-math.inf) == math.inf


@pytest.mark.parametrize(("d", "shift"), [(1, 3.0), (3, 9.0), (2, 90.0)])
def test_normals(d, shift):
    """Each within five of its errors of the closed form, far tails included."""
    found = tension(*normals(600, d, shift), **MIXTURE)
    exact = sigmas_of(log_chi2(shift**2 / 2, d))
    log_s = d / 2 - shift**2 / 4
    for part, true in (
        (found.shift, exact),
        (found.gaussian, exact),
        (found.log_suspiciousness, log_s),
        (found.kl_divergence, shift**2 / 2),
        (found.suspicion, sigmas_of(log_chi2(d - 2 * log_s, d))),
    ):
        assert abs(part.value - true) < 5 * part.standard_error, part
    assert found.shift.standard_error < 0.3 * max(1, shift / 9)
    assert found.p_value == pytest.approx(math.exp(log_chi2(0, d)) - math.erf(found.shift.value / 2**0.5), abs=1e-6)


def test_a_mixture_is_no_normal():
    """A posterior of two modes with the other's between them: Q_DM sees none, the density of differences does."""
    g = seeded(0)
    sign = torch.randint(2, (1500, 1), generator=g) * 2 - 1
    a = 4.0 * sign + 0.5 * torch.randn(1500, 1, generator=g).double()
    b = 0.5 * torch.randn(1500, 1, generator=g).double()
    found = tension(a, b, **MIXTURE)
    # f is half N(4, .5) and half N(-4, .5): what is less likely than zero lies between its modes, or beyond 8.
    at = math.sqrt(0.5)
    exact = math.erfc(4 / at / 2**0.5)
    assert found.gaussian.value < 0.1
    assert abs(found.shift.value - sigmas_of(math.log(exact))) < 5 * found.shift.standard_error + 0.05


@pytest.mark.slow
def test_the_network_for_the_density_of_differences():
    found = tension(*normals(80, 1, 2.0), proposal="estimate", seed=0)
    assert found.kind == "estimate"
    assert abs(found.shift.value - 2 / 2**0.5) < 5 * found.shift.standard_error + 0.1


def test_names_are_matched_and_others_refused():
    a, b = normals(80, 2, 4.0)
    one = tension(pd.DataFrame(a, columns=["m", "s"]), pd.DataFrame(b, columns=["m", "s"]), **MIXTURE)
    swapped = tension(pd.DataFrame(a, columns=["m", "s"]), pd.DataFrame(b, columns=["m", "s"])[["s", "m"]], **MIXTURE)
    assert swapped == one
    with pytest.raises(ValueError, match="same parameters: a has m, s, b has m, t"):
        tension(Draws(a, names=["m", "s"]), Draws(b, names=["m", "t"]))
    with pytest.raises(ValueError, match="same parameters"):
        tension(a, b[:, :1])
    with pytest.raises(ValueError, match="b has 12 distinct draws of 2 parameters"):
        tension(a, b[:12])
    with pytest.raises(ValueError, match="same support"):
        tension(Draws(a, support=[(-9, 9), (None, None)]), Draws(b, support=[(-10, 9), (None, None)]))
    with pytest.raises(ValueError, match="proposal must be"):
        tension(a, b, proposal="best")


def test_correlated_draws_are_less_sure():
    """Chains that are worth a tenth of their rows: an error about three times as large."""
    g = seeded(1)
    x = torch.randn(2, 4, 1000, 1, generator=g).double()
    free = tension(x[0].reshape(-1, 1), x[1].reshape(-1, 1) + 3, **MIXTURE).gaussian.standard_error
    for t in range(1, 1000):
        x[:, :, t] = 0.82 * x[:, :, t - 1] + math.sqrt(1 - 0.82**2) * x[:, :, t]
    chains = tension(Draws(x[0]), Draws(x[1] + 3), **MIXTURE).gaussian.standard_error
    assert chains > 1.5 * free


@pytest.mark.slow
def test_false_alarms():
    """At 20 % over 24 pairs of one law: more than 12 alarms once in 4,000 times."""
    alarms = 0
    for i in range(24):
        g = seeded(i)
        a, b = torch.randn(60, 1, generator=g), torch.randn(80, 1, generator=g)
        alarms += two_sample(a, b, alpha=0.2, num_permutations=49, generator=g).differ
    assert alarms <= 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x + torch.tensor([0.0, 0.7]), "location of x1"),
        (lambda x: x * torch.tensor([2.0, 1.0]), "spread of x0"),
        (lambda x: torch.stack([x[:, 0], 0.9 * x[:, 0] + 0.44 * x[:, 1]], 1), "density"),
    ],
)
def test_where_they_differ(change, said):
    g = seeded(0)
    a, b = torch.randn(400, 2, generator=g), change(torch.randn(400, 2, generator=g))
    found = two_sample(a, b, seed=0)
    assert found.differ
    assert said in found.differences
    ratio = found.log_ratio(torch.cat([a, b]))
    assert float(ratio[:400].mean()) > float(ratio[400:].mean())


def test_blocks_of_chains():
    """Chains that are worth little have their labels permuted in blocks; with too few of them nothing can be said."""
    g = seeded(0)
    x = torch.randn(2, 2, 2000, 1, generator=g).double()
    for t in range(1, 2000):
        x[:, :, t] = 0.95 * x[:, :, t - 1] + math.sqrt(1 - 0.95**2) * x[:, :, t]
    assert (
        two_sample(x[0].reshape(-1, 1), x[1].reshape(-1, 1), seed=0).p_value
        < two_sample(Draws(x[0]), Draws(x[1]), seed=0).p_value
    )
    with pytest.raises(ValueError, match="too few for blocks"):
        two_sample(Draws(x[0, :, :200]), Draws(x[1]), seed=0)
    with pytest.raises(ValueError, match="alpha must lie between"):
        two_sample(x[0, 0], x[1, 0], alpha=0.0005)


@pytest.mark.parametrize("compare", [tension, two_sample])
def test_proposals(small, compare):
    x = torch.randn(100, 2, generator=seeded(0))
    with pytest.raises(ValueError, match='model has no effect with proposal "mixture"'):
        compare(x, x + 1, proposal="mixture", model=small)
    with pytest.raises(ValueError, match="proposal must be"):
        compare(x, x + 1, proposal="best")
    with pytest.raises(TypeError, match="model must be"):
        compare(x, x + 1, proposal="auto", model=small.network)


def test_a_model_is_not_ignored_by_default(small):
    x = torch.randn(100, 2, generator=seeded(0))
    with pytest.raises(ValueError, match="model has no effect"):
        two_sample(x, x + 1, model=small)


def test_weighted_draws():
    """A law and the same law by importance weights."""
    g = seeded(4)
    wide = 1.5 * torch.randn(2000, 2, generator=g).double()
    weighted = Draws(wide, weights=(-0.5 * wide.square().sum(1) * (1 - 1 / 1.5**2)).exp())
    plain = torch.randn(1000, 2, generator=g).double()
    assert not two_sample(plain, weighted, alpha=0.001, seed=0).differ
    assert two_sample(plain, wide, alpha=0.001, seed=0).differ


def test_the_command(tmp_path, capsys):
    a, b = normals(300, 2, 4.0)
    pd.DataFrame(a, columns=["m", "s"]).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(np.c_[b, a[:, :1]], columns=["m", "s", "own"]).to_csv(tmp_path / "b.csv", index=False)
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert cli.main(["compare", *paths]) == 0
    said = capsys.readouterr().out
    assert "compared in m, s" in said
    assert "location of m" in said
    assert cli.main(["compare", *paths, "--model", "rotations"]) == 1
    assert 'model has no effect with proposal "mixture"' in capsys.readouterr().err
    assert cli.main(["compare", *paths, "--tension", "--quiet"]) == 0
    assert "Q_DM = " in capsys.readouterr().out
    pd.DataFrame(b, columns=["u", "v"]).to_csv(tmp_path / "c.csv", index=False)
    assert cli.main(["compare", paths[0], str(tmp_path / "c.csv")]) == 1
    assert "no column in common: m, s; u, v" in capsys.readouterr().err
    assert cli.main(["compare", *paths, "--exclude", "own", "--quiet"]) == 0
    assert "compared in m, s" in capsys.readouterr().out
    assert cli.main(["compare", *paths, "--exclude", "lp"]) == 1
    assert "a.csv has no column lp: there are m, s" in capsys.readouterr().err


@pytest.mark.parametrize("starts", [(0, 0), (0, -180)])
def test_angles_about_the_seam_are_as_far_apart_as_others(starts):
    """Normal angles of 20 degrees, one posterior 60 degrees on from the other: the seam between them makes no difference."""
    noise = np.random.default_rng(0).normal(0, 20, (2, 200)) + np.array([[0], [60]])

    def found(turn, starts):
        sides = [
            Draws((x[:, None] + turn - low) % 360 + low, support=["circular:360"]) for x, low in zip(noise, starts, strict=True)
        ]
        return tension(*sides, proposal="mixture", seed=0)

    away, there = found(150, (0, 0)), found(0, starts)
    exact = abs(np.diff(noise.mean(1))[0]) / np.hypot(*noise.std(1, ddof=1))
    assert there.gaussian.value == pytest.approx(exact, abs=0.05)
    assert there.shift.value == pytest.approx(away.shift.value, abs=0.05)
    assert there.kl_divergence.value == pytest.approx(away.kl_divergence.value, abs=0.1 * away.kl_divergence.value)


def test_two_sets_of_angles_differ_by_their_place(rng):
    noise = np.random.default_rng(0).normal(0, 20, (2, 300, 1)) + np.array([0, 60])[:, None, None]
    sides = [Draws(x % 360, names=["a"], support=["circular:360"]) for x in noise]
    assert "location of a" in str(two_sample(*sides, seed=0))


def test_equal_values_in_chains_are_no_shift():
    """Counts of one law; as ranks by place told their location apart (p = 0.03)."""
    rng = np.random.default_rng(0)
    sides = [Draws(np.c_[rng.poisson(2, 400), rng.normal(size=400)].reshape(4, 100, 2)) for _ in range(2)]
    assert two_sample(*sides, num_permutations=99, seed=0).p_value > 0.05
