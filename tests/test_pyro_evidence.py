"""The evidence of a Pyro model from its draws, against the closed form of counts with gamma rates."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from disco_samplers.integrations.pyro import ModelDensity
from pyro.infer import MCMC, NUTS

from disco_samplers.posteriors import log_evidence

COUNTS = torch.tensor([[3.0, 5.0, 1.0, 4.0], [0.0, 2.0, 1.0, 0.0]])
SHAPE, RATE = 2.0, 0.5


def model(counts):
    rates = pyro.sample("rates", dist.Gamma(SHAPE, RATE).expand([2]).to_event(1))
    shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
    pyro.sample("counts", dist.Poisson(rates[:, None]).to_event(2), obs=counts)
    pyro.sample("y", dist.Normal(shift, 1.0), obs=torch.tensor(2.0))


def exact():
    """Of each group b^a / Gamma(a) Gamma(a + s) / (b + n)^(a + s) / prod y!, and N(2; 0, 2) of the shift."""
    found = -0.25 * 4 - 0.5 * math.log(4 * math.pi)
    for group in COUNTS.tolist():
        total = sum(group)
        found += SHAPE * math.log(RATE) - math.lgamma(SHAPE) + math.lgamma(SHAPE + total)
        found -= (SHAPE + total) * math.log(RATE + len(group)) + sum(math.lgamma(y + 1) for y in group)
    return found


def posterior(count):
    """Exact draws: gamma laws and N(1, 1/2)."""
    g = torch.Generator().manual_seed(0)
    shape = (SHAPE + COUNTS.sum(1)).double().expand(count, 2)
    rates = torch._standard_gamma(shape, generator=g) / (RATE + COUNTS.shape[1])
    return {"shift": 1 + 0.5**0.5 * torch.randn(count, generator=g).double(), "rates": rates}


def test_evidence_of_exact_draws():
    """Within five standard errors, by chance outside once in a million; priors, constants and the Jacobian of log rates in."""
    density = ModelDensity.of(model, COUNTS)
    draws = density.draws(posterior(600))
    assert draws.names == ["rates[0]", "rates[1]", "shift"]
    found = log_evidence(draws, density, proposal="mixture", seed=0)
    assert abs(found.log_z - exact()) < 5 * found.standard_error
    assert found.standard_error < 0.05


@pytest.mark.slow
def test_evidence_of_a_run():
    """The same of a chain of NUTS, correlated and in single precision."""
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(model), num_samples=400, warmup_steps=200, disable_progbar=True)
    mcmc.run(COUNTS)
    density = ModelDensity.of(model, COUNTS)
    draws = density.draws(mcmc.get_samples(group_by_chain=True))
    assert draws.num_chains == 1
    found = log_evidence(draws, density, proposal="mixture", seed=0)
    assert abs(found.log_z - exact()) < 5 * found.standard_error
    assert found.standard_error < 0.1


def test_samples_of_another_model():
    density = ModelDensity.of(model, COUNTS)
    with pytest.raises(ValueError, match="samples lack rates: the model has rates, shift"):
        density.draws({"shift": torch.zeros(100)})
    with pytest.raises(ValueError, match=r"samples of rates must be \(draw, \*shape\).*got \(100, 3\)"):
        density.draws({"rates": torch.ones(100, 3), "shift": torch.zeros(100)})
    with pytest.raises(ValueError, match=r"samples of shift must be .*got \(\)"):
        density.draws({"rates": torch.ones(100, 2), "shift": torch.tensor(0.0)})
