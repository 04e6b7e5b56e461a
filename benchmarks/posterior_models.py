"""Posteriors of usual models with data at hand or made by a fixed seed, in coordinates without bounds, for NUTS to draw from.

A model has a log-density of all its coordinates, up to a constant, and says how draws are seen: as they are, or changed by a
map whose draws are exact too (a centred parametrisation, exchanged labels).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import Tensor
from torch.distributions import Beta, Gamma, HalfCauchy, HalfNormal, NegativeBinomial, Normal, StudentT

CHAINS, WARM_UP, KEPT = 5, 300, 1200


class Model(NamedTuple):
    """A posterior: its number of coordinates, log-density of one point (d,), and what is shown of draws (n, d)."""

    dim: int
    log_prob: Callable[[Tensor], Tensor]
    shown: Callable[[Tensor, torch.Generator], Tensor] = lambda draws, generator: draws


def _positive(log_value: Tensor, prior: torch.distributions.Distribution) -> tuple[Tensor, Tensor]:
    """A positive parameter from its logarithm, and its prior's log-density with the Jacobian."""
    value = log_value.exp()
    return value, (prior.log_prob(value) + log_value).sum()


def _unit(logit: Tensor, prior: torch.distributions.Distribution) -> tuple[Tensor, Tensor]:
    value = torch.sigmoid(logit).clamp(1e-9, 1 - 1e-9)
    return value, (prior.log_prob(value) + value.log() + (1 - value).log()).sum()


def _t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def schools() -> Model:
    """Eight schools, centred as people store it: mu, log tau and the eight effects. Drawn from not centred."""
    y, se = _t(28, 8, -3, 7, -1, 1, 18, 12), _t(15, 10, 16, 11, 9, 11, 10, 18)

    def log_prob(z: Tensor) -> Tensor:
        mu, raw = 5 * z[0], z[2:]
        tau, prior = _positive(z[1], HalfCauchy(5.0))
        return prior - 0.5 * z[0].square() - 0.5 * raw.square().sum() + Normal(mu + tau * raw, se).log_prob(y).sum()

    def shown(draws: Tensor, generator: torch.Generator) -> Tensor:
        mu, log_tau = 5 * draws[:, :1], draws[:, 1:2]
        return torch.cat([mu, log_tau, mu + log_tau.exp() * draws[:, 2:]], 1)

    return Model(10, log_prob, shown)


def logistic() -> Model:
    """Malignant or not by five of the means of the cancer table, of which size and area nearly agree; normal(0, 3) priors."""
    table = load_breast_cancer()
    x = torch.from_numpy(table.data[:120, :5])
    x = torch.cat([torch.ones(len(x), 1, dtype=x.dtype), (x - x.mean(0)) / x.std(0)], 1)
    sign = torch.from_numpy(2.0 * table.target[:120] - 1)

    def log_prob(z: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(sign * (x @ z)).sum() - 0.5 * (z / 3).square().sum()

    return Model(6, log_prob)


def robust() -> Model:
    """Progress of diabetes on five columns with Student-t noise: coefficients, log scale, log (nu - 1)."""
    table = load_diabetes()
    x = torch.from_numpy(table.data[:150, :5] / table.data[:150, :5].std(0))
    y = torch.from_numpy(table.target[:150])
    y = (y - y.mean()) / y.std()

    def log_prob(z: Tensor) -> Tensor:
        scale, prior = _positive(z[6], HalfNormal(1.0))
        nu, more = _positive(z[7], Gamma(_t(2.0), _t(0.1)))
        fit = StudentT(nu + 1, z[0] + x @ z[1:6], scale).log_prob(y).sum()
        return (fit + prior + more - 0.5 * z[:6].square().sum()).sum()

    return Model(8, log_prob)


def mixture() -> Model:
    """Two overlapping normal components, labels exchanged in half of the draws: means, log scales, logit of a weight."""
    rng = np.random.default_rng(1)
    y = torch.from_numpy(np.where(rng.random(80) < 0.35, rng.normal(-1.2, 0.5, 80), rng.normal(1.0, 0.9, 80)))[:, None]

    def log_prob(z: Tensor) -> Tensor:
        scales, prior = _positive(z[2:4], HalfNormal(1.0))
        weight, more = _unit(z[4], Beta(2.0, 2.0))
        logs = torch.stack([weight.log(), torch.log1p(-weight)])
        fit = (Normal(z[:2], scales).log_prob(y) + logs).logsumexp(1).sum()
        return fit + prior + more - 0.5 * (z[:2] / 2).square().sum()

    def shown(draws: Tensor, generator: torch.Generator) -> Tensor:
        # Each draw in either labelling with probability one half: exact, whatever the chains visited.
        other = torch.stack([draws[:, 1], draws[:, 0], draws[:, 3], draws[:, 2], -draws[:, 4]], 1)
        return torch.where(torch.rand(len(draws), 1, generator=generator) < 0.5, draws, other)

    return Model(5, log_prob, shown)


def process() -> Model:
    """A Gaussian process of 30 points of few periods: logs of amplitude, length and noise."""
    rng = np.random.default_rng(2)
    t = torch.from_numpy(np.sort(rng.uniform(0, 6, 30)))
    y = torch.sin(1.3 * t) + torch.from_numpy(rng.normal(0, 0.4, 30))
    squared, eye = (t[:, None] - t).square(), torch.eye(30, dtype=torch.float64)

    def log_prob(z: Tensor) -> Tensor:
        (amplitude, length, noise), prior = _positive(z, Gamma(_t(2, 2, 2), _t(1, 1, 4)))
        kernel = amplitude.square() * torch.exp(-0.5 * squared / length.square()) + (noise.square() + 1e-6) * eye
        factor = torch.linalg.cholesky(kernel)
        white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        return prior - 0.5 * white.square().sum() - factor.diagonal().log().sum()

    return Model(3, log_prob)


def garch() -> Model:
    """GARCH(1, 1) of 100 returns: mean, log omega, logits of alpha + beta and of alpha's part of it."""
    rng = np.random.default_rng(3)
    returns, variance = [], 1.0
    for _ in range(100):
        returns.append(0.05 + math.sqrt(variance) * rng.normal())
        variance = 0.1 + 0.2 * (returns[-1] - 0.05) ** 2 + 0.7 * variance
    y = torch.tensor(returns, dtype=torch.float64)
    lag = (torch.arange(100)[:, None] - torch.arange(100)).double()
    past = (lag > 0).double()

    def log_prob(z: Tensor) -> Tensor:
        omega, prior = _positive(z[1], HalfNormal(1.0))
        total, more = _unit(z[2], Beta(8.0, 2.0))
        part, most = _unit(z[3], Beta(2.0, 4.0))
        alpha, beta = total * part, total * (1 - part)
        shock = (y - z[0]).square()
        # v_t = beta^t v_0 + sum_k beta^(t - 1 - k) (omega + alpha shock_k)
        v = beta ** lag[:, 0] * shock.mean() + (past * beta ** (lag - 1).clamp_min(0)) @ (omega + alpha * shock)
        return prior + more + most - 0.5 * z[0].square() - 0.5 * (shock / v + v.log()).sum()

    return Model(4, log_prob)


def doses() -> Model:
    """A drug's ODE of three compartments observed with noise: logs of four rates, of the volume and of the noise."""
    rng = np.random.default_rng(4)
    doublings = 6  # from a quarter of an hour on

    def central(rates: Tensor) -> Tensor:
        absorbed, cleared, out, back = rates.unbind()
        zero = torch.zeros_like(out)
        flow = torch.stack([-absorbed, zero, zero, absorbed, -cleared - out, back, zero, out, -back]).view(3, 3)
        moved, seen = torch.matrix_exp(flow / 4), []
        for _ in range(doublings):
            further = moved @ moved
            seen += [moved[1, 0], (further @ moved)[1, 0]]  # after 1/4 2^k and 3/4 2^k hours
            moved = further
        return torch.stack(seen)

    y = (central(_t(1.2, 0.3, 0.4, 0.2)) / 2.0).log() + torch.from_numpy(rng.normal(0, 0.2, 12))

    def log_prob(z: Tensor) -> Tensor:
        rates, noise = z[:4].exp(), z[5]
        scale, prior = _positive(noise, HalfNormal(0.5))
        fit = Normal(central(rates).clamp_min(1e-12).log() - z[4], scale).log_prob(y).sum()
        return fit + prior - 0.5 * (z[:5] + 0.7).square().sum()

    return Model(6, log_prob)


def counts() -> Model:
    """Negative binomial counts against a dose: two coefficients and the log of the overdispersion."""
    rng = np.random.default_rng(5)
    dose = torch.linspace(-1, 1, 40, dtype=torch.float64)
    y = torch.from_numpy(rng.negative_binomial(1.5, 1.5 / (1.5 + np.exp(1.0 + 0.8 * dose.numpy()))).astype(float))

    def log_prob(z: Tensor) -> Tensor:
        size, prior = _positive(z[2], Gamma(_t(2.0), _t(0.5)))
        logits = z[0] + z[1] * dose - size.log()
        fit = NegativeBinomial(size, logits=logits, validate_args=False).log_prob(y).sum()
        return (fit + prior - 0.5 * (z[:2] / 2).square().sum()).sum()

    return Model(3, log_prob)


def truncated() -> Model:
    """A mixing problem: four sources' non-negative amounts, two of them absent, as logarithms; half-normal priors."""
    rng = np.random.default_rng(6)
    spectra = torch.from_numpy(rng.random((15, 4)))
    y = spectra @ _t(1.0, 0.0, 0.6, 0.0) + torch.from_numpy(rng.normal(0, 0.25, 15))

    def log_prob(z: Tensor) -> Tensor:
        amounts, prior = _positive(z, HalfNormal(1.0))
        return prior + Normal(spectra @ amounts, 0.25).log_prob(y).sum()

    return Model(4, log_prob)


def product() -> Model:
    """A product that alone is measured: y = a b + noise, so that a and b lie along a hyperbola; normal(0, 1.5) priors."""
    rng = np.random.default_rng(7)
    y = torch.from_numpy(1.0 + rng.normal(0, 0.5, 8))

    def log_prob(z: Tensor) -> Tensor:
        scale, prior = _positive(z[2], HalfNormal(1.0))
        return prior + Normal(z[0] * z[1], scale).log_prob(y).sum() - 0.5 * (z[:2] / 1.5).square().sum()

    def shown(draws: Tensor, generator: torch.Generator) -> Tensor:
        sign = torch.where(torch.rand(len(draws), 1, generator=generator) < 0.5, -1.0, 1.0)  # (a, b) and (-a, -b) are alike
        return torch.cat([sign * draws[:, :2], draws[:, 2:]], 1)

    return Model(3, log_prob, shown)


def survival() -> Model:
    """Weibull lifetimes, a third of them censored, with a treatment: log shape, log scale and the effect."""
    rng = np.random.default_rng(8)
    treated = torch.arange(40, dtype=torch.float64) % 2
    life = torch.from_numpy(rng.weibull(1.4, 40)) * (0.5 * treated).exp()
    end = torch.from_numpy(rng.uniform(0.3, 2.5, 40))
    seen, time = (life <= end).double(), torch.minimum(life, end)

    def log_prob(z: Tensor) -> Tensor:
        shape, prior = _positive(z[0], Gamma(_t(2.0), _t(1.0)))
        log_ratio = time.log() - z[1] - z[2] * treated
        hazard = shape.log() + (shape - 1) * log_ratio - z[1] - z[2] * treated
        return (prior + (seen * hazard - (shape * log_ratio).exp()).sum() - 0.5 * z[1:].square().sum()).sum()

    return Model(3, log_prob)


MODELS: dict[str, Callable[[], Model]] = {
    "eight schools, centred": schools,
    "logistic regression": logistic,
    "robust regression": robust,
    "mixture, labels exchanged": mixture,
    "Gaussian process": process,
    "GARCH": garch,
    "doses (ODE)": doses,
    "counts": counts,
    "non-negative amounts": truncated,
    "product a b": product,
    "survival": survival,
}


def nuts(model: Model, seed: int) -> Tensor:
    """Draws (chains, kept, d) of a posterior by NUTS."""
    chains = []
    for chain in range(CHAINS):
        with torch.random.fork_rng():
            torch.manual_seed(1000 * seed + chain)
            kernel = NUTS(potential_fn=lambda site: -model.log_prob(site["z"]), target_accept_prob=0.9, max_tree_depth=8)
            start = {"z": 0.1 * torch.randn(model.dim, dtype=torch.float64)}
            run = MCMC(kernel, num_samples=KEPT, warmup_steps=WARM_UP, initial_params=start, disable_progbar=True)
            run.run()
            chains.append(run.get_samples()["z"])
    return torch.stack(chains)
