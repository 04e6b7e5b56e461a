"""The estimator of samples whose columns are independent: one of each column."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import ndtri

from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.model import Network, Whitening


class IndependentEstimator(Estimator):
    r"""A density that is the product of its columns' densities, each estimated on its own.

    .. math:: \log f(x) = \sum_k \log f_k(x_k), \qquad s_k(x) = \frac{d}{dx_k} \log f_k(x_k)

    An estimate in one dimension is far better than one in d. :func:`~disco_samplers.estimators.choose` takes it where held-out
    rows are likelier so.

    Arguments:
        network: what reads the columns.
        samples: (n, d), without constant columns.
        keys: as of :class:`NetworkEstimator`.
        counts: (n,), as of :class:`NetworkEstimator`.

    Raises:
        ValueError: if samples are of a batch.

    Example:
        >>> from disco_samplers.estimators import shipped_network
        >>> x = torch.rand(300, 2, generator=torch.Generator().manual_seed(0))
        >>> estimator = IndependentEstimator(shipped_network("axes"), x)
        >>> moved = x + torch.tensor([0.0, 0.1])  # the second column tells nothing of the first one's score
        >>> torch.allclose(estimator.score(moved)[:, 0], estimator.score(x)[:, 0], atol=1e-4)
        True
    """

    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def __init__(self, network: Network, samples: Tensor, keys: int | None = None, counts: Tensor | None = None) -> None:
        check_single(samples, "reading columns as independent")
        self._network, self.samples, self.keys, self.counts = network, samples, keys, counts
        each_worth = None if counts is None else counts.expand(samples.shape[1], -1)
        self._columns = NetworkEstimator(network, samples.mT[..., None], each_worth, keys)
        each, d = self._columns.whitening, samples.shape[-1]
        self.whitening = Whitening(
            each.center.view(1, 1, d),
            torch.diag_embed(each.matrix.view(1, d)),
            each.log_det.sum()[None],
            d,
            torch.eye(d, dtype=each.matrix.dtype, device=samples.device)[None],
        )

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = self._columns.white(z[0].mT[..., None])
        return log_prob.sum(0)[None], score[..., 0].mT[None]

    def with_network(self, network: Network) -> IndependentEstimator:
        device = device_of(network)
        counts = None if self.counts is None else self.counts.to(device)
        return IndependentEstimator(network, self.samples.to(device), self.keys, counts)


def may_be_independent(samples: Tensor, level: float = 0.02, *, counts: Tensor | None = None) -> bool:
    r"""Whether the columns of samples (n, d) show no dependence of two of them in order or in spread.

    With :math:`r` the columns' mid-ranks between -1 and 1, and h and g either :math:`r` or :math:`r^2`, each of
    :math:`\sqrt n \operatorname{corr}(h(r_j), g(r_k))`, j < k, is standard normal where columns are independent; none may
    exceed the bound that the largest of them exceeds with a probability of at most ``level``. Where rows are worth ``counts``
    (n,) independent draws, ranks, correlations and n are theirs.

    References:
        Spearman, *The proof and measurement of association between two things*, 1904, for r; Bonferroni's bound.

    Example:
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> circle = x / x.norm(dim=1, keepdim=True)  # not correlated, and yet each column tells the size of the other
        >>> may_be_independent(x), may_be_independent(circle)
        (True, False)
    """
    n, d = samples.shape
    share = samples.new_full((n,), 1 / n, dtype=torch.float64) if counts is None else (counts / counts.sum()).double()
    ranks = torch.stack([midranks(column, share) for column in samples.unbind(1)], 1)
    features = torch.stack([ranks, ranks.square()])
    features = features - torch.einsum("anj,n->aj", features, share)[:, None]
    features = features * share[:, None].sqrt()
    features = features / features.square().sum(1, keepdim=True).sqrt()
    worth = n if counts is None else float(counts.sum())
    z = worth**0.5 * torch.einsum("anj,bnk->abjk", features, features).abs()
    pairs = torch.triu(z, 1)
    return float(pairs.max()) < -float(ndtri(z.new_tensor(level / (4 * d * (d - 1)))))


def midranks(column: Tensor, share: Tensor) -> Tensor:
    """For each value (n,) the share of all weight below it, less that above.

    Example:
        >>> midranks(torch.tensor([3.0, 1.0, 3.0, 7.0]), torch.full((4,), 0.25))
        tensor([ 0.0000, -0.7500,  0.0000,  0.7500])
    """
    values, own = column.unique(return_inverse=True)
    weight = share.new_zeros(len(values)).index_add_(0, own, share)
    return (2 * weight.cumsum(0) - weight - 1)[own]
