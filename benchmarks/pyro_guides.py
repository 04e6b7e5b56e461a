"""Guides for Pyro models against long NUTS runs or exact draws: sliced W2, seconds, gradients of the model.

Models: eight schools (non-centred, 10 latents; reference: the shipped 2,000 draws of four NUTS chains); two modes of
weights 0.3 and 0.7 and different shapes in two dimensions (exact draws); logistic regression with 30 correlated predictors
and 200 rows (600 draws of NUTS); Neal's funnel in ten dimensions (exact draws). Sliced Wasserstein-2 over 200 directions,
on the real numbers (constrained latents transformed), in units of the pooled standard deviations, between 4,000 draws of a
guide and the reference; "same size" are two halves of the reference, which says how low the figure can be. SVI has 2,000
steps of Adam with four draws each and a learning rate falling from 0.1 to 0.005; SVGD 512 particles and 200 steps of Adam
at 0.1; AutoDiSco 512 particles and its 60 steps; the NUTS row 100 steps of warm-up and 200 draws of one chain. SVGD and NUTS
run once. Gradients count every particle, draw or leapfrog step; SVI has four a step.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from disco_samplers.integrations.pyro import AutoDiSco, ModelDensity
from pyro.infer import MCMC, NUTS, SVGD, SVI, RBFSteinKernel, Trace_ELBO
from pyro.infer.autoguide import AutoIAFNormal, AutoMultivariateNormal, AutoNormal
from pyro.optim import Adam, ClippedAdam
from report import RESULTS, write
from torch import Tensor

from disco_samplers.files import read_table
from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import GaussianMixture

DATA = Path(__file__).parent.parent / "notebooks" / "data" / "eight_schools.csv"
EFFECTS = torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18])
MODES = GaussianMixture(
    torch.tensor([0.3, 0.7]),
    torch.tensor([[-2.5, 0.0], [2.5, 1.0]]),
    torch.tensor([[[0.5, 0.3], [0.3, 0.4]], [[0.3, -0.2], [-0.2, 1.0]]]),
)
SVI_STEPS, DRAWS = 2000, 4000
ONCE = ("SVGD", "NUTS")
WIDE = 3.0


def eight_schools() -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", 8):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * theta, ERRORS), obs=EFFECTS)


def wide(d: int) -> Any:
    """The prior that a density given as a factor takes the place of; guides start from it."""
    return dist.Normal(0.0, WIDE).expand([d]).to_event(1)


def bimodal() -> None:
    z = pyro.sample("z", wide(2))
    parts = dist.MultivariateNormal(MODES.means, MODES.covariances).log_prob(z[..., None, :]) + MODES.weights.log()
    pyro.factor("modes", parts.logsumexp(-1) - wide(2).log_prob(z))


def funnel() -> None:
    z = pyro.sample("z", wide(10))
    v, x = z[..., 0], z[..., 1:]
    log_prob = dist.Normal(0.0, 3.0).log_prob(v) + dist.Normal(0.0, (v / 2).exp()[..., None]).log_prob(x).sum(-1)
    pyro.factor("funnel", log_prob - wide(10).log_prob(z))


def logistic_data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mixing = torch.eye(30) + 0.3 * torch.randn(30, 30, generator=generator) / math.sqrt(30)
    x = torch.randn(200, 30, generator=generator) @ mixing
    logits = x @ (0.5 * torch.randn(30, generator=generator))
    return x, (torch.rand(200, generator=generator) < torch.sigmoid(logits)).float()


PREDICTORS, LABELS = logistic_data()


def logistic() -> None:
    weights = pyro.sample("weights", dist.Normal(0.0, 1.0).expand([30]).to_event(1))
    with pyro.plate("row", len(LABELS)):
        pyro.sample("y", dist.Bernoulli(logits=(PREDICTORS * weights).sum(-1)), obs=LABELS)


def exact_funnel(n: int, generator: torch.Generator) -> Tensor:
    v = 3 * torch.randn(n, 1, generator=generator)
    return torch.cat([v, (v / 2).exp() * torch.randn(n, 9, generator=generator)], 1)


def shipped_schools() -> Tensor:
    """NUTS draws of eight schools as mu, log tau, (theta - mu) / tau."""
    draws = torch.from_numpy(read_table(DATA).values).float()
    mu, log_tau, theta = draws[:, :1], draws[:, 1:2], draws[:, 2:]
    return torch.cat([mu, log_tau, (theta - mu) / log_tau.exp()], 1)


def nuts(model: Callable[[], None], draws: int, warmup: int) -> tuple[Tensor, int]:
    density, kernel = ModelDensity.of(model), NUTS(model, target_accept_prob=0.9)

    mcmc = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    evaluations = Counted(ModelDensity.of(model).potential_fn)
    original = kernel._initialize_model_properties

    def initialise(args: Any, kwargs: Any) -> None:
        original(args, kwargs)
        evaluations.function, kernel.potential_fn = kernel.potential_fn, evaluations

    kernel._initialize_model_properties = initialise
    mcmc.run()
    samples = {k: density.transforms[k](v) if k in density.transforms else v for k, v in mcmc.get_samples().items()}
    return density.pack(samples), evaluations.calls


class Counted:
    """A potential that counts how often it is asked."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, params: Any) -> Tensor:
        self.calls += 1
        return self.function(params)


def by_svi(kind: type, model: Callable[[], None]) -> tuple[Tensor, int]:
    guide = kind(model)
    optimiser = ClippedAdam({"lr": 0.1, "lrd": 0.05 ** (1 / SVI_STEPS)})
    svi = SVI(model, guide, optimiser, Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(SVI_STEPS):
        svi.step()
    density = ModelDensity.of(model)
    with torch.no_grad(), pyro.plate("draws", DRAWS, dim=-2):
        values = guide()
    shapes = density.shapes
    flat = {name: value.reshape(DRAWS, *shapes[name]) for name, value in values.items() if name in shapes}
    return density.pack({name: density.transforms[name](value) for name, value in flat.items()}), 4 * SVI_STEPS


def by_svgd(model: Callable[[], None]) -> tuple[Tensor, int]:
    plates = 0 if model in (bimodal, funnel) else 1
    svgd = SVGD(model, RBFSteinKernel(), Adam({"lr": 0.1}), num_particles=512, max_plate_nesting=plates)
    for _ in range(200):
        svgd.step()
    density = ModelDensity.of(model)
    values = {name: value.detach().reshape(512, *density.shapes[name]) for name, value in svgd.get_named_particles().items()}
    return density.pack({name: density.transforms[name](value) for name, value in values.items()}), 512 * 200


def by_disco(model: Callable[[], None]) -> tuple[Tensor, int]:
    guide = AutoDiSco(model)
    guide.fit(progress=False)
    return guide.get_posterior().sample((DRAWS,)), guide.gradients


METHODS: dict[str, Callable[[Callable[[], None]], tuple[Tensor, int]]] = {
    "AutoDiSco": by_disco,
    "AutoNormal": lambda model: by_svi(AutoNormal, model),
    "AutoMultivariateNormal": lambda model: by_svi(AutoMultivariateNormal, model),
    "AutoIAFNormal": lambda model: by_svi(AutoIAFNormal, model),
    "SVGD": by_svgd,
    "NUTS": lambda model: nuts(model, 200, 100),
}


def references(names: list[str]) -> dict[str, tuple[Callable[[], None], Tensor]]:
    """Each model with its reference draws."""
    generator = torch.Generator().manual_seed(20_000_003)
    pyro.set_rng_seed(0)
    made: dict[str, Callable[[], tuple[Callable[[], None], Tensor]]] = {
        "eight schools": lambda: (eight_schools, shipped_schools()),
        "two modes": lambda: (bimodal, MODES.draw(20_000, generator)),
        "logistic, d = 30": lambda: (logistic, nuts(logistic, 600, 200)[0]),
        "funnel, d = 10": lambda: (funnel, exact_funnel(20_000, generator)),
    }
    return {name: make() for name, make in made.items() if name.split(",")[0] in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method, SVGD and NUTS once (default: %(default)s)")
    parser.add_argument("--models", nargs="+", default=["eight schools", "two modes", "logistic", "funnel"])
    options = parser.parse_args()
    started = time.time()
    for name, (model, reference) in references(options.models).items():
        halves = reference[torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))].chunk(2)
        found: list[dict[str, Any]] = [{"model": name, "method": "same size", "runs": [[_distance(*halves), 0.0, 0]]}]
        for method, run in METHODS.items():
            runs = []
            for seed in range(1 if method in ONCE else options.seeds):
                pyro.clear_param_store()
                pyro.set_rng_seed(seed)
                begun = time.time()
                draws, gradients = run(model)
                runs.append([_distance(draws, reference), time.time() - begun, gradients])
            found.append({"model": name, "method": method, "runs": runs})
            print(found[-1], flush=True)
        table(found, started)


def _distance(x: Tensor, y: Tensor) -> float:
    return sliced_wasserstein(x[:DRAWS], y, order=2)


def table(found: list[dict[str, Any]], started: float) -> None:
    """Writes one model's rows beside those of the other models, which earlier runs left."""
    path = RESULTS / "pyro_guides.json"
    earlier = json.loads(path.read_text())["results"] if path.exists() else []
    raw = [entry for entry in earlier if entry["model"] != found[0]["model"]] + found
    seconds = {entry["model"]: torch.tensor(entry["runs"])[:, 1].mean() for entry in raw if entry["method"] == "AutoDiSco"}
    rows = []
    for entry in raw:
        values = torch.tensor(entry["runs"], dtype=torch.float64)
        mean, runs = values.mean(0), len(values)
        distance = f"{mean[0]:.3f}" + (f" ± {values[:, 0].std() / math.sqrt(runs):.3f}" if runs > 1 else "")
        cost = ["", ""] if entry["method"] == "same size" else [f"{mean[1] / seconds[entry['model']]:.2f}", f"{int(mean[2]):,}"]
        rows.append([entry["model"], entry["method"], str(runs), distance, *cost])
    about = __doc__.split("\n", 1)[1].strip() + "\n\nMean ± standard error over the runs."
    header = ["model", "method", "runs", "sliced W2", "time / AutoDiSco", "gradients"]
    write("pyro_guides", "Guides for Pyro models", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
