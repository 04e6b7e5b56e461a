"""What all estimators share: tensors in, tensors out, in tiles, with the gradients that are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.model import TILE, Network, Whitening, log_standard_normal
from disco_samplers.modes import transformed


class Estimator(ABC):
    r"""A log-density and its score read off samples by a network.

    A subclass gives the fields and :meth:`white`, its density in whitened coordinates, and says by :meth:`with_network` how it
    is made by another network. It takes part in batches only if it says so. Answers come in float64, whatever the network's
    precision.

    Its network is nobody else's to reach: estimates share one.

    Arguments:
        samples: (n, d), or (b, n, d) for a batch of data sets.
        counts: how many independent draws each row is worth; None where each is one.
        keys: most rows that a row attends to.
        whitening: the affine coordinates in which it works.
    """

    _network: Network
    samples: Tensor
    counts: Tensor | None = None
    keys: int | None
    whitening: Whitening

    @abstractmethod
    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, rank) in whitened coordinates at whitened points z (b, m, rank)."""

    @abstractmethod
    def with_network(self, network: Network) -> Estimator:
        """The same reading of the same samples by another network, where that is."""

    @property
    def core(self) -> Estimator:
        """The estimator inside whatever is wrapped around it: that which holds samples and whitening."""
        return self

    def from_core(self, points: Tensor) -> Tensor:
        """The data's points of the core's points."""
        return points

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d); of a batch (b, m) and (b, m, d) at (b, m, d)."""
        if points.ndim == 2:
            log_prob, score = self.log_prob_and_score(points[None])
            return log_prob[0], score[0]
        if points.shape[1] == 0:
            return points.new_zeros(points.shape[:2]), points.new_zeros(points.shape)
        tile = max(1, TILE // points.shape[0])
        # Gradients are wanted with respect to the points, or to weights that an adaptation has set free; an outer transform's
        # do not show.
        free = points.requires_grad or transformed() or any(p.requires_grad for p in self._network.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and free), full_precision(points.device):
            parts = [self.tile(part) for part in points.split(tile, 1)]
        log_prob, score = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return log_prob, score

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        return self.log_prob_and_score(points)[0]

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        return self.log_prob_and_score(points)[1]

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates (b, m, rank) of points (b, m, d), in float64; directions of no variance are left out."""
        return self.whitening(points)[..., : self.whitening.rank]

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density (b, m) in whitened coordinates at whitened points z (b, m, rank), without gradients."""
        with torch.no_grad(), full_precision(z.device):
            return torch.cat([self.white(part)[0] for part in z.split(TILE, 1)], 1)

    def tile(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, d) at points (b, m, d) that fit memory."""
        whitening = self.whitening
        rank = whitening.rank
        white = whitening(y)
        null = white[..., rank:]
        log_prob, score = self.white(white[..., :rank])
        if null.shape[-1]:
            log_prob = log_prob + log_standard_normal(null.square().sum(-1), null.shape[-1])
            score = torch.cat([score, -null], -1)
        return log_prob + whitening.log_det[:, None], score @ whitening.matrix.mT


def draw_rows(
    samples: Tensor, counts: Tensor | None, num_samples: int, generator: torch.Generator | None, *, replacement: bool
) -> Tensor:
    """Numbers of rows (n, d) drawn by what they are worth, uniformly where each is worth one."""
    n = len(samples)
    if counts is not None:
        some = num_samples if replacement else min(num_samples, int((counts > 0).sum()))
        return torch.multinomial(counts.double(), some, replacement=replacement, generator=generator)
    if replacement:
        return torch.randint(n, (num_samples,), generator=generator, device=samples.device)
    return torch.randperm(n, generator=generator, device=samples.device)[:num_samples]


def check_single(samples: Tensor, what: str) -> None:
    """Raises ValueError if samples are of a batch."""
    if samples.ndim == 3:
        raise ValueError(f"{what} works on one data set; condition on samples of shape (n, d)")


def device_of(network: Network) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device
