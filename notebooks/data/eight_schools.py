"""Makes ``eight_schools.csv``: posterior draws of the eight-schools model.

Model (non-centred)::

    mu ~ N(0, 5),  tau ~ HalfCauchy(5),  z[j] ~ N(0, 1),  theta[j] = mu + tau z[j],  y[j] ~ N(theta[j], sigma[j])

Data: estimated effects of coaching on test scores in eight schools and their standard errors, from Rubin,
*Estimation in parallel randomized experiments*, Journal of Educational Statistics 1981. Priors as in the posteriordb
entry ``eight_schools-eight_schools_noncentered``.

Draws: Pyro's No-U-Turn sampler, four chains with seeds 0 to 3 one after the other, 1000 warm-up steps and 2000 draws
each, of which every fourth is kept. Takes about two minutes on one core::

    python notebooks/data/eight_schools.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyro
import torch
from pyro.distributions import HalfCauchy, Normal
from pyro.infer import MCMC, NUTS

from disco_samplers.samplers.diagnostics import summarise

EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
NAMES = ["mu", "log_tau", *(f"theta[{j}]" for j in range(len(EFFECTS)))]
CHAINS, WARMUP, DRAWS, THIN = 4, 1000, 2000, 4


def model() -> None:
    """The posterior."""
    mu = pyro.sample("mu", Normal(0.0, 5.0))
    tau = pyro.sample("tau", HalfCauchy(5.0))
    with pyro.plate("schools", len(EFFECTS)):
        z = pyro.sample("z", Normal(0.0, 1.0))
        pyro.sample("y", Normal(mu + tau * z, ERRORS), obs=EFFECTS)


def chain(seed: int) -> np.ndarray:
    """One chain's draws (draw, variable)."""
    pyro.set_rng_seed(seed)
    pyro.clear_param_store()
    mcmc = MCMC(NUTS(model, target_accept_prob=0.95), num_samples=DRAWS, warmup_steps=WARMUP, disable_progbar=True)
    mcmc.run()
    draws = mcmc.get_samples()
    mu, tau = draws["mu"][:, None], draws["tau"][:, None]
    return torch.cat([mu, tau.log(), mu + tau * draws["z"]], 1)[::THIN].double().numpy()


def main() -> None:
    """Runs the chains, writes the table beside this file and prints its summary."""
    draws = np.stack([chain(seed) for seed in range(CHAINS)])
    with open(Path(__file__).with_suffix(".csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["chain", "draw", *NAMES])
        for (c, i), _ in np.ndenumerate(draws[..., 0]):
            writer.writerow([c, i, *(f"{value:.5g}" for value in draws[c, i])])
    print(summarise(draws, NAMES))


if __name__ == "__main__":
    main()
