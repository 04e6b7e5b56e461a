"""The network's own estimate: samples whitened, encoded once, and asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, device_of
from disco_samplers.estimators.centre import Step
from disco_samplers.estimators.reach import Reach
from disco_samplers.model import Encoding, Frame, Network, check_same, whiten


class NetworkEstimator(Estimator):
    r"""What the network says of samples in whitened coordinates :math:`z = (x - m) A`.

    .. math:: \log f(x) = \log f_z(z) + \log |\det A|, \qquad s(x) = A\, s_z(z)

    Directions of no variance have a Gaussian of their own. Beyond the samples, where a network has seen nothing, it is not
    asked: along every ray from the mean the density falls on as it does at the edge of their :class:`Reach`.

    Arguments:
        network: what reads the samples.
        samples: (n, d), or (b, n, d).
        counts: (n,) or (b, n), how many independent draws a row is worth; one if not given, and none to leave a row out.
        keys: most rows that a row attends to while the context is encoded.
        group: processes of :mod:`torch.distributed` over which keys and values are spread; all have the same samples, and ask
            the same.
        progress: whether to show a bar while a context longer than ``keys`` is encoded.

    Example:
        >>> from disco_samplers.model import DiScoFormerConfig
        >>> network = Network(DiScoFormerConfig(layers=1, width=8, heads=2))
        >>> NetworkEstimator(network, torch.randn(20, 2)).log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        network: Network,
        samples: Tensor,
        counts: Tensor | None = None,
        keys: int | None = None,
        *,
        group: Any = None,
        progress: bool = False,
    ) -> None:
        self._network, self.samples, self.counts, self.keys, self._group = network, samples, counts, keys, group
        if group is not None:
            check_same(samples, "samples", group)
        x = samples if samples.ndim == 3 else samples[None]
        worth = counts if counts is None or counts.ndim == 2 else counts[None]
        # What is encoded may later be part of what is differentiated: no tensor of it may come from inference mode.
        with torch.inference_mode(False), torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(x, worth, clusters=network.embed_even is not None)
            white, self._encoding = self._encoded(progress=progress)
            self._reach = Reach.of(white.double(), worth)
            self._step = Step.of(self._decoded, white.double()) if self.whitening.rank == 1 else None

    def _encoded(self, *, progress: bool = False) -> tuple[Tensor, Encoding]:
        """The samples in whitened coordinates (b, n, r), and as the network's queries see them."""
        x = self.samples if self.samples.ndim == 3 else self.samples[None]
        worth = self.counts if self.counts is None or self.counts.ndim == 2 else self.counts[None]
        precision = next(self._network.parameters()).dtype
        white = self.whitening(x)[..., : self.whitening.rank].to(precision)
        frame = Frame(*(value.to(precision) for value in Frame.of(self.whitening.frame)))
        return white, self._network.encode(white, worth, self.keys, frame, group=self._group, progress=progress)

    def __getstate__(self) -> dict[str, Any]:
        if self._group is not None:
            raise TypeError("an estimate whose keys lie in several processes can be neither copied nor pickled")
        # Keys and values outweigh the rows by far, and are made anew.
        return {name: value for name, value in vars(self).items() if name != "_encoding"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        with torch.inference_mode(False), torch.no_grad(), full_precision(self.samples.device):
            self._encoding = self._encoded()[1]

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._reach.continued(z, self._asked)

    def _asked(self, z: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = self._decoded(z)
        return (log_prob, score) if self._step is None else self._step.removed(z, log_prob, score)

    def _decoded(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self._group is not None:
            check_same(z, "points", self._group)
        log_prob, score = self._network.decode(self._encoding, z.to(next(self._network.parameters()).dtype))
        return log_prob.to(z.dtype), score.to(z.dtype)

    def with_network(self, network: Network) -> NetworkEstimator:
        device = device_of(network)
        counts = None if self.counts is None else self.counts.to(device)
        return type(self)(network, self.samples.to(device), counts, self.keys, group=self._group)


def read_at_samples(network: Network, samples: Tensor, counts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What :class:`NetworkEstimator` says at its own samples, for the price of encoding them, about half of the whole.

    A sample's token is that of a point which asks there, so one pass through the blocks has it. Not for samples whose
    variance has one direction only, nor for gradients.

    Arguments:
        network: what reads the samples.
        samples: (b, n, d).
        counts: (b, n), how many independent draws a row is worth; one if not given. The answer at a row of none means nothing.

    Returns:
        Log-densities (b, n) and scores (b, n, d).

    Raises:
        ValueError: if the samples vary in one direction only.

    Example:
        >>> from disco_samplers.model import DiScoFormerConfig
        >>> network, x = Network(DiScoFormerConfig(layers=1, width=8, heads=2)), torch.randn(1, 20, 2)
        >>> torch.allclose(read_at_samples(network, x)[1], NetworkEstimator(network, x).score(x), atol=1e-5)
        True
    """
    return _AtSamples(network, samples, counts).log_prob_and_score(samples)


class _AtSamples(Estimator):
    """The estimator that is only asked at its samples."""

    def __init__(self, network: Network, samples: Tensor, counts: Tensor | None) -> None:
        self._network, self.samples, self.counts, self.keys = network, samples, counts, None
        with torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(samples, counts, clusters=network.embed_even is not None)
        if self.whitening.rank == 1:
            raise ValueError("read_at_samples needs samples that vary in two directions or more; ask a NetworkEstimator")

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), full_precision(points.device):
            return self.tile(points)

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        precision = next(self._network.parameters()).dtype
        frame = Frame(*(value.to(precision) for value in Frame.of(self.whitening.frame)))
        white = z.to(precision)
        if self.counts is not None:
            white = torch.where(self.counts[..., None] > 0, white, 0.0)
        log_prob, score = self._network(white, white[:, :0], self.counts, None, frame)
        return log_prob.to(z.dtype), score.to(z.dtype)

    def with_network(self, network: Network) -> _AtSamples:
        return type(self)(network, self.samples, self.counts)
