"""Everything that takes draws honours their weights: a row of weight w counts as w rows that are the same."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from disco_samplers import Draws, LangevinSampler
from disco_samplers.draws import evenly
from disco_samplers.estimators import (
    AtomTransform,
    JohnsonTransform,
    TailTransform,
    fit_mixture,
    heavy_tails,
    log_normalizer,
    may_be_independent,
)
from disco_samplers.measures import (
    conditional_mutual_information,
    entropy,
    fisher_information,
    kernel_stein_discrepancy,
    kl_divergence,
    maximum_mean_discrepancy,
    mutual_information,
    precision_recall,
    relative_fisher_information,
    sliced_wasserstein,
)
from disco_samplers.posteriors import merge_subposteriors, subposterior


def rng():
    return torch.Generator().manual_seed(1)


def correlated(seed=0):
    x = torch.randn(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x[:, 1] += 0.5 * x[:, 0]
    return x


X = correlated()
W = torch.where(X[:, 0] > 0.3, 3, 1)
W[:4] = 0
OTHER = correlated(1) + 0.5
QUERIES = correlated(2)[:5]
OPTIONS = {"seed": 0, "calibrate": False}
RUN = {"num_samples": 2, "num_warmup": 3, "num_chains": 3, "seed": 0, "progress": False}


def sampled(model, draws):
    return LangevinSampler(score=model, preconditioner="dense").run(context=draws, **RUN).draws


def merged(model, draws):
    run = {"num_samples": 1, "num_warmup": 2, "num_chains": 5, "seed": 0, "progress": False}
    return merge_subposteriors([draws, OTHER], model=model, **run).draws


def counted(draws):
    rows, counts = draws.counts()
    return {"samples": rows, "counts": counts}


def johnson(model, draws):
    fitted = JohnsonTransform.fit(*draws.counts())
    return fitted.location, fitted.width


def atoms(model, draws):
    """The least twelfth of the rows, and by weight a part that tells, shares a value."""
    rows, counts = draws.counts()
    fitted = AtomTransform.fit(rows.clamp_min(-0.5), rows.new_full((rows.shape[1],), 1e-3), counts)
    return fitted.places, fitted.widths


def conditional(model, draws):
    law = model.condition(draws).conditional({0: [-0.5, 1.0]})
    return law.log_prob(QUERIES[:2, None, 1:]), law.mean(), law.quantile([0.1, 0.9])


def modes(model, draws):
    found = model.condition(draws).modes()
    return torch.stack([mode.location for mode in found]), torch.tensor([mode.mass for mode in found])


def supported(model, draws):
    return model.condition(draws.replaced(draws.values.exp()), support=["positive"] * draws.dim).log_prob(QUERIES.exp())


def circular(model, draws):
    estimate = model.condition(draws, support={0: "circular:60"})
    return estimate.log_prob(QUERIES), torch.tensor(estimate.estimator.layout.centres)


def tails(radial):
    def fit(model, draws):
        rows, counts = draws.counts()
        fitted = TailTransform.fit(rows, 0.3, radial=radial, counts=counts)
        return fitted.center, fitted.matrix

    return fit


def mixture(model, draws):
    found = fit_mixture(**counted(draws))
    return found.weights, found.means, found.covariances


def pyro(model, draws):
    distribution = pytest.importorskip("disco_samplers.integrations.pyro").SampleDistribution(draws, model=model)
    return distribution.log_prob(QUERIES), distribution.mean, distribution.variance


def diffusion(share):
    def scores(model, draws):
        of_data = pytest.importorskip("disco_samplers.integrations.diffusers").DiscoScoreModel.from_data
        made = of_data(draws, model=model, replicas=1, share=share, context_size=40)
        return made.score(QUERIES.float(), 0.3), made.weight, made.log_sigma

    return scores


def adapted(model, draws):
    estimate = model.condition(draws).adapt(num_steps=1, learning_rate=1e-3)
    return estimate.log_prob(QUERIES), torch.tensor(list(estimate.report.tried.values()))


ENTRY_POINTS = {
    "condition": lambda m, x: m.condition(x).log_prob(QUERIES),
    "effective size": lambda m, x: m.condition(x).effective_size,
    "sample": lambda m, x: m.condition(x).sample(4, generator=rng(), num_steps=2),
    "log_normalizer": lambda m, x: log_normalizer(m.condition(x).estimator, num_samples=200, generator=rng()).value,
    "adapt": adapted,
    "conditional": conditional,
    "marginal": lambda m, x: m.condition(x).marginal([1]).log_prob(QUERIES[:, 1:]),
    "highest density": lambda m, x: m.condition(x).highest_density(0.8, generator=rng()).level,
    "share in it": lambda m, x: m.condition(x).highest_density(0.3, generator=rng()).fraction,
    "modes": modes,
    "sampler": sampled,
    "sampler from an estimate": lambda m, x: LangevinSampler(score=m.condition(x)).run(**RUN).draws,
    "entropy": lambda m, x: entropy(x, model=m, seed=0).value,
    "entropy, its error": lambda m, x: entropy(x, model=m, **OPTIONS).standard_error,
    "KL divergence from": lambda m, x: kl_divergence(x, OTHER, model=m, **OPTIONS).value,
    "KL divergence to": lambda m, x: kl_divergence(OTHER, x, model=m, **OPTIONS).value,
    "mutual information": lambda m, x: mutual_information(x.columns([0]), x.columns([1]), model=m, **OPTIONS).value,
    "conditional mutual information": lambda m, x: (
        conditional_mutual_information(
            x.columns([0]), x.columns([1]), Draws(x.values[:, :1] * x.values[:, 1:2], weights=x.weights), model=m, **OPTIONS
        ).value
    ),
    "Fisher information": lambda m, x: fisher_information(x, model=m, marginals="linear", seed=0).value,
    "relative Fisher information": lambda m, x: relative_fisher_information(x, OTHER, model=m, marginals="linear").value,
    "Stein": lambda m, x: kernel_stein_discrepancy(x, lambda y: -y, bandwidth=1.0).value,
    "sliced Wasserstein": lambda m, x: sliced_wasserstein(x, OTHER),
    "MMD": lambda m, x: maximum_mean_discrepancy(x, OTHER),
    "subposterior": lambda m, x: subposterior(x, m, generator=rng()).score.log_prob(QUERIES),
    "merging": merged,
    "Johnson": johnson,
    "atoms": atoms,
    "support": supported,
    "circle": circular,
    "tails by radius": tails(True),
    "tails by column": tails(False),
    "mixture": mixture,
    "heavy tails": lambda m, x: heavy_tails(**counted(x), radial=True),
    "heavy tails by column": lambda m, x: heavy_tails(**counted(x), radial=False),
    "Pyro": pyro,
    "diffusion": diffusion(1.0),
    "diffusion in a basis": diffusion(0.6),
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_a_weight_counts_as_so_many_rows(small, name):
    evaluate, model = ENTRY_POINTS[name], small.double()
    weighted = evaluate(model, Draws(X, weights=W))
    repeated = evaluate(model, Draws(X.repeat_interleave(W, 0), weights=torch.ones(int(W.sum()))))
    torch.testing.assert_close(weighted, repeated, rtol=1e-6, atol=1e-8)
    plain = evaluate(model, Draws(X[W > 0]))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(weighted, plain, rtol=1e-6, atol=1e-8)


def test_independence_is_judged_by_weights():
    """The columns are independent among the rows of great weight only."""
    free, tied = torch.randn(300, 2, generator=rng()), torch.randn(300, 1, generator=rng()).expand(-1, 2)
    x = torch.cat([free, tied])
    assert not may_be_independent(x)
    assert may_be_independent(x, counts=torch.cat([torch.ones(300), torch.full((300,), 1e-6)]))


def test_mid_ranks_of_ties_do_not_depend_on_the_order_of_rows():
    x = torch.randint(0, 2, (2000, 2), generator=rng()).float()
    assert may_be_independent(x)
    assert not may_be_independent(torch.cat([x, x[:, :1].expand(-1, 2)]))


@pytest.mark.parametrize("columns", ["continuous", "with whole numbers"])
def test_sample_weight_counts_as_so_many_rows(columns):
    sklearn = pytest.importorskip("disco_samplers.integrations.sklearn")
    table, weight = X.numpy().copy(), W.numpy()
    if columns == "with whole numbers":
        table[:, 1] = np.round(3 * table[:, 1])
    for kind in (sklearn.DiscoDensity(normalize=False), sklearn.DiscoOutlierDetector(robust=False)):
        weighted = kind.fit(table, sample_weight=weight).score_samples(QUERIES.numpy())
        repeated = kind.fit(np.repeat(table, weight, 0)).score_samples(QUERIES.numpy())
        plain = kind.fit(table).score_samples(QUERIES.numpy())
        gap = np.abs(weighted - repeated).max()
        # Whole numbers are drawn from their cells, anew for each of the repeated rows.
        assert gap < (1e-6 if columns == "continuous" else 0.5 * np.abs(weighted - plain).max())


def test_velocities_keep_their_weights():
    plasma = pytest.importorskip("disco_samplers.integrations.plasma")
    draws = Draws(X, weights=W)
    ions = plasma.load_draws(plasma.Grid(12.0, 32), draws, density=2.0)
    assert len(ions.v) == int((W > 0).sum())
    torch.testing.assert_close(ions.w, (24.0 * W[W > 0] / W.sum()).double(), rtol=1e-6, atol=0.0)


def test_what_cannot_honour_weights_refuses_and_says_what_to_do():
    draws = Draws(X, weights=W)
    for call in (
        lambda: np.asarray(draws),
        lambda: precision_recall(draws, OTHER),
        lambda: LangevinSampler(score=lambda x: -x).run(1, initial=draws, progress=False),
    ):
        with pytest.raises((TypeError, ValueError), match=r"draws\.resample\(.., seed=0\)"):
            call()
    np.testing.assert_array_equal(np.asarray(Draws(X)), X)
    assert precision_recall(Draws(X), X) == (1.0, 1.0)


def test_even_rows_stand_for_weights():
    found = evenly(X, W.double(), int(W.sum()))
    assert torch.equal(found, X.repeat_interleave(W, 0))


def test_columns_of_draws_are_aligned_before_merging(small):
    named = Draws(X, names=["a", "b"], weights=W)
    turned = Draws(OTHER[:, [1, 0]], names=["b", "a"])
    run = {"model": small, "num_samples": 1, "num_warmup": 1, "num_chains": 4, "seed": 0, "progress": False}
    result = merge_subposteriors([named, turned], **run)
    assert list(result.names) == ["a", "b"]
    torch.testing.assert_close(result.draws, merge_subposteriors([Draws(X, weights=W), OTHER], **run).draws)
    with pytest.raises(ValueError, match=r"shards\[1\] has the columns a, c"):
        merge_subposteriors([named, Draws(OTHER, names=["a", "c"])], **run)


def test_names_of_the_context_are_kept(small):
    assert list(LangevinSampler(score=small).run(context=Draws(X, names=["mu", "tau"]), **RUN).names) == ["mu", "tau"]


def test_pairs_of_columns_must_be_of_the_same_draws(small):
    with pytest.raises(ValueError, match="same draws"):
        mutual_information(Draws(X[:, :1], weights=W + 1), Draws(X[:, 1:]), model=small)


def test_plot_of_weighted_draws(small, tmp_path):
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small.condition(Draws(X, weights=W)).plot(path=str(tmp_path / "weighted.png"))
    assert (tmp_path / "weighted.png").stat().st_size > 0
