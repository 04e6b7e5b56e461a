"""The forward and backward pass of a batch."""

from __future__ import annotations

import torch

from disco_samplers.model import Network
from disco_samplers.training import distributed
from disco_samplers.training.config import TrainingConfig
from disco_samplers.training.graphs import Graphs, Work
from disco_samplers.training.loss import Losses, consistency_loss, training_loss
from disco_samplers.training.precision import training_precision
from disco_samplers.training.stream import Batch

_CONSISTENT_DIM, _CONSISTENT_ROWS, _CONSISTENT_QUERIES, _CONSISTENT_EVERY = 3, 1024, 64, 3


def work_of(network: Network, config: TrainingConfig, device: torch.device) -> Work:
    """What adds a batch's gradients to those there are: recorded where one GPU is given batches on a grid of shapes."""
    if device.type == "cuda" and not distributed.is_used() and config.stream.grid:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return Graphs(FinitePasses(network, config, device), device)
    return Passes(network, config, device)


def is_consistent(batch: Batch, config: TrainingConfig, step: int) -> bool:
    """Whether the two heads are held together on this batch, in this step."""
    n, d = batch.context.shape[1:]
    wanted = bool(config.consistency) and step % _CONSISTENT_EVERY == 0
    return wanted and d <= _CONSISTENT_DIM and n <= _CONSISTENT_ROWS


class Passes:
    """Forward and backward passes of a network: called with a batch it adds to the gradients, and returns the losses.

    Arguments:
        network: what is trained; under ``torchrun`` its gradients are averaged.
        config: how.
        device: where.
    """

    def __init__(self, network: Network, config: TrainingConfig, device: torch.device) -> None:
        self._network, self._config, self._device = network, config, device
        self._wrapped = distributed.wrap(network)

    def __call__(self, batch: Batch, consistent: bool) -> Losses:
        losses = self.losses(batch.to(self._device), consistent)
        (losses.total / self._config.accumulate).backward()
        return losses

    def losses(self, batch: Batch, consistent: bool = False) -> Losses:
        """The forward pass."""
        keys = self._config.stream.keys
        with training_precision(self._device):
            log_prob, score = self._wrapped(batch.context, batch.query, batch.counts, keys, batch.frame)
        answered = log_prob.shape[1]
        losses = training_loss(
            log_prob.float(),
            score.float(),
            batch.log_prob[:, -answered:],
            batch.score[:, -answered:],
            context=answered - batch.query.shape[1],
            far=batch.far,
        )
        if not consistent:
            return losses
        queries = batch.query[:, : batch.query.shape[1] - batch.far][:, -_CONSISTENT_QUERIES:]
        gap = consistency_loss(self._network, batch.context, queries, keys, batch.frame, batch.counts)
        return losses._replace(total=losses.total + self._config.consistency * gap)


class FinitePasses(Passes):
    """The same, with zero for what is not finite of the gradients: to ask would make a GPU wait."""

    def __call__(self, batch: Batch, consistent: bool) -> Losses:
        losses = super().__call__(batch, consistent)
        for parameter in self._network.parameters():
            assert parameter.grad is not None
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        return losses
