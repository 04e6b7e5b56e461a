"""Merging of subposteriors against exact products, and what it says to wrong shards."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from disco_samplers import cli, files
from disco_samplers.draws import Circle, Draws
from disco_samplers.posteriors import Edgeworth, OverlapWarning, merge_subposteriors, merged_posterior
from disco_samplers.posteriors.copies import Copies, groups
from disco_samplers.posteriors.images import Images, exchanges
from disco_samplers.posteriors.local import LocalEdgeworth, LocalGaussians, local
from disco_samplers.posteriors.shard import Shard
from disco_samplers.posteriors.subposterior import tilt, trust
from disco_samplers.reference import Gaussian, GaussianMixture
from disco_samplers.samplers import SamplerResult

FEW = {"num_samples": 2, "num_chains": 80, "num_warmup": 20, "thinning": 5, "seed": 0, "progress": False}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def gaussian_shards(n=500, d=3):
    """Draws of three Gaussians and their exact product."""
    laws = []
    for k in range(3):
        root = torch.randn(d, d, generator=seeded(k)).double()
        laws.append(
            Gaussian(torch.randn(d, generator=seeded(10 + k)).double(), root @ root.T / d + 0.5 * torch.eye(d).double())
        )
    precision = sum(torch.linalg.inv(law.covariances[0]) for law in laws)
    mean = torch.linalg.solve(precision, sum(torch.linalg.inv(law.covariances[0]) @ law.means[0] for law in laws))
    draws = [law.sample(n, generator=seeded(20 + k)) for k, law in enumerate(laws)]
    return draws, Gaussian(mean, torch.linalg.inv(precision))


def test_gaussian_shards():
    """The product's mean and covariance within what the draws of the shards tell (five standard errors and the merge's own)."""
    shards, exact = gaussian_shards()
    x = merge_subposteriors(shards, **FEW).flat
    root = torch.linalg.cholesky(exact.covariances[0])
    z = torch.linalg.solve_triangular(root, (x - exact.means[0]).T, upper=False).T
    assert float(z.mean(0).abs().max()) < 5 * (1 / 500 + 1 / 160) ** 0.5
    assert float((z.T.cov() - torch.eye(3)).abs().max()) < 0.6


def test_two_modes_keep_their_mass():
    """Shards with modes of unequal mass: the product's masses are the products of theirs, which no Gaussian product knows."""
    law = GaussianMixture(
        torch.tensor([0.35, 0.65]).double(), torch.tensor([[-2.0], [2.0]]).double(), torch.ones(2, 1).double()
    )
    shards = [law.sample(500, generator=seeded(k)) for k in range(3)]
    grid = torch.linspace(-6, 6, 2001).double()[:, None]
    weight = (3 * law.evaluate(grid)).softmax(0)
    exact = float(weight[grid[:, 0] > 0].sum())
    x = merge_subposteriors(shards, **FEW).flat
    assert abs(float((x > 0).double().mean()) - exact) < 0.12  # the draws alone leave a standard error of .03
    assert float(x.abs().mean()) == pytest.approx(float(weight @ grid[:, 0].abs()), abs=0.3)


ORDERS = [list(order) for order in itertools.permutations(range(3))]


def test_labels_keep_their_masses():
    """Six modes that label switching makes: the product's masses are those of the counts, though each shard's modes move.

    A share p of 3000 draws has a relative error of ((1 - p) / (3000 p))^(1/2), that of four shards' product twice as much: .1
    for the ratio of the two largest modes, whose error is that of the logs here. Three times that.
    """
    centres = torch.tensor([[0.0, 1.7], [-1.5, -0.9], [1.5, -0.9]]).double()
    weights = torch.tensor([0.1, 0.15, 0.15, 0.24, 0.16, 0.2]).double()
    shards = []
    for k in range(4):
        moved = centres + 0.2 * torch.randn(3, 2, generator=seeded(k)).double()
        means = moved[torch.tensor(ORDERS)].flatten(1)
        shards.append(GaussianMixture(weights, means, torch.full_like(means, 0.09)).sample(3000, generator=seeded(10 + k)))
    merged = merged_posterior(shards, seed=0)
    assert [len(shard.base.weights) for shard in merged.shards] == [6] * 4
    x = merged.sample(10, seed=0, progress=False).flat
    own = torch.cdist(x, centres[torch.tensor(ORDERS)].flatten(1)).argmin(1).bincount(minlength=6).double() / len(x)
    assert abs(float((own[3] / own[5]).log()) - 4 * float((weights[3] / weights[5]).log())) < 0.3
    assert abs(float(own[3]) - float(weights[3] ** 4 / weights.pow(4).sum())) < 0.08


def test_copies_are_told_from_others():
    """A mode is a copy by an exchange of columns, not one of another shape or place."""
    first = Gaussian(torch.tensor([0.0, 5.0, 1.0]).double(), torch.diag(torch.tensor([1.0, 4.0, 9.0])).double())
    copy = Gaussian(first.means[0][[1, 0, 2]], first.covariances[0][[1, 0, 2]][:, [1, 0, 2]])
    wider, moved = Gaussian(copy.means[0], 2 * copy.covariances[0]), Gaussian(copy.means[0] + 2, copy.covariances[0])
    found = groups([first, copy, wider, moved], [1000.0] * 4)
    assert [[j for j, _ in group] for group in found] == [[0, 1], [2], [3]]
    assert found[0][1][1].tolist() == [1, 0, 2]


def test_exchanges_are_all_that_some_make():
    """Two exchanges of neighbours make all six orders of three; copies in other orders than these are none."""
    base = Edgeworth(torch.randn(100, 3, generator=seeded(0)).double())
    copies = [Copies(base, torch.zeros(2, 3).double(), torch.tensor([[0, 1, 2], own])) for own in ([1, 0, 2], [0, 2, 1])]
    assert sorted(exchanges(copies).tolist()) == ORDERS
    assert exchanges(copies[:1]).tolist() == [[0, 1, 2], [1, 0, 2]]


def test_images_of_a_mode_are_copies():
    """Three values in any order, of which two copies of a mode are known: all six are, with the masses of the counts."""
    means, weights = torch.tensor([-3.0, 0.0, 3.0]).double()[torch.tensor(ORDERS)], torch.tensor([1.0, 2, 3, 4, 5, 6]).double()
    law = GaussianMixture(weights, means, torch.full_like(means, 0.3))
    shard = Shard(law.sample(6000, generator=seeded(0)))
    base = Edgeworth(torch.randn(100, 3, generator=seeded(1)).double())
    known = Copies(base, means[[0, 3]] + 0.5, torch.tensor([ORDERS[0], ORDERS[0]]))
    others = Copies(base, means[[1, 2]], torch.tensor([ORDERS[1], ORDERS[2]]))
    images = Images(shard, [known, others], torch.ones(4))
    assert sorted(images.orders.tolist()) == ORDERS
    found = LocalEdgeworth(shard, images)
    assert [len(part.centres) for part in found.parts] == [6]
    near = torch.cdist(means, found.mixture.means)  # means scatter by .02, shares by less than .006
    assert float(near.amin(1).max()) < 0.12
    assert float((found.mixture.weights[near.argmin(1)] - law.weights).abs().max()) < 0.03


def test_images_that_no_chain_has_seen_are_none():
    """Of six orders of three values the draws have three, of which two are known to be copies."""
    means = torch.tensor([-3.0, 0.0, 3.0]).double()[torch.tensor(ORDERS)]
    law = GaussianMixture(torch.ones(3).double(), means[:3], torch.full((3, 3), 0.3).double())
    shard = Shard(law.sample(3000, generator=seeded(0)))
    base = Edgeworth(0.5 * torch.randn(100, 3, generator=seeded(1)).double())
    copies = [Copies(base, means[[0, j]], torch.tensor([ORDERS[0], ORDERS[j]])) for j in (1, 2)]
    assert len(exchanges(copies)) == 6
    found = LocalEdgeworth(shard, Images(shard, copies, torch.ones(4)))
    assert sorted(found.mixture.means.round().tolist()) == sorted(means[:3].tolist())


def test_curved_shards():
    """Bananas y = x^2 / 2 + noise: no cumulant describes them, a mixture does; their exact product is one of them."""
    z = torch.randn(2, 2000, 2, generator=seeded(0)).double()
    shards = [torch.stack([a, b + 0.5 * a**2 - 0.5], 1) for a, b in (x.T + s for x, s in zip(z, (-0.3, 0.3), strict=True))]
    assert type(local(Shard(shards[0]))) is LocalGaussians
    x = merge_subposteriors(shards, num_samples=10, seed=0, progress=False).flat
    residual = x[:, 1] - 0.5 * x[:, 0] ** 2 + 0.5
    for column in (x[:, 0], residual):  # N(0, 1/2) both
        assert abs(float(column.mean())) < 0.1
        assert float(column.std()) == pytest.approx(0.5**0.5, rel=0.1)


def test_one_mode_is_the_plain_expansion():
    x = torch.randn(500, 2, generator=seeded(0)).double().exp() ** 0.1
    ours, plain, points = LocalEdgeworth(Shard(x)), Edgeworth(x), x[:20]
    torch.testing.assert_close(ours.score(points), plain.score(points))


def test_weights_and_chains_count():
    """Shards N(1, 1) and N(-1, 1), by weighted draws of N(0, 4) and by a chain of correlation .9: N(0, 1/2)."""
    g = seeded(0)
    wide = 2 * torch.randn(8000, 1, generator=g).double()
    weighted = Draws(wide, weights=(wide**2 / 8 - 0.5 * (wide - 1) ** 2).exp()[:, 0])
    chain = torch.randn(4, 3000, 1, generator=g).double()
    for t in range(1, 3000):
        chain[:, t] = 0.9 * chain[:, t - 1] + 0.19**0.5 * chain[:, t]
    x = merge_subposteriors([weighted, Draws(chain - 1)], num_samples=10, seed=0, progress=False).flat
    # The means' errors are 1/sqrt(ESS) with ESS of 3600 and 630, the merged one half of their sum.
    assert abs(float(x.mean())) < 0.12
    assert float(x.var()) == pytest.approx(0.5, rel=0.2)


def test_support_is_kept():
    """Gamma laws under a flat prior: their product is one of shape sum(a) - (K - 1) and rate sum(b)."""
    shapes, rates = (2.0, 3.0, 4.0), (1.0, 1.5, 1.5)
    rng = np.random.default_rng(0)
    shards = [
        Draws(rng.gamma(a, 1 / b, size=(4000, 1)), names=["rate"], support=["positive"])
        for a, b in zip(shapes, rates, strict=True)
    ]
    result = merge_subposteriors(shards, num_samples=10, seed=0, progress=False)
    x = result.flat
    assert float(x.min()) > 0
    assert list(result.names) == ["rate"]
    shape, rate = sum(shapes) - 2, sum(rates)
    assert float(x.mean()) == pytest.approx(shape / rate, rel=0.05)
    assert float(x.var()) == pytest.approx(shape / rate**2, rel=0.15)
    with pytest.raises(
        ValueError, match=r"shards must have one support, shards\[1\] has \(0.0, 9.0\), shards\[0\] \(0.0, None\)"
    ):
        merge_subposteriors([shards[0], Draws(np.clip(shards[1].values.numpy(), 0, 8), support=[(0, 9)])])
    with pytest.raises(ValueError, match=r"shards\[1\]: .* outside the support"):
        merge_subposteriors([shards[0], shards[1].values.numpy() - 3])


def test_overlap_says_which_shards_are_far():
    """Of shards of one law about a half; a warning where the product lies beyond all draws of a shard."""
    near = [torch.randn(1000, 3, generator=seeded(k)).double() for k in range(3)]
    merged = merged_posterior(near, seed=0)
    overlap = merged.overlap(merged.sample(5, seed=0, progress=False).flat)
    assert overlap.shape == (3,)
    assert float((overlap - 0.75).abs().max()) < 0.2  # narrower than the shards' own draws, a little more than a half
    with pytest.warns(OverlapWarning, match=r"hardly any draws are of shards\[0\] \(0\), shards\[1\] \(0\)"):
        merge_subposteriors([near[0], near[1] + 20], num_samples=2, seed=0, progress=False)


def test_chains_mix_between_modes():
    """Modes that no gradient connects do not make chains look as if they had failed."""
    x = torch.randn(2000, 2, generator=seeded(0)).double()
    x[:1000] += 8
    result = merge_subposteriors([x, x + 0.1], num_samples=100, num_chains=40, seed=0, progress=False)
    assert result.unmixed == []
    assert float(np.nanmax(result.rhat)) < 1.1


@pytest.mark.slow
def test_repeated_prior_is_taken_out():
    """Shards that each used all of N(0, 1): the product has it once, as the exact posterior."""
    d = 2
    prior = lambda x: -0.5 * x.square().sum(-1)  # noqa: E731
    likelihoods = [Gaussian(torch.full((d,), m).double(), 0.5 * torch.eye(d).double()) for m in (-0.5, 0.2, 0.9)]
    shards = []
    for k, law in enumerate(likelihoods):
        mean, variance = law.means[0] / 0.5 / 3, 1 / 3  # precision 1 + 2
        shards.append(mean + variance**0.5 * torch.randn(400, d, generator=seeded(k), dtype=torch.float64))
    exact_variance = 1 / (1 + 3 * 2)
    exact_mean = exact_variance * 2 * sum(law.means[0] for law in likelihoods)
    x = merge_subposteriors(shards, prior=prior, **FEW).flat
    assert float((x.mean(0) - exact_mean).abs().max()) < 0.2
    assert float(x.var(0).mean()) == pytest.approx(exact_variance, rel=0.35)
    merged = merged_posterior(shards, prior=prior, prior_power=1 / 3, generator=seeded(0))
    plain = merged_posterior(shards, generator=seeded(0))
    points = torch.randn(5, d, generator=seeded(5)).double()
    torch.testing.assert_close(merged.score(points), plain.score(points))


@pytest.mark.slow
def test_same_seed_same_draws():
    shards, _ = gaussian_shards(100, 2)
    first, second = (merge_subposteriors(shards, **FEW).draws for _ in range(2))
    assert torch.equal(first, second)


def test_trust_is_for_shape(disco):
    """None for what a Gaussian explains, full for two modes."""
    x = torch.randn(400, 2, generator=seeded(0), dtype=torch.float64)
    assert trust(x, Edgeworth(x), disco) < 0.6
    two = torch.cat([x[:200] - 3, x[200:] + 3])
    assert trust(two, Edgeworth(two), disco) > 0.8


def test_rows_in_step_with_their_chains_are_read_as_shuffled():
    """Of two interleaved chains around different places every second row is one chain alone."""
    chains = torch.randn(2048, 2, 1, generator=seeded(0)) + torch.tensor([[-3.0], [3.0]])
    context = Shard.of(chains.flatten(0, 1)).thinned().rows
    assert len(context) == 2048
    assert abs(float((context > 0).double().mean()) - 0.5) < 0.05  # five standard deviations of such a share


def test_tilt_gives_the_mean_back():
    """Of a density whose mode masses are wrong, on draws whose are right."""
    right, wrong = (
        GaussianMixture(torch.tensor([p, 1 - p]).double(), torch.tensor([[-1.5], [1.5]]).double(), torch.ones(2, 1).double())
        for p in (0.2, 0.5)
    )
    x = right.sample(1000, generator=seeded(0))
    slope = tilt(x, wrong, seeded(1))
    grid = torch.linspace(-8, 8, 4001).double()[:, None]
    weight = (wrong.evaluate(grid) + grid @ slope).softmax(0)
    assert float(weight @ grid[:, 0]) == pytest.approx(float(x.mean()), abs=0.1)


X = np.random.default_rng(0).normal(size=(50, 3))


@pytest.mark.parametrize(
    ("shards", "options", "message"),
    [
        ([X], {}, "at least two sets of draws, got 1"),
        ([], {}, "at least two sets of draws, got 0"),
        ([X, X[:, :2]], {}, r"draws \(n, 3\) of the same parameters, shards\[1\] has shape \(50, 2\)"),
        ([X, X[:3]], {}, r"shards\[1\] has 3 draws of 3 parameters: more draws than parameters"),
        ([X, X * np.nan], {}, r"shards\[1\] holds NaN"),
        ([X, X[:15]], {}, r"shards\[1\] has 15 distinct draws of . parameters"),
        ([X, X], {"prior": lambda x: x.sum(1), "prior_power": -1.0}, "prior_power must be"),
        ([X, X], {"prior_power": 0.5}, "give the prior, or leave it out"),
        ([X, X], {"prior": lambda x: -x}, r"prior must return log-densities of shape \(m,\)"),
        ([X, X], {"prior": lambda x: x.sum(1).log()}, "outside the prior's support"),
        ([X**2, X], {"prior": lambda x: x.amin(1).log()}, r"not finite at draws of shards\[1\]"),
        ([X, X], {"prior": lambda x: torch.where(x[:, 0] > 0, 0.0, -torch.inf)}, "outside the prior's support"),
        ([X, X], {"prior": lambda x: torch.zeros(len(x))}, "prior must be differentiable"),
        (
            [X, X],
            {"prior": lambda x: -0.5 * (x / 0.3).square().sum(1)},
            "has no end: .* A prior that is narrower than the shards' draws",
        ),
        ([X, np.c_[X[:, :2], X[:, :1] - X[:, 1:2]]], {}, r"shards\[1\]: column 2 is a linear combination of others"),
        ([X, X * [1, 0, 1]], {}, r"shards\[1\]: column 1 is constant"),
        ([X, X], {"adapt": True}, "adapt has no effect without model="),
        ([X, X], {"seed": 1, "generator": torch.Generator()}, "seed or generator, not both"),
        ([X, X], {"num_chains": 0}, "num_chains must be at least 1"),
    ],
)
def test_wrong_shards(shards, options, message):
    with pytest.raises(ValueError, match=message):
        merge_subposteriors(shards, **({"progress": False, "num_warmup": 0, "num_samples": 1} | options))


@pytest.mark.parametrize(
    ("shards", "options", "message"),
    [
        ({"a": X, "b": X}, {}, "shards must be a list of sets of draws, one for each part of the data, got dict"),
        (Draws(X), {}, "shards must be a list .* got Draws"),
        ([X, X], {"prior": "normal"}, "prior must be a differentiable log-density .* got 'normal'"),
        ([X, X], {"prior": torch.distributions.Normal(0.0, 1.0)}, r"give its log_prob, if that is \(m,\)"),
    ],
)
def test_what_is_no_shards_or_prior(shards, options, message):
    with pytest.raises(TypeError, match=message):
        merge_subposteriors(shards, progress=False, **options)


def test_the_picture_shows_every_shard(tmp_path):
    pytest.importorskip("matplotlib")
    draws = torch.zeros(2, 30, 2) + torch.linspace(0, 1, 30)[:, None]
    result = SamplerResult(draws, torch.ones(2), torch.zeros(2, 30, dtype=torch.bool), 0.1, "mala", ["a", "b"])
    figure = result.plot(str(tmp_path / "p.png"), reference=[X[:, :2] - 1, X[:, :2], X[:, :2] + 1])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["input 1", "input 2", "input 3", "new draws"]
    assert len(figure.axes[0].patches) == 4
    with pytest.raises(ValueError, match="reference must have 2 columns"):
        result.plot(reference=[X[:, :2], X[:, :1]])


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(1).normal(size=(60, 2))
    files.write_table("a.csv", {"mu": x[:, 0], "tau": x[:, 1]})
    files.write_table("b.csv", {"tau": x[:, 1], "mu": x[:, 0] + 1})
    few = ["--num-samples", "2", "--num-chains", "50", "--num-warmup", "10", "--thinning", "1", "--quiet"]
    assert cli.main(["merge", "a.csv", "b.csv", "--out", "all.csv", "--prior-sd", "10", *few, "--plot", "p.png"]) == 0
    out = capsys.readouterr().out
    assert "of 2 shards" in out
    assert "a.csv: Draws: 60 draws of 2 columns, worth 60, overlap 0." in out
    table = files.read_table("all.csv")
    assert table.names == ["mu", "tau"]
    assert table.num_chains == 50
    assert abs(table.values[:, 0].mean() - 0.5 - x[:, 0].mean()) < 0.5
    for arguments, message in (
        (["merge", "a.csv", "--out", "all.csv"], "at least two sets of draws"),
        (["merge", "a.csv", "none.csv", "--out", "all.csv"], "no file at none.csv"),
        (["merge", "a.csv", "b.csv", "--out", "all.txt"], "the extension must be one of"),
        (["merge", "a.csv", "b.csv", "--out", "all.csv", "--prior-sd", "0"], "--prior-sd must be positive"),
    ):
        assert cli.main(arguments) == 1
        assert message in capsys.readouterr().err
    files.write_table("c.csv", {"mu": x[:, 0], "sigma": x[:, 1]})
    assert cli.main(["merge", "a.csv", "c.csv", "--out", "all.csv"]) == 1
    assert "c.csv has variables mu, sigma, a.csv has mu, tau" in capsys.readouterr().err
    files.write_table("d.csv", {"mu": x[:, 0], "tau": np.ones(60)})
    assert cli.main(["merge", "a.csv", "d.csv", "--out", "all.csv"]) == 1
    assert "d.csv: column tau is constant" in capsys.readouterr().err
    assert cli.main(["merge", "a.csv", "b.csv", "--out", "all.csv", "--support", "tau=positive"]) == 1
    assert "a.csv: " in capsys.readouterr().err


def test_merged_angles_are_told_by_their_direction():
    """Two shards about 0 degrees, of 20 degrees each: the merged mean is not 180; the bound is five standard errors."""
    rng = np.random.default_rng(0)
    shards = [Draws(rng.normal(place, 20, (300, 1)) % 360, names=["a"], support=["circular:360"]) for place in (-10, 10)]
    table = merge_subposteriors(shards, num_samples=100, num_chains=4, seed=0, progress=False).summary().columns
    assert abs((table["mean"][0] + 180) % 360 - 180) < 5
    assert table["sd"][0] == pytest.approx(20 / 2**0.5, rel=0.25)


def test_angles_have_no_seam():
    """Shards about any direction, given in any turn, merge to one law: 0, 20 and 40 degrees, of 30 each, to 20 of 30 / 3^(1/2).

    The mean's error is 30 / 1500^(1/2) and that of 500 merged draws, together one degree; four times that.
    """

    def merged(turn, starts):
        noise = 30 * torch.randn(3, 500, 1, generator=seeded(0)).double()
        shards = [
            Draws((x + 20 * k + turn - low) % 360 + low, support=[Circle(low, low + 360)])
            for k, (x, low) in enumerate(zip(noise, starts, strict=True))
        ]
        return merge_subposteriors(shards, num_samples=10, num_chains=50, seed=0, progress=False)

    for turn, starts in ((0.0, (0.0, -180.0, 0.0)), (175.0, (-180.0, -180.0, 90.0))):  # as files hold them
        x = merged(turn, starts)
        assert starts[0] <= float(x.flat.min())
        assert float(x.flat.max()) < starts[0] + 360
        off = torch.remainder(x.flat - 20 - turn + 180, 360) - 180
        assert abs(float(off.mean())) < 4
        assert float(off.std()) == pytest.approx(30 / 3**0.5, rel=0.15)
        assert float(x.rhat[0]) < 1.1
    with pytest.raises(ValueError, match="one support"):
        merge_subposteriors([Draws(torch.rand(100, 1), support=[s]) for s in ("circular:360", "circular:180")], seed=0)
