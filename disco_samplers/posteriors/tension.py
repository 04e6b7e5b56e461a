"""Whether two experiments agree on their parameters, from draws of their posteriors."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import device_of
from disco_samplers.draws import Draws
from disco_samplers.estimate import DiScoFormer
from disco_samplers.posteriors.fit import Fit, Proposal, check_proposal, fit
from disco_samplers.posteriors.measured import Measured
from disco_samplers.posteriors.rows import Rows, as_draws, check_enough, ends, real_coordinates, straightened, to_real
from disco_samplers.posteriors.shift import Pairs, jackknife, log_chi2, log_mass_below, moments, parameter_shift, sigmas_of
from disco_samplers.randomness import generator_on
from disco_samplers.reference import Gaussian
from disco_samplers.types import ArrayLike

_MOST_ROWS = 2048
"""Rows of either side at which densities are evaluated."""


@dataclasses.dataclass(frozen=True)
class Tension:
    """How far two posteriors are apart.

    Arguments:
        shift: the probability that their parameters differ, in sigmas of a normal law.
        p_value: the probability of a difference less likely than none; ``shift`` in other units.
        gaussian: the same from means and covariances alone, Q_DM, in sigmas.
        log_suspiciousness: log S, in nats; negative where they disagree, d / 2 on average where they agree by chance.
        suspicion: its significance, in sigmas.
        kl_divergence: of b from a.
        kind: "mixture" or "estimate", how the density of differences was fitted.
    """

    shift: Measured
    p_value: float
    gaussian: Measured
    log_suspiciousness: Measured
    suspicion: Measured
    kl_divergence: Measured
    kind: str

    def __repr__(self) -> str:
        return "\n".join(repr(part) for part in (self.shift, self.gaussian, self.log_suspiciousness, self.kl_divergence))


def tension(
    a: ArrayLike | Draws,
    b: ArrayLike | Draws,
    *,
    proposal: Proposal = "auto",
    model: DiScoFormer | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Tension:
    r"""The tension of two posteriors of the same parameters, from independent data and under flat priors.

    The density f of differences of their draws at zero says how probable a shift is,

    .. math:: p = \int_{f(\delta) < f(0)} f(\delta)\, d\delta, \qquad \delta = \theta_a - \theta_b, \qquad
        n_\sigma = \Phi^{-1}(1 - p / 2)

    with f a Gaussian mixture of the differences or DiScoFormer's estimate, whichever makes differences that it did not see
    likelier, and the integral by importance sampling with proposals that reach out to zero, so that no sigma is too many to be
    counted. For normal posteriors it is that of

    .. math:: Q_{DM} = (\mu_a - \mu_b)^T (C_a + C_b)^{-1} (\mu_a - \mu_b) \sim \chi^2_d.

    The log-suspiciousness is the log-ratio of evidences less what it owes to the priors' widths,

    .. math:: \log S = \langle \log L_{ab} \rangle_{ab} - \langle \log L_a \rangle_a - \langle \log L_b \rangle_b, \qquad
        d - 2 \log S \sim \chi^2_d,

    the joint posterior being the product of the two densities. Bias and errors are jackknife estimates that leave out one of
    ten blocks of successive draws of either chain, and the error of the proposals is added; they cover the draws' randomness,
    not a shape that neither density can follow.

    Arguments:
        a: (n, d), or :class:`~disco_samplers.Draws`; columns with names are matched by them.
        b: (m, d), or draws of the same columns.
        proposal: "mixture", "estimate" (in up to twenty columns), or "auto" for the better.
        model: DiScoFormer, of all but "mixture"; the shipped one if not given.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the device of the model or, without one, of the draws.
        progress: whether to show a progress bar.

    Raises:
        TypeError, ValueError: if draws are not numeric, are of other parameters, have fewer than ten distinct rows a column, or
            other bounds; if a model is given for "mixture".

    References:
        Raveri, Doux, *Non-Gaussian estimates of tensions in cosmological parameters*, PRD 2021
        (https://arxiv.org/abs/2105.03324), eq. 4 to 6; Raveri, Hu, *Concordance and discordance in cosmology*, PRD 2019
        (https://arxiv.org/abs/1806.04649), Q_DM; Handley, Lemos, *Quantifying tensions in cosmological parameters*, PRD 2019
        (https://arxiv.org/abs/1902.04029), eq. 11 and 18, the suspiciousness.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> a, b = torch.randn(400, 1, generator=g), torch.randn(400, 1, generator=g) + 3
        >>> found = tension(a, b, proposal="mixture", seed=0)
        >>> abs(found.shift.value - 3 / 2**0.5) < 4 * found.shift.standard_error
        True
    """
    check_proposal(proposal, model)
    first, second = matched(a, b, device_of(model, a, b))
    generator = generator_on(first.values.device, seed=seed, generator=generator)
    pairs = Pairs([Rows.of(draws, generator) for draws in (first, second)])
    # A change of coordinates changes no ratio of densities, but it does change what a difference is.
    transform = real_coordinates(first)
    real = Pairs([Rows.of(to_real(draws, transform), generator).thin(_MOST_ROWS) for draws in (first, second)])
    at = int(torch.randint(2**31, (), generator=generator, device=first.values.device))

    def fresh() -> torch.Generator:
        return torch.Generator(first.values.device).manual_seed(at)

    fits = [_fitted(rows, proposal, model, generator) for rows in (pairs.differences(None, fresh()), *real.sides)]

    def everything(left_out: int | None) -> Tensor:
        """All numbers without one block of draws, with the same random numbers each time, and what these leave open, (2, 5)."""
        rows = [pairs.without(left_out, side) for side in pairs.sides]
        x, y = (real.without(left_out, side) for side in real.sides)
        f, of_a, of_b = (g.refit(r) for g, r in zip(fits, (pairs.differences(left_out, fresh()), x, y), strict=True))
        (log_p, noise_p), d = log_mass_below(f, fresh()), first.dim
        log_s, noise_s = _log_suspiciousness(of_a, of_b, x, y, fresh())
        divergence = x.mean(of_a.log_prob(x.flat) - of_b.log_prob(x.flat))[0]
        shift, suspicion = sigmas_of(log_p), _suspicion(log_s, d)
        values = [shift, sigmas_of(log_chi2(parameter_shift(*rows), d)), suspicion, log_s, float(divergence)]
        noise = [sigmas_of(log_p - noise_p) - shift, 0.0, _suspicion(log_s - noise_s, d) - suspicion, noise_s, 0.0]
        return torch.tensor([values, noise], dtype=torch.float64, device="cpu")

    (values, noise), (bias, _), (errors, _) = jackknife(everything, progress=progress)
    values = values - bias
    values[:3].clamp_(min=0.0)  # no negative sigmas
    names = {"shift": "sigmas", "Q_DM": "sigmas", "suspicion": "sigmas", "log suspiciousness": "nats", "KL divergence": "nats"}
    shift, gaussian, suspicion, log_s, divergence = (
        Measured(name, float(value), float(error), unit)
        for (name, unit), value, error in zip(names.items(), values, errors.hypot(noise), strict=True)
    )
    return Tension(shift, math.erfc(shift.value / 2**0.5), gaussian, log_s, suspicion, divergence, fits[0].kind)


def matched(a: Any, b: Any, device: torch.device | None) -> tuple[Draws, Draws]:
    """Two sets of draws of the same columns on one device, the second in the order of the first.

    Raises:
        ValueError: if they are of other parameters or devices, have other bounds, or too few rows.
    """
    first, second = as_draws(a, "a", device), as_draws(b, "b", device)
    if first.dim != second.dim or (first.has_names and second.has_names and set(first.names) != set(second.names)):
        raise ValueError(
            f"a and b must be of the same parameters: a has {', '.join(first.names)}, b has {', '.join(second.names)}; "
            "take those that both have by draws.columns([...])"
        )
    if first.has_names and second.has_names and first.names != second.names:
        second = second.columns(first.names)
    if None not in (first.support, second.support) and ends(first.support) != ends(second.support):
        raise ValueError(f"a and b must have the same support, got {first.support} and {second.support}")
    first, second = straightened([first, second])
    for draws, name in ((first, "a"), (second, "b")):
        check_enough(draws, name)
    return first, second


def _fitted(rows: Rows, proposal: Proposal, model: DiScoFormer | None, generator: torch.Generator | None) -> Fit:
    """A fit of all rows, of the better kind by halves where there is a choice."""
    if proposal == "auto":
        first, second = (rows.take(times) for times in rows.parts(2))
        proposal = "estimate" if fit(first, second, proposal, model, generator).kind == "estimate" else "mixture"
    return fit(rows, rows, proposal, model, generator)


def _suspicion(log_s: float, d: int) -> float:
    """Sigmas of a log-suspiciousness."""
    return sigmas_of(log_chi2(max(d - 2 * log_s, 0.0), d))


def _log_suspiciousness(of_a: Fit, of_b: Fit, a: Rows, b: Rows, generator: torch.Generator) -> tuple[float, float]:
    """<log a + log b> over their product less <log a> over a and <log b> over b; and its error from the number of proposals."""
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    precision_a, precision_b = torch.linalg.inv(cov_a), torch.linalg.inv(cov_b)
    covariance = torch.linalg.inv(precision_a + precision_b)
    product = Gaussian(covariance @ (precision_a @ mean_a + precision_b @ mean_b), 1.5 * 0.5 * (covariance + covariance.T))
    many = min(of_a.many, of_b.many)
    points = torch.cat([f.sample(many // 4, generator).points for f in (of_a, of_b)] + [product.draw(many // 2, generator)])
    log_a, log_b = of_a.log_prob(points), of_b.log_prob(points)
    log_q = torch.stack([log_a + math.log(0.25), log_b + math.log(0.25), product.evaluate(points) + math.log(0.5)]).logsumexp(0)
    share, both = (log_a + log_b - log_q).softmax(0), log_a + log_b
    joint = (share * both).sum()
    own = a.mean(of_a.log_prob(a.flat))[0] + b.mean(of_b.log_prob(b.flat))[0]
    return float(joint - own), float((share * (both - joint)).norm())
