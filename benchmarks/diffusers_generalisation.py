"""Does a score model made of a data set generalise, where the exact optimal denoiser of that data set memorises?

Every method gets the same training samples, the same held-out samples, and, where it draws through diffusers, the same
scheduler, number of steps and starting noise. Negative log-likelihoods are in nats a sample, of held-out samples, at noise
level 0.01: by the probability-flow ODE (exact trace; for digits Hutchinson's estimate) for the score models, exactly for the
optimal denoiser and KDE. "copied" is the share of generated samples nearer to a training sample than all but 5 % of held-out
ones: new data give 0.05. MMD^2 (1e-3, unbiased), sliced W2, precision and recall are against held-out data: 797 digits
(all that are left of 1000 trained on), in the plane 1000 points. As many samples are generated as are held out. The MMD's
bandwidth is the median distance of held-out samples, where it sees little but means and covariances, in which a training set is
as good as any estimate; half of it; and a quarter, which is the distance of neighbours. Precision and recall are with the third
neighbour.
"KDE, leave-one-out" is the classical way not to memorise: a bandwidth chosen by leave-one-out likelihood, in the same basis.
The optimal denoiser is that of whole images, not of a basis; digits are carried in the basis that keeps 99 % of their variance.
Data, scheduler and noise are shared, so the first two methods are also compared in pairs. Splits overlap for digits, of which
there are 1797 in all, so that the standard errors there are a little too small.
"""

from __future__ import annotations

import argparse
import time

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers_data import PLANE, split
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoScoreModel, memorisation, probability_flow_log_prob
from report import write
from torch import Tensor

from disco_samplers.measures import maximum_mean_discrepancy
from disco_samplers.reference import KDE

SIGMA = 0.01
BANDWIDTHS = (1.0, 0.5, 0.25)
COUNTS = {"digits": (500, 1000)}
HOW = {"digits": {"divergence": "hutchinson", "probes": 2}}
METHODS = ("DiscoScoreModel", "optimal denoiser", "KDE, leave-one-out", "training data")


def draw(model: DiscoScoreModel, count: int, seed: int) -> Tensor:
    pipe = DiscoPipeline(model, DPMSolverMultistepScheduler(use_karras_sigmas=True))
    pipe.set_progress_bar_config(disable=True)
    return pipe(num_samples=count, num_inference_steps=30, generator=torch.Generator().manual_seed(seed)).samples


def measure(name: str, count: int, held_out: int, seed: int, likelihoods: int) -> dict[str, list[float]]:
    """NLL, MMD^2 at each bandwidth, sliced W2, precision, recall and copied share of each method."""
    training, held = split(name, count, held_out, seed)
    held = held[:held_out]
    judged = held[:likelihoods]
    mixed = DiscoScoreModel.from_data(training, seed=seed, replicas=2)
    exact = DiscoScoreModel.from_data(training, share=1.0, calibrate=False)  # of whole images
    exact.weight.fill_(1.0)
    found = {}
    for method, model in zip(METHODS, (mixed, exact), strict=False):
        if method == "optimal denoiser":
            z, rest = model.basis.project(judged.flatten(1))
            log_prob = model.noised().exact.log_prob(z.double(), SIGMA) + model.basis.rest_log_prob(rest, SIGMA)
        else:
            log_prob = probability_flow_log_prob(model, judged, sigma_min=SIGMA, num_steps=16, **HOW.get(name, {}))
        found[method] = [-float(log_prob.mean()), *summary(draw(model, len(held), seed), training, held)]
    z, rest = mixed.basis.project(judged.flatten(1))
    kde = KDE(mixed.data.double(), "loo")
    generator = torch.Generator().manual_seed(seed)
    basis = mixed.basis
    white = torch.randn(len(held), len(basis.rest_variances), generator=generator)
    outside = (white * basis.rest_variances.sqrt()) @ basis.rest_components
    drawn = (basis.lift(kde.sample(len(held), generator=generator).float()) + outside).reshape(held.shape)
    log_prob = kde.log_prob(z.double()) + basis.rest_log_prob(rest, SIGMA)
    found["KDE, leave-one-out"] = [-float(log_prob.mean()), *summary(drawn, training, held)]
    found["training data"] = [float("nan"), *summary(training, training, held)]
    return found


def summary(drawn: Tensor, training: Tensor, held: Tensor) -> list[float]:
    report = memorisation(drawn, training, held)
    new, old = drawn.flatten(1), held.flatten(1)
    median = float(torch.pdist(old).median())
    mmd = [1e3 * maximum_mean_discrepancy(new, old, bandwidth=share * median) for share in BANDWIDTHS]
    return [*mmd, report.sliced_w2, report.precision, report.recall, report.copied]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=8, help="data sets of each kind (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", default=["digits", *PLANE])
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    sizes = [(name, count) for name in options.sets for count in COUNTS.get(name, (500,))]
    for name, count in sizes:
        held_out, likelihoods = (797, 50) if name == "digits" else (1000, 100)
        runs = [measure(name, count, held_out, seed, likelihoods) for seed in range(options.repeats)]
        for method in METHODS:
            values = torch.tensor([run[method] for run in runs])
            mean, error = values.mean(0), values.std(0) / len(runs) ** 0.5
            rows.append([name, str(count), method, *(f"{m:.3g} ± {e:.2g}" for m, e in zip(mean, error, strict=True))])
            raw.append({"set": name, "n": count, "method": method, "values": values.tolist()})
            print(" | ".join(rows[-1]), flush=True)
        ours, theirs = (torch.tensor([run[method] for run in runs]) for method in METHODS[:2])
        mean, error = (ours - theirs).mean(0), (ours - theirs).std(0) / len(runs) ** 0.5
        cells = (f"{m:+.2g} ± {e:.2g}" for m, e in zip(mean, error, strict=True))
        rows.append([name, str(count), "first less second, paired", *cells])
        write(
            "diffusers_generalisation",
            "Generalisation against memorisation",
            __doc__.split("\n", 1)[1].strip() + f"\n\n{options.repeats} data sets of each kind, mean ± standard error.",
            ["set", "n", "method", "NLL", "MMD², median", "half", "quarter", "sliced W2", "precision", "recall", "copied"],
            rows,
            raw,
            started,
        )


if __name__ == "__main__":
    main()
