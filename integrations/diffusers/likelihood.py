"""Normalised log-likelihood of samples under a score model, by its probability-flow ODE."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, check_finite
from disco_samplers.extras import optional
from disco_samplers.randomness import seed_of

from .score_model import DiscoScoreModel
from .trajectory import Noised

Divergence = Literal["exact", "hutchinson"]

_ROWS = 1024
"""Samples carried through the ODE at a time."""


def probability_flow_log_prob(
    model: DiscoScoreModel,
    samples: Tensor,
    *,
    sigma_min: float = 0.01,
    num_steps: int = 24,
    method: str = "heun2",
    divergence: Divergence = "exact",
    probes: int | None = None,
    class_labels: Any = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
    **solver: Any,
) -> Tensor:
    r"""Log-density in nats of samples (B, *shape), noised to ``sigma_min``, as (B,).

    .. math::
        \frac{dy}{d \log \sigma} = \sigma\, \hat\epsilon(y, \sigma), \qquad
        \log p_{\min}(y_{\min}) = \log p_{\max}(y_{\max}) + \int \sigma\, \nabla \cdot \hat\epsilon \; d\log \sigma

    up to the noise level where the model is the exact blurred training set, whose density is known. What is outside the
    model's basis is Gaussian, and taken exactly. Unlike the density head's, this density integrates to one.

    Arguments:
        model: the score model.
        samples: clean, in the data's units; a density at level ``sigma_min`` is that of data plus so much noise.
        sigma_min: smallest noise level.
        num_steps: of a solver with fixed steps, equal in log sigma; each takes a noise level's contexts. Too few overstate the
            density, of images that are read patch by patch by some nats: double them until the answer stays.
        method: of ``torchdiffeq.odeint``; "heun2" and "euler", which ask at the ends of steps only, encode fewest levels.
        divergence: "exact" takes k differentiations for a basis of k dimensions, "hutchinson" one for each probe.
        probes: random directions of Hutchinson's estimate, 1 if not given.
        class_labels: class of each sample, or one for all.
        seed: of the probes, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        progress: whether to show a progress bar.
        solver: passed to ``torchdiffeq.odeint`` (rtol, atol, options).

    Raises:
        ImportError: if torchdiffeq is not installed.
        ValueError: if a shape, class or option is wrong, samples hold NaN, or the model has a measurement.

    References:
        Song et al., *Score-based generative modeling through stochastic differential equations*, ICLR 2021, eq. 39; Grathwohl,
        Chen, Bettencourt, Sutskever, Duvenaud, *FFJORD*, ICLR 2019, for Hutchinson's trace.

    Example:
        >>> x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
        >>> model = DiscoScoreModel.from_data(x, replicas=1, calibrate=False)
        >>> log_prob = probability_flow_log_prob(model, torch.zeros(1, 1), num_steps=8)
        >>> bool((log_prob + 0.92).abs() < 0.3)
        True
    """
    odeint = optional("torchdiffeq", "flow").odeint
    check_count("num_steps", num_steps, 1)
    if divergence not in ("exact", "hutchinson"):
        raise ValueError(f'divergence must be "exact" or "hutchinson", got {divergence!r}')
    if divergence == "exact" and (probes is not None or seed is not None or generator is not None):
        raise ValueError('probes and their seed or generator are of divergence="hutchinson": leave them out')
    if model.is_measured:
        raise ValueError("model has a measurement, which has no likelihood here: give the model as it was before measured")
    probes = 1 if probes is None else probes
    check_count("probes", probes, 1)
    y = model.flat(samples)
    check_finite(y, "samples")
    z, rest = model.basis.project(y)
    log_prob = model.basis.rest_log_prob(rest, sigma_min)
    seeded = torch.Generator().manual_seed(seed_of(seed=seed, generator=generator))
    with tqdm(disable=not progress, desc="likelihood", unit=" evaluations") as bar:
        for label, rows in model.groups(class_labels, len(y)):
            noised = model.noised(label)
            top = float(model.log_sigma[0 if label is None else 1 + label, -1].exp())
            if not 0 < sigma_min < top:
                raise ValueError(f"sigma_min must lie between 0 and {top:.3g}, where the data are Gaussian, got {sigma_min}")
            times = torch.linspace(math.log(sigma_min), math.log(top), num_steps + 1, dtype=torch.float64, device=z.device)
            for part in rows.split(_ROWS):
                signs = torch.randint(0, 2, (probes, len(part), z.shape[1]), generator=seeded, device=seeded.device) * 2.0 - 1
                flow = _Flow(noised, signs.to(z) if divergence == "hutchinson" else None, bar)
                start = (z[part], torch.zeros_like(z[part, 0]))
                ends, gained = odeint(flow, start, times, method=method, **solver)
                final = noised.exact.log_prob(ends[-1].double(), top)
                log_prob[part] += (final + gained[-1]).to(log_prob.dtype)
    return log_prob


class _Flow:
    """Right-hand side of the ODE of (z, log-density), against log sigma."""

    def __init__(self, noised: Noised, probes: Tensor | None, bar: Any) -> None:
        self.noised, self.probes, self.bar = noised, probes, bar

    def __call__(self, time: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        sigma = math.exp(float(time))
        self.bar.update()
        with torch.inference_mode(False), torch.enable_grad(), full_precision(state[0].device):
            z = state[0].detach().clone().requires_grad_()
            noise = self.noised.noise(z, sigma)
            trace = _exact_trace(noise, z) if self.probes is None else _hutchinson(noise, z, self.probes)
        return sigma * noise.detach(), sigma * trace


def _exact_trace(field: Tensor, z: Tensor) -> Tensor:
    columns = range(z.shape[1])
    return sum(
        (torch.autograd.grad(field[:, i].sum(), z, retain_graph=True)[0][:, i] for i in columns), torch.zeros_like(z[:, 0])
    )


def _hutchinson(field: Tensor, z: Tensor, probes: Tensor) -> Tensor:
    parts = [(torch.autograd.grad((field * v).sum(), z, retain_graph=True)[0] * v).sum(1) for v in probes]
    return torch.stack(parts).mean(0)
