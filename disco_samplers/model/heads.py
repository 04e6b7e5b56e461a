r"""The density head and the score head on the shared backbone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disco_samplers.model.block import KernelEstimates, Tokens, normalise
from disco_samplers.model.config import DiScoFormerConfig
from disco_samplers.model.whitening import log_standard_normal

_REACH = 8.0
"""Radius, in units of sqrt(d) standard deviations, beyond which the learned vector terms are tapered off."""


class Heads(nn.Module):
    r"""Log-density and score of a token, from its channels and the last block's kernel estimates.

    The log-density starts from a mixture of the heads' kernel density estimates :math:`\hat f_h` and a standard normal,
    with weights :math:`\pi` read off the token, tempered and corrected:

    .. math::
        T &= (1 - \gamma) \log\big(\pi_0 \mathcal N + \sum_h \pi_h \hat f_h\big)
             - \kappa \sqrt d \log(1 + |y|^2/d) + \sum_h w_h \rho_h + \sqrt d\, u \\
        S &= (1 - \gamma') \big(-r_0 y + \sum_h r_h \nabla \log \hat f_h\big) - \kappa' \frac{2 \sqrt d\, y}{d + |y|^2}
             + \tau(|y|) \big(\sum_h w'_h \nabla \log \hat f_h + \sum_c g_c V_c\big)

    r are the mixture's responsibilities and :math:`\rho_h` squashed log-ratios. The mixture's score points
    inwards far out and :math:`\gamma' < 1`, while the taper :math:`\tau` switches the free vector terms off there, so the score
    confines a sampler. Before training all learned corrections are zero.
    """

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        c, cv, h = config.width, config.vector_channels, config.heads
        self.sizes = [h + 1, h, h, cv, 1, 1, 1, 1, 1]
        self.norm = nn.LayerNorm(c)
        self.left = nn.Linear(cv, cv, bias=False)
        self.right = nn.Linear(cv, cv, bias=False)
        self.input = nn.Linear(c + cv + 2 * h, config.hidden)
        self.output = nn.Linear(config.hidden, sum(self.sizes))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tokens, kernels: KernelEstimates) -> tuple[Tensor, Tensor]:
        """Returns log-density (b, n) and score (b, n, d) in whitened coordinates."""
        y, r2 = tokens.position, tokens.r2
        d = y.shape[-1]
        root = math.sqrt(d)
        v = normalise(tokens.vectors)
        invariants = (self.left(v) * self.right(v)).mean(-2)
        squashed = 3 * torch.tanh(kernels.log_ratio / (3 * root))
        features = torch.cat([self.norm(tokens.scalars), invariants, squashed, kernels.log_beta], -1)
        out = self.output(F.silu(self.input(features))).to(y.dtype)
        mixture, density_weights, score_weights, gates, u, *tail = out.split(self.sizes, -1)
        gamma_t, kappa_t, gamma_s, kappa_s = tail

        log_weights = mixture.log_softmax(-1) + F.pad(kernels.log_ratio, (0, 1))
        log_mixture = log_weights.logsumexp(-1) + log_standard_normal(r2.squeeze(-1), d)
        log_prob = (
            (1 - _below_one(gamma_t).squeeze(-1)) * log_mixture
            + root * (density_weights * squashed).sum(-1)
            + root * u.squeeze(-1)
            - root * (kappa_t * torch.log1p(r2 / d)).squeeze(-1)
        )

        responsibility = log_weights.softmax(-1)
        pull = (kernels.score * responsibility[:, :, None, :-1]).sum(-1) - responsibility[..., -1:] * y
        taper = 1 / (1 + (r2 / (d * _REACH**2)).square())
        free = (kernels.score * score_weights[:, :, None]).sum(-1) + (v * gates[:, :, None]).sum(-1)
        score = (1 - _below_one(gamma_s)) * pull - kappa_s * 2 * root * y / (d + r2) + taper * free
        return log_prob, score


def _below_one(x: Tensor) -> Tensor:
    """A smooth map with value 0 and slope about 1 at 0 that stays below 0.99 and above -1."""
    return torch.where(x > 0, 0.99 * torch.tanh(x / 0.99), torch.tanh(x))
