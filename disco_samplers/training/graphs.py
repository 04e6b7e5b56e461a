"""Training steps as CUDA graphs: the thousands of small kernels of a step are launched as one, for each shape of batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.training.loss import Losses
from disco_samplers.training.stream import Batch

Work = Callable[[Batch, bool], Losses]


class _Recorded(NamedTuple):
    batch: Batch  # where a graph reads its input
    graph: torch.cuda.CUDAGraph
    losses: Losses  # where it leaves its answer


class Graphs:
    """Runs ``work(batch, consistent)`` and adds its gradients to those there are; the second time from a recording.

    Gradients must be allocated before the first call and stay where they are. Everything runs on :attr:`stream`: enter it with
    ``torch.cuda.stream`` around the whole training.

    Arguments:
        work: forward and backward pass of a batch, returning its losses.
        device: a CUDA device.
    """

    def __init__(self, work: Work, device: torch.device) -> None:
        self._work, self._device = work, device
        self.stream = torch.cuda.Stream(device)
        self.stream.wait_stream(torch.cuda.current_stream(device))
        self._pool = torch.cuda.graph_pool_handle()
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    def __call__(self, batch: Batch, consistent: bool) -> Losses:
        """The losses of a batch; their tensors are overwritten by the next batch of the same shape."""
        key = (*batch.context.shape, batch.query.shape[1], batch.far, consistent)
        if key not in self._recorded:
            return self._record(key, batch, consistent)
        recorded = self._recorded[key]
        for held, fresh in zip(_tensors(recorded.batch), _tensors(batch), strict=True):
            held.copy_(fresh, non_blocking=True)
        recorded.graph.replay()
        return recorded.losses

    def _record(self, key: tuple[object, ...], batch: Batch, consistent: bool) -> Losses:
        batch = batch.to(self._device)
        # A step as any other, which also loads what a recording must not load.
        losses = Losses(*(value.detach().clone() for value in self._work(batch, consistent)))
        graph = torch.cuda.CUDAGraph()
        # Other threads go on pinning memory meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream, capture_error_mode="thread_local"):
            answer = Losses(*(value.detach() for value in self._work(batch, consistent)))
        self._recorded[key] = _Recorded(batch, graph, answer)
        return losses


def _tensors(batch: Batch) -> Iterator[Tensor]:
    for value in batch:
        if isinstance(value, Tensor):
            yield value
    yield from batch.frame
