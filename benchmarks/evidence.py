"""The evidence from draws of a posterior, against closed forms, beside what else there is for draws, and nested sampling.

Every method but dynesty gets the same draws; its error is over fresh draws. "Bridge", and bridge sampling with one normal law
as proposal (fitted to half of the draws, which are bridged by the other half; the common one), may evaluate the log-posterior,
as often as there are draws; so may morphZ, with a product of kernel estimates of pairs of columns, its default. "Reciprocal",
Geweke's modified harmonic mean (a normal law of half of the draws, cut off where half of its mass is) and harmonic see the
stored values only; Laplace's approximation has mean and covariance of the draws, and the best stored value. dynesty needs no
draws but evaluations of its own, whose number is given; its prior is uniform in a box that holds the law. Bias ± its standard
error and root mean square error in nats; z is the root mean square of error over reported standard error (1 is right), and
coverage the share of repeats with the truth within 1.96 of them. Seconds are of the CPU.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from report import cached, write
from scipy.stats import chi2
from torch import Tensor

from disco_samplers import Draws
from disco_samplers.posteriors import log_evidence
from disco_samplers.reference import Gaussian, GaussianMixture


class Law(NamedTuple):
    """Exact draws and the normalised log-density; the box (low, high) of a uniform prior for nested sampling."""

    d: int
    draw: Callable[[int, torch.Generator], Tensor]
    log_prob: Callable[[Tensor], Tensor]
    low: float
    high: float


def normal(d: int) -> Law:
    """A normal with correlations of one half, the posterior of a normal model."""
    covariance = 0.5 * torch.eye(d).double() + 0.5
    law = Gaussian(torch.zeros(d).double(), covariance)
    return Law(d, lambda n, g: law.sample(n, generator=g), law.evaluate, -10.0, 10.0)


def regression() -> Law:
    """Coefficients and log-variance of a linear regression with its conjugate normal-inverse-gamma prior."""
    g = torch.Generator().manual_seed(11)
    design = torch.randn(40, 4, generator=g).double()
    y = design @ torch.tensor([1.0, -0.5, 0.0, 2.0]).double() + 0.7 * torch.randn(40, generator=g).double()
    precision = torch.eye(4).double() + design.T @ design
    mean = torch.linalg.solve(precision, design.T @ y)
    shape, rate = 2.0 + 20.0, 1.0 + 0.5 * float(y @ y - mean @ precision @ mean)
    lower = torch.linalg.cholesky(torch.linalg.inv(precision))

    def draw(n: int, generator: torch.Generator) -> Tensor:
        inverse = torch._standard_gamma(torch.full((n,), shape).double(), generator=generator) / rate
        z = torch.randn(n, 4, dtype=torch.float64, generator=generator)
        return torch.cat([mean + (z @ lower.T) / inverse.sqrt()[:, None], -inverse.log()[:, None]], 1)

    def log_prob(t: Tensor) -> Tensor:
        log_variance, shifts = t[:, 4], (t[:, :4] - mean) @ torch.linalg.cholesky(precision)
        coefficients = -0.5 * shifts.square().sum(1) / log_variance.exp() - 2 * (math.log(2 * math.pi) + log_variance)
        coefficients = coefficients + 0.5 * float(torch.logdet(precision))
        variance = shape * math.log(rate) - math.lgamma(shape) - shape * log_variance - rate * (-log_variance).exp()
        return coefficients + variance

    return Law(5, draw, log_prob, -5.0, 5.0)


def modes() -> Law:
    """Three component means of a mixture model that may be permuted: six modes."""
    centers = torch.tensor([0.0, 4.0, 8.0]).double() - 4
    means = torch.stack([centers[list(order)] for order in itertools.permutations(range(3))])
    law = GaussianMixture(torch.ones(6).double(), means, torch.ones(6, 3).double())
    return Law(3, lambda n, g: law.sample(n, generator=g), law.evaluate, -14.0, 14.0)


def rosenbrock() -> Law:
    """exp(-(1 - x)^2 / 20 - 5 (y - x^2)^2) in a box by quadrature: of x the law is known, and drawn by its inverse."""
    grid = torch.linspace(-12, 14, 200001).double()
    log_x = -(1 - grid).square() / 20
    log_z = float(torch.trapezoid(log_x.exp(), grid).log()) + 0.5 * math.log(math.pi / 5)
    share = torch.cumulative_trapezoid(log_x.exp(), grid)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        u = torch.rand(n, dtype=torch.float64, generator=generator) * share[-1]
        x = grid[torch.searchsorted(share, u)]
        y = x.square() + math.sqrt(0.1) * torch.randn(n, dtype=torch.float64, generator=generator)
        return torch.stack([x, y], 1)

    def log_prob(t: Tensor) -> Tensor:
        return -(1 - t[:, 0]).square() / 20 - 5 * (t[:, 1] - t[:, 0].square()).square() - log_z

    return Law(2, draw, log_prob, -200.0, 200.0)


LAWS = {
    "normal, d = 2": normal(2),
    "normal, d = 10": normal(10),
    "normal, d = 20": normal(20),
    "normal, d = 50": normal(50),
    "conjugate regression, d = 5": regression(),
    "six modes, d = 3": modes(),
    "Rosenbrock, d = 2": rosenbrock(),
}

Found = tuple[float, float, float]
"""Error of log Z, its reported standard error (NaN for none), evaluations of the log-posterior."""


def ours(stored: bool, proposal: str) -> Callable[[Law, Tensor, int], Found]:
    def method(law: Law, x: Tensor, seed: int) -> Found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stored:
                found = log_evidence(Draws(x, log_prob=law.log_prob(x)), proposal=proposal, seed=seed)
            else:
                found = log_evidence(x, law.log_prob, proposal=proposal, seed=seed)
        return found.log_z, found.standard_error, float(found.num_evaluations)

    return method


def laplace(law: Law, x: Tensor, seed: int) -> Found:
    """Laplace's approximation from the draws' moments (Lewis, Raftery, 1997)."""
    best = float(law.log_prob(x).max())
    return (
        best + 0.5 * law.d * math.log(2 * math.pi) + 0.5 * float(torch.logdet(x.T.cov().reshape(law.d, law.d))),
        math.nan,
        0.0,
    )


def _halves(law: Law, x: Tensor) -> tuple[Gaussian, Tensor]:
    """The normal law of the first half of the draws, and the second half."""
    first, second = x.chunk(2)
    return Gaussian(first.mean(0), first.T.cov().reshape(law.d, law.d)), second


def normal_bridge(law: Law, x: Tensor, seed: int) -> Found:
    """Bridge sampling with a normal proposal (Gronau et al., 2017, eq. 14 and 16)."""
    g, second = _halves(law, x)
    y = g.sample(len(x), generator=torch.Generator().manual_seed(seed))
    at_draws, at_sample = (law.log_prob(z) - g.evaluate(z) for z in (second, y))
    share, log_z = len(second) / (len(second) + len(y)), at_draws.median()
    for _ in range(1000):
        f1 = at_sample - torch.logaddexp(math.log(share) + at_sample, math.log(1 - share) + log_z)
        f2 = -torch.logaddexp(math.log(share) + at_draws, math.log(1 - share) + log_z)
        log_z = (f1.logsumexp(0) - math.log(len(y))) - (f2.logsumexp(0) - math.log(len(second)))
    variance = sum(float((f - f.max()).exp().var() / (f - f.max()).exp().mean() ** 2) / len(f) for f in (f1, f2))
    return float(log_z), math.sqrt(variance), float(len(x) + len(y))


def modified_harmonic(law: Law, x: Tensor, seed: int) -> Found:
    """The harmonic mean weighted by a normal law that is cut off (Geweke, 1999)."""
    g, second = _halves(law, x)
    shift = second - g.means[0]
    edge = float(chi2.median(law.d))
    inside = (shift @ torch.linalg.inv(g.covariances[0]) * shift).sum(1) < edge
    log_weight = torch.where(inside, g.evaluate(second) + math.log(2) - law.log_prob(second), -math.inf)
    weight = (log_weight - log_weight.max()).exp()
    log_z = -float(weight.mean().log() + log_weight.max())
    return log_z, float(weight.std() / weight.mean()) / math.sqrt(len(weight)), 0.0


def harmonic(law: Law, x: Tensor, seed: int) -> Found:
    """harmonic's learned harmonic mean with its spline flow and its defaults, trained on half of the draws for 20 epochs."""
    package, jax = import_module("harmonic"), import_module("jax")

    package.logs.setup_logging(default_level=40)
    chains = package.Chains(law.d)
    chains.add_chains_3d(x.view(20, -1, law.d).numpy(), law.log_prob(x).view(20, -1).numpy())
    train, test = package.utils.split_data(chains, training_proportion=0.5)
    model = package.model.RQSplineModel(law.d, standardize=True, temperature=0.8)
    model.fit(train.samples, epochs=20, key=jax.random.PRNGKey(seed))
    evidence = package.Evidence(test.nchains, model)
    evidence.add_chains(test)
    lower, upper = evidence.compute_ln_inv_evidence_errors()
    return -float(evidence.ln_evidence_inv), float(upper - lower) / 2, 0.0


def morph(law: Law, x: Tensor, seed: int) -> Found:
    """morphZ's bridge sampling with its defaults and as many proposals as there are draws."""
    calls = 0

    def log_posterior(t: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        return float(law.log_prob(torch.from_numpy(np.asarray(t))[None])[0])

    np.random.seed(seed)  # noqa: NPY002  # the package has no other way to one
    morphz = import_module("morphZ")
    found = morphz.evidence(
        x.numpy(), log_posterior, law.log_prob(x).numpy(), n_resamples=len(x), tol=1e-6, show_progress=False
    )
    return float(found[0][0]), float(found[0][1]), float(len(x) + calls)


def dynesty(law: Law, x: Tensor, seed: int) -> Found:
    """Nested sampling with 100 live points and dynesty's defaults."""
    package = import_module("dynesty")

    width = law.high - law.low

    def log_likelihood(t: np.ndarray) -> float:
        value = float(law.log_prob(torch.from_numpy(t)[None])[0])
        return max(value + law.d * math.log(width), -1e100)  # the prior's density taken out

    sampler = package.NestedSampler(
        log_likelihood, lambda u: law.low + width * u, law.d, nlive=100, rstate=np.random.default_rng(seed)
    )
    sampler.run_nested(print_progress=False)
    results = sampler.results
    return float(results.logz[-1]), float(results.logzerr[-1]), float(np.sum(results.ncall))


PEERS = {"harmonic": harmonic, "morphZ": morph, "dynesty": dynesty}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=30, help="of all but the peers; half of laws of more than 10 columns")
    parser.add_argument(
        "--peers", type=int, default=3, help="repeats of harmonic, morphZ and dynesty, in up to ten columns; 0 leaves them out"
    )
    parser.add_argument("--laws", nargs="+", default=list(LAWS), choices=list(LAWS))
    parser.add_argument("--proposal", default="mixture", choices=("auto", "mixture", "estimate"))
    options = parser.parse_args()
    started = time.time()
    methods: dict[str, tuple[Callable[[Law, Tensor, int], Found], int]] = {
        "bridge": (ours(False, options.proposal), options.repeats),
        "reciprocal, stored values": (ours(True, options.proposal), options.repeats),
        "bridge, normal proposal": (normal_bridge, options.repeats),
        "modified harmonic mean": (modified_harmonic, options.repeats),
        "Laplace": (laplace, options.repeats),
    }
    for package, peer in PEERS.items():
        if options.peers and find_spec(package):
            methods[package] = (peer, options.peers)
    rows, raw = [], []
    for name in options.laws:
        law = LAWS[name]
        for label, (method, most) in methods.items():
            if method in PEERS.values() and law.d > 10:
                continue
            repeats = most if law.d <= 10 else -(-most // 2)
            found = []
            for i in range(repeats):

                def once(law: Law = law, method: Callable[[Law, Tensor, int], Found] = method, i: int = i) -> list[float]:
                    x = law.draw(options.draws, torch.Generator().manual_seed(1000 + i))
                    begun = time.process_time()
                    return [*method(law, x, i), time.process_time() - begun]

                key = f"{name}-{label}-{options.draws}-{options.proposal}-{i}".replace(" ", "")
                found.append(cached(options.cache, key, once))
            off, error, calls, seconds = (np.array(column) for column in zip(*found, strict=True))
            raw.append({"law": name, "method": label, "errors": off.tolist(), "standard_errors": error.tolist()})
            z, inside = np.sqrt(np.mean((off / error) ** 2)), np.mean(np.abs(off) < 1.96 * error)
            scatter = off.std(ddof=1) / math.sqrt(repeats) if repeats > 1 else math.nan
            rows.append(
                [name, label, f"{off.mean():+.4f} ± {scatter:.4f}", f"{np.sqrt(np.mean(off**2)):.4f}"]
                + (["", "", ""] if np.isnan(error).any() else [f"{error.mean():.4f}", f"{z:.2f}", f"{inside:.0%}"])
                + [f"{calls.mean():,.0f}", str(repeats), f"{seconds.mean():.1f}"]
            )
            print(rows[-1], flush=True)
    header = ["law", "method", "bias", "RMSE", "reported error", "z", "coverage", "evaluations", "repeats", "seconds"]
    about = f"{' '.join(__doc__.split(chr(10) * 2, 1)[1].split())} {options.draws:,} independent draws."
    write("evidence", "Evidence", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
