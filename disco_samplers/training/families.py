"""The stream of training targets: random distributions with exact log-density and score, a fresh batch every step.

A family is a function ``(batch, d, generator, device) -> ReferenceDensity`` whose parameters carry a leading batch
dimension. To add one, write such a function and name it in :data:`FAMILIES`.
Bananas, funnels, rings and balls are in no family: they are kept for testing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from disco_samplers.reference import GaussianMixture, ReferenceDensity, StudentTMixture
from disco_samplers.training.maps import (
    Autoregression,
    Box,
    Coupling,
    Edge,
    Factor,
    Linear,
    Map,
    Pushforward,
    SineShear,
    SinhArcsinh,
    linear,
    normal,
    rotation,
    uniform,
)

Family = Callable[[int, int, torch.Generator], ReferenceDensity]


def paper_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    r"""The published family: K ~ U{1..10} components, means U[-3, 3]^d, diagonal variances U[0.2, 1]^d.

    The paper leaves the weights open; here they are U(0, 1) draws brought to sum to one, and K differs from set to set.

    References:
        DiScoFormer, section on training data (https://arxiv.org/abs/2511.05924).
    """
    weights = _weights(batch, 10, generator)
    means = 6 * uniform((batch, 10, d), generator) - 3
    return GaussianMixture(weights, means, 0.2 + 0.8 * uniform((batch, 10, d), generator))


def rotated_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """Up to 20 components of random orientation, anisotropy (up to 400 : 1 in variance), spread and weight."""
    return GaussianMixture(*_elliptical(batch, d, 20, generator))


def aligned_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """The same with every component's axes along the columns, as measured tables often have them."""
    return GaussianMixture(*_elliptical(batch, d, 20, generator, aligned=True))


def student_mixture(batch: int, d: int, generator: torch.Generator) -> StudentTMixture:
    """Up to 5 Student-t components of random orientation with 2.5 to 30 degrees of freedom."""
    weights, means, scales = _elliptical(batch, d, 5, generator)
    df = 2.5 * 12 ** uniform(weights.shape, generator)
    return StudentTMixture(weights, means, scales, df)


def contaminated_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """A published or a rotated mixture with 1 to 10 % of outliers: a normal 3 to 12 times as wide around the same centre."""
    base = (
        rotated_mixture(batch, d, generator)
        if torch.rand((), generator=generator, device=generator.device) < 0.5
        else (paper_mixture(batch, d, generator))
    )
    covariances = torch.diag_embed(base.covariances) if base.diagonal else base.covariances
    share = 0.01 * 10 ** uniform((batch, 1), generator)
    center = (base.weights[..., None] * base.means).sum(1, keepdim=True)
    variance = base.covariances if base.diagonal else base.covariances.diagonal(dim1=-2, dim2=-1)
    total = (base.weights[..., None] * (variance + (base.means - center).square())).sum(1, keepdim=True)
    width = 3 * 4 ** uniform((batch, 1, 1), generator)
    return GaussianMixture(
        torch.cat([(1 - share) * base.weights, share], 1),
        torch.cat([base.means, center], 1),
        torch.cat([covariances, torch.diag_embed(width.square() * total)], 1),
    )


def product_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """Independent coordinates, each a mixture of up to three normal, Laplace or logistic laws; half of them rotated."""
    return Pushforward(ProductMixture(batch, d, generator), [linear(batch, d, generator)])


def warped_mixture(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """A mixture bent by smooth invertible maps: skewed and stretched coordinates, then sine shears, in a random frame."""
    base = (
        rotated_mixture(batch, d, generator)
        if torch.rand((), generator=generator, device=generator.device) < 0.5
        else (paper_mixture(batch, d, generator))
    )
    maps: list[Map] = [SinhArcsinh(batch, d, generator), linear(batch, d, generator)]
    if d > 1:
        maps.append(SineShear(batch, d, generator))
    return Pushforward(base, maps)


def few_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """Up to 3 components of random orientation: beams, bumps and satellites."""
    return GaussianMixture(*_elliptical(batch, d, 3, generator))


def hollow_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """A normal times a random positive quadratic, in a random linear frame: dents and holes about the centre."""
    return Pushforward(HollowNormal(batch, d, generator), [linear(batch, d, generator)])


def curved_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    r"""Up to 150 flat components side by side along up to 10 smooth curves or surfaces: data near manifolds.

    A surface is :math:`x(u) = c + \sum_j a_j \sin(\omega_j \cdot u + \phi_j)`, u in up to three dimensions; a component at u
    spreads along the tangents to its neighbours, and by a common noise. Directions fall off in size by a power law.
    """
    most = max(10, min(150, 2000 // d))
    sheets, k = (int(torch.randint(1, top + 1, (), generator=generator, device=generator.device)) for top in (10, most))
    k = max(k, sheets)
    p = 1 + int(min(3, d) * uniform((1,), generator).square())  # curves more often than surfaces
    size = torch.arange(1, d + 1, device=generator.device) ** -uniform((batch, 1, 1), generator)
    shape = (batch, sheets, 4)  # four harmonics
    omega = (0.5 + 3 * uniform((batch, 1, 1, 1), generator)) * normal((*shape, p), generator)
    phase = 2 * math.pi * uniform(shape, generator)
    amplitude = 0.7 * normal((*shape, d), generator) * size[:, :, None]
    center = 2 * uniform((batch, 1, 1), generator) * normal((batch, sheets, d), generator) * size
    sheet = torch.randint(sheets, (batch, k), generator=generator, device=generator.device)
    row = torch.arange(batch, device=generator.device)[:, None]
    u = 2 * uniform((batch, k, p), generator) - 1
    omega, amplitude = omega[row, sheet], amplitude[row, sheet]  # (b, k, 4, p), (b, k, 4, d)
    angle = (omega @ u[..., None])[..., 0] + phase[row, sheet]
    rotation = linear(batch, d, generator).rotation
    means = (center[row, sheet] + (angle.sin()[..., None] * amplitude).sum(-2)) @ rotation
    tangents = (angle.cos()[..., None] * omega).mT @ amplitude @ rotation[:, None] * (sheets / k) ** (1 / p)
    noise = 0.05 * 12 ** uniform((batch, 1, 1, 1), generator)
    covariances = tangents.mT @ tangents + noise.square() * torch.eye(d, device=generator.device)
    return GaussianMixture(uniform((batch, k), generator).clamp_min(0.1), means, covariances)


def long_mixture(batch: int, d: int, generator: torch.Generator) -> GaussianMixture:
    """Up to 6 long or flat components of random orientation: the widest direction is 8 to 40 times the narrowest."""
    k = int(torch.randint(1, 7, (), generator=generator, device=generator.device))
    means = 2.5 * uniform((batch, 1, 1), generator) * normal((batch, k, d), generator)
    strength = math.log(8) + math.log(5) * uniform((batch, 1, 1), generator)
    log_std = strength * (uniform((batch, k, d), generator) - 0.5) + 0.3 * normal((batch, k, 1), generator)
    factor = rotation(batch * k, d, generator).view(batch, k, d, d) * log_std.exp()[..., None, :]
    return GaussianMixture(_weights(batch, k, generator), means, factor @ factor.mT)


def coupled_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """A simple law pushed through a random invertible network: couplings between random turns, sometimes skewed."""
    maps: list[Map] = []
    for _ in range(1 + int(3 * uniform((1,), generator).square())):
        maps.append(linear(batch, d, generator))
        if d > 1:
            maps.append(Coupling(batch, d, generator))
        if d == 1 or _chance(0.3, generator):
            maps.append(SinhArcsinh(batch, d, generator))
    return Pushforward(_simple(batch, d, generator), [*maps, linear(batch, d, generator)])


def hierarchical_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """A law whose first column sets the scale of the others: scale mixtures and centred hierarchical posteriors."""
    maps: list[Map] = [linear(batch, d, generator)] if _chance(0.3, generator) else []
    if d > 1:
        maps.append(Coupling(batch, d, generator, hierarchical=True))
    return Pushforward(_simple(batch, d, generator), [*maps, linear(batch, d, generator)])


def edged_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """Columns pressed against edges, into intervals and into spikes: skewed positive, bounded and zero-inflated data."""
    base = _simple(batch, d, generator)
    maps: list[Map] = []
    if d > 1 and _chance(0.3, generator):
        maps.append(Coupling(batch, d, generator))
    maps.append(Edge(batch, d, generator) if _chance(0.65, generator) else Box(batch, d, generator))
    if _chance(0.4, generator):
        maps.append(SinhArcsinh(batch, d, generator))
    return Pushforward(base, [*maps, linear(batch, d, generator)])


def ridged_law(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """Another law with nearly dependent columns: eigenvalues over up to six decades, autoregressions, common factors."""
    base = FAMILIES[("paper", "rotated", "coupled", "hierarchical", "student")[_choice(5, generator)]](batch, d, generator)
    kind = _choice(3, generator)
    if d == 1 or kind == 0:
        decades = 3 * uniform((batch, 1, 1), generator)
        step: Map = Linear(rotation(batch, d, generator), 10 ** (-decades * uniform((batch, 1, d), generator)))
    elif kind == 1:
        step = Autoregression(1 - 10 ** (-3 * uniform((batch, 1, 1), generator)))
    else:
        # I + c f f' / d: all columns share a factor.
        factor = (3 * uniform((batch, 1, 1), generator)).exp() * normal((batch, d, 1), generator)
        identity = torch.eye(d, device=generator.device)
        return Pushforward(base, [Factor(identity + factor @ factor.mT / d)])
    return Pushforward(base, [step])


FAMILIES: dict[str, Family] = {
    "paper": paper_mixture,
    "rotated": rotated_mixture,
    "few": few_mixture,
    "hollow": hollow_law,
    "curved": curved_mixture,
    "aligned": aligned_mixture,
    "contaminated": contaminated_mixture,
    "student": student_mixture,
    "product": product_law,
    "warped": warped_mixture,
    "long": long_mixture,
    "coupled": coupled_law,
    "hierarchical": hierarchical_law,
    "edged": edged_law,
    "ridged": ridged_law,
}


class ProductMixture(ReferenceDensity):
    """Independent coordinates, each its own mixture of three laws out of normal, Laplace and logistic."""

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        self.dim, self.dtype, self.device = d, torch.float32, generator.device
        shape = (batch, 1, d, 3)
        self.weights = _weights(batch * d, 3, generator).view(shape)
        self.means = 3 * normal(shape, generator) * uniform((batch, 1, 1, 1), generator)
        self.scales = (0.3 * normal(shape, generator)).exp()
        # One law for all coordinates of a set, or a draw for each.
        law = torch.randint(3, shape, generator=generator, device=self.device)
        same = uniform((batch, 1, 1, 1), generator) < 0.5
        self.law = torch.where(same, law[:, :, :1, :1], law)

    def evaluate(self, y: Tensor) -> Tensor:
        z = (y[..., None] - self.means) / self.scales
        normal = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
        laplace = -z.abs() - math.log(2)
        logistic = -z.abs() - 2 * torch.log1p((-z.abs()).exp())
        log_law = torch.where(self.law == 0, normal, torch.where(self.law == 1, laplace, logistic))
        return (log_law - self.scales.log() + self.weights.log()).logsumexp(-1).sum(-1)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        batch, _, d, k = self.means.shape
        index = torch.multinomial(self.weights.reshape(-1, k), num_samples, replacement=True, generator=generator)
        index = index.view(batch, d, num_samples).mT[..., None]

        def chosen(parameter: Tensor) -> Tensor:
            return parameter.expand(batch, num_samples, d, k).gather(-1, index)[..., 0]

        shape = (batch, num_samples, d)
        normal = torch.randn(shape, generator=generator, device=self.device)
        u = torch.rand(shape, generator=generator, device=self.device).clamp(1e-6, 1 - 1e-6)
        laplace = -(u - 0.5).sign() * torch.log1p(-2 * (u - 0.5).abs())
        law = chosen(self.law)
        z = torch.where(law == 0, normal, torch.where(law == 1, laplace, u.logit()))
        return chosen(self.means) + chosen(self.scales) * z


class HollowNormal(ReferenceDensity):
    r"""Density :math:`N(x; 0, I) (a + \sum_j \lambda_j x_j^2) / (a + \sum_j \lambda_j)` with random positive coefficients.

    It is the mixture of N with laws :math:`x_j^2 N(x)`, whose j-th coordinate is a chi variable of three degrees of freedom
    with a random sign; so it is drawn from exactly.
    """

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        self.dim, self.dtype, self.device = d, torch.float32, generator.device
        base = 0.3 * uniform((batch, 1), generator).square()
        coefficients = (uniform((batch, 1), generator) * normal((batch, d), generator)).exp()
        total = torch.cat([base, coefficients / coefficients.sum(-1, keepdim=True)], 1)
        self.weights = total / total.sum(-1, keepdim=True)  # (b, 1 + d): a, then lambda

    def evaluate(self, y: Tensor) -> Tensor:
        quadratic = self.weights[:, :1] + (y.square() @ self.weights[:, 1:, None])[..., 0]
        return quadratic.log() - 0.5 * y.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        batch = len(self.weights)
        normal = torch.randn((batch, num_samples, self.dim + 3), generator=generator, device=self.device)
        x, chi = normal[..., :-3], normal[..., -3:].norm(dim=-1, keepdim=True)
        which = torch.multinomial(self.weights, num_samples, replacement=True, generator=generator) - 1
        chosen = which[..., None] == torch.arange(self.dim, device=self.device)
        return torch.where(chosen, chi * x.sign(), x)


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator, device=generator.device)) < share


def _choice(options: int, generator: torch.Generator) -> int:
    return int(torch.randint(options, (), generator=generator, device=generator.device))


def _simple(batch: int, d: int, generator: torch.Generator) -> ReferenceDensity:
    """What the networks and edges start from: one normal, a few clusters, products or Student-t laws."""
    kind = _choice(6, generator)
    if kind < 2:
        ones = torch.ones((batch, 1), device=generator.device)
        return GaussianMixture(ones, ones.new_zeros(batch, 1, d), ones.new_ones(batch, 1, d))
    family = (few_mixture, paper_mixture, product_law, student_mixture)[kind - 2]
    return family(batch, d, generator)


def _weights(batch: int, most: int, generator: torch.Generator) -> Tensor:
    """Weights of 1 to ``most`` components, the others exactly zero."""
    count = torch.randint(1, most + 1, (batch, 1), generator=generator, device=generator.device)
    weights = uniform((batch, most), generator).clamp_min(1e-3)
    weights = weights * (torch.arange(most, device=generator.device) < count)
    return weights / weights.sum(-1, keepdim=True)


def _elliptical(
    batch: int, d: int, most: int, generator: torch.Generator, *, aligned: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (b, K), means (b, K, d) and covariances (b, K, d, d), or (b, K, d) if aligned, of random size."""
    k = int(torch.randint(1, most + 1, (), generator=generator, device=generator.device))
    weights = _weights(batch, k, generator) ** (0.5 + 1.5 * uniform((batch, 1), generator))
    spread = 3 * uniform((batch, 1, 1), generator)
    means = spread * normal((batch, k, d), generator)
    strength = math.log(20) * uniform((batch, 1, 1), generator)
    log_std = 0.5 * strength * (2 * uniform((batch, k, d), generator) - 1)
    size = 0.5 * normal((batch, k, 1), generator)
    if aligned:
        return weights, means, (2 * (log_std + size)).exp()
    factor = rotation(batch * k, d, generator).view(batch, k, d, d) * (log_std + size).exp()[..., None, :]
    return weights, means, factor @ factor.mT
