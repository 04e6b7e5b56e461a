"""The Landau collision operator among and between several species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from disco_samplers.arrays import check_callable, check_not_negative, check_positive
from disco_samplers.randomness import generator_on

from ..cells import moments
from ..mixture import Mixture
from ..schema import nearest
from ..types import VelocityScore
from ..velocities import speed_moment
from .answers import answer
from .sums import Method, PairSum, check_components

Strength = float | Mapping[tuple[str, str], float]

_LONGEST = 64
"""Steps that a pair of species may wait at most."""


class MultispeciesLandau:
    r"""Landau collisions of every species with itself and with every other, each with the score of its own particles.

    .. math:: m_a \frac{dv_i}{dt} = -\sum_b c_{ab} \sum_{j \in b} w_j\, |z|^g (|z|^2 I - z z^\top)
        \Big(\frac{s_i}{m_a} - \frac{s_j}{m_b}\Big), \qquad z = v_i - v_j, \quad i \in a, \quad c_{ab} = c_{ba}

    It is the Landau equation's flux :math:`f_a\,dv/dt` with the integral over :math:`f_b` taken over its particles. What
    particle i of weight :math:`w_i` loses to j is :math:`w_i w_j` times a force that changes sign when i and j are exchanged
    and is perpendicular to z. So momentum :math:`\sum m w v` and energy :math:`\tfrac12 \sum m w |v|^2` of every pair of
    species are conserved to round-off **for any score and any weights**. The entropy of all species together is never
    lowered: :math:`-\sum_i w_i s_i \cdot dv_i/dt` is half the sum over pairs of :math:`c_{ab} w_i w_j` times a square. It is
    zero for Maxwellians of one temperature and drift, where :math:`s_i/m_a - s_j/m_b = -z/T`.

    Arguments:
        score: of the velocities of each species; or by name of the species, a score each.
        strength: a number C gives every pair :math:`c_{ab} = C q_a^2 q_b^2`: Coulomb collisions of one Coulomb logarithm,
            :math:`C = \ln\Lambda / 8 \pi n \lambda_D^3` in units of Debye length, plasma frequency and electron mass and
            charge. A dictionary gives :math:`c_{ab}` itself by pair of names, in either order; pairs that it lacks do not
            collide.
        exponent: g; -3 for Coulomb collisions in three velocities (-2 in two), 0 for Maxwell molecules.
        method: "pairs" takes all pairs of particles of a cell, "batches" random batches that hold all species alike, O(n p);
            "moments" is the same as "pairs" in O(n), for exponent 0 only. By default "moments" for exponent 0, else "pairs".
        batch_size: p, for "batches" only; 64 if not given.
        subcycle: if given, a pair whose collisions are so rare that :math:`\nu\,\Delta t` stays below this collides only
            every 2nd, 4th, ... or 64th step, for as much longer. Electrons then collide in every step, ions seldom.

    Raises:
        TypeError: if a strength is not a number, or is not of a pair.
        ValueError: if a strength is negative, no pair is named or one twice, or an option is out of range; when called, if a
            species is unknown or velocities have one component.

    References:
        Landau, *The kinetic equation in the case of Coulomb interaction*, Phys. Z. Sowjetunion 1936; Carrillo, Hu, Van
        Fleet, *A particle method for the multispecies Landau equation*, 2023 (https://arxiv.org/abs/2310.16143); Zonta,
        Pusztay, Hirvijoki, *Multispecies structure-preserving particle discretization of the Landau collision operator*,
        Phys. Plasmas 2022.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> from disco_samplers.integrations.plasma.types import Species
        >>> z = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> w = torch.full((100,), 0.01, dtype=torch.float64)
        >>> hot = Species("electrons", w, 2 * z[:100], w)
        >>> cold = Species("ions", w, 0.1 * z[100:], w, charge=1.0, mass=100.0)
        >>> mixture = Mixture.of([hot, cold])
        >>> rate = MultispeciesLandau(Maxwellian(), strength=0.1).rates(mixture)
        >>> loss = [float((m * w[:, None] * v * r).sum()) for m, v, r in zip((1, 100), *map(mixture.split, (mixture.v, rate)))]
        >>> loss[0] < 0, abs(sum(loss)) < 1e-12
        (True, True)
    """

    def __init__(
        self,
        score: VelocityScore | Mapping[str, VelocityScore],
        *,
        strength: Strength,
        exponent: float = -3.0,
        method: Method | None = None,
        batch_size: int | None = None,
        subcycle: float | None = None,
    ) -> None:
        for name, one in score.items() if isinstance(score, Mapping) else [("", score)]:
            check_callable(f"score of {name}" if name else "score", one, "a VelocityScore")
        if isinstance(strength, Mapping):
            if not strength:
                raise ValueError("strength must be that of one pair of species at least, got none")
            for pair, value in strength.items():
                if not (isinstance(pair, tuple) and len(pair) == 2):
                    raise TypeError(f'strength must have pairs of names, such as ("electrons", "ions"), for keys, got {pair!r}')
                a, b = pair
                check_not_negative(f"strength of {a} and {b}", value)
                if a != b and (b, a) in strength:
                    raise ValueError(f"strength names the pair of {a} and {b} twice: give it in one order")
        else:
            check_not_negative("strength", strength)
        if subcycle is not None:
            check_positive("subcycle", subcycle)
        self.score, self.strength, self.subcycle = score, strength, subcycle
        self.pairs = PairSum(exponent, method, batch_size)

    def rates(self, mixture: Mixture, generator: torch.Generator | None = None, *, factor: Tensor | None = None) -> Tensor:
        """The rate dv/dt (n, dv) of all particles.

        Arguments:
            mixture: of the species.
            generator: source of randomness, of "batches".
            factor: on the strength of each pair (k, k), symmetric; one by default.
        """
        check_components(mixture.v)
        generator = generator_on(mixture.v.device, generator=generator)
        matrix = self.matrix(mixture)
        if factor is not None:
            matrix = matrix * factor.to(matrix)
        colliding = matrix.any(1)
        busy = colliding[mixture.kind].nonzero().squeeze(1)
        rate = torch.zeros_like(mixture.v)
        if len(busy) == 0:
            return rate
        v, w, kind, cell = (values[busy] for values in (mixture.v, mixture.w, mixture.kind, mixture.cell))
        s = torch.zeros_like(v)
        for k, name in enumerate(mixture.names):
            if colliding[k]:
                here = kind == k
                found = self.score_of(name)(v[here], w[here], cell[here], mixture.num_cells)
                s[here] = answer(found, v[here], f"the score of {name}") / mixture.mass[k]
        # The weight of each particle as those of each species see it: nothing else tells species apart.
        seen = matrix[:, kind].T * w[:, None]
        q = self.pairs(v, s, seen, cell, mixture.num_cells, generator, kind)
        rate[busy] = -q / mixture.mass[kind, None]
        return rate

    def score_of(self, name: str) -> VelocityScore:
        """The score of a species' velocities."""
        return self.score[name] if isinstance(self.score, Mapping) else self.score

    def check(self, names: Sequence[str]) -> None:
        """Raises ValueError if strength or score names a species that is not there, or there is one without a score."""
        named = {name for pair in self.strength for name in pair} if isinstance(self.strength, Mapping) else set()
        scored = set(self.score) if isinstance(self.score, Mapping) else set(names)
        for what, some in (("strength", named), ("score", scored)):
            for name in sorted(some - set(names)):
                raise ValueError(f"{what} of the collisions names no species: {name!r}{nearest(name, list(names))}")
        if missing := set(names) - scored:
            raise ValueError(f"score of the collisions lacks the species {', '.join(sorted(missing))}")

    def matrix(self, mixture: Mixture) -> Tensor:
        """The strength of each pair of species, (k, k)."""
        self.check(mixture.names)
        if not isinstance(self.strength, Mapping):
            square = mixture.charge.square()
            return self.strength * square[:, None] * square
        matrix = torch.zeros_like(mixture.mass[:, None] * mixture.mass)
        for (a, b), value in self.strength.items():
            i, j = mixture.names.index(a), mixture.names.index(b)
            matrix[i, j] = matrix[j, i] = value
        return matrix

    def frequencies(self, mixture: Mixture) -> Tensor:
        r"""How often each pair of species collides, (k, k): the faster of what each does to the other.

        .. math:: \nu_{ab} = \frac{2\,c_{ab} n_b}{m_a} \Big(\frac1{m_a} + \frac1{m_b}\Big)
            \frac{\langle |z|^{g+2} \rangle}{\Theta}, \qquad
            \Theta = \frac{T_a}{m_a} + \frac{T_b}{m_b} + \frac{|u_a - u_b|^2}{d},

        with z a Gaussian of variance :math:`\Theta`: :math:`2d/(d-1)` times the friction between Maxwellians. Of a species with
        itself it is :math:`4 d\,C n` for exponent 0, at which anisotropy decays, and about twice that rate for Coulomb
        collisions. Moments are those of all cells together.
        """
        check_components(mixture.v)
        d, k = mixture.v.shape[1], len(mixture.names)
        weight, mean, spread = moments(mixture.v.double(), mixture.w.double(), mixture.kind, k)
        apart = (mean[:, None] - mean).square().sum(-1) / d
        theta = (spread[:, None] + spread + apart).clamp_min(torch.finfo(torch.float64).tiny)
        mass = mixture.mass.double()
        drag = self.matrix(mixture) * (1 / mass[:, None] + 1 / mass) / mass[:, None]
        each = 2 * drag * (weight / mixture.num_cells) * speed_moment(self.pairs.exponent + 2, theta, d) / theta
        return torch.maximum(each, each.T)

    def cycles(self, mixture: Mixture, dt: float) -> Tensor:
        """In which steps of length dt each pair collides (k, k): 1 for every step, 2 for every second, up to 64."""
        frequency = self.frequencies(mixture)
        if self.subcycle is None:
            return torch.ones_like(frequency, dtype=torch.int64)
        longest = (self.subcycle / (frequency * dt)).clamp(1.0, _LONGEST)
        return (2 ** longest.log2().floor()).to(torch.int64)
