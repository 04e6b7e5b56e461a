r"""Attention to keys and values that lie in several processes, each of which holds some of them.

With the outputs :math:`o^r` and log-normalisers :math:`l^r` of the processes' shares of the keys, those of all keys are

.. math:: l = \log \sum_r e^{l^r}, \qquad o = \sum_r e^{l^r - l} o^r,

exactly. Every process asks the same queries in the same turn, and gets the same answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from disco_samplers.model.attention import attend


def attend_together(q: Tensor, k: Tensor, v: Tensor, group: Any) -> tuple[Tensor, Tensor]:
    """As :func:`attend`, of the keys and values of all processes of a group.

    References:
        Milakov, Gimelshein, *Online normalizer calculation for softmax* (https://arxiv.org/abs/1805.02867), for the merging;
        Liu, Zaharia, Abbeel, *Ring attention with blockwise transformers* (https://arxiv.org/abs/2310.01889), for contexts
        longer than one device holds.
    """
    if torch.is_grad_enabled() and q.requires_grad:
        raise ValueError(
            "gradients do not pass through a context in several processes: score() is the gradient, and needs none"
        )
    if k.shape[2]:
        out, lse = attend(q, k, v)
    else:
        out, lse = q.new_zeros(*q.shape[:-1], v.shape[-1]), q.new_full(q.shape[:-1], -torch.inf)
    # Processes exchange memory, which must be in one order in all of them.
    top = lse.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
    # The last channel of the values is 1 everywhere: there stands the sum of the weights.
    out = (out * (lse - top).exp()[..., None]).contiguous()
    out[..., -1] = (lse - top).exp()
    dist.all_reduce(out, dist.ReduceOp.SUM, group=group)
    total = out[..., -1:].clone()
    return out / total, top + total[..., 0].log()


def share(count: int, group: Any) -> slice:
    """Which of so many things this process takes, an equal share but for one."""
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    return slice(count * rank // size, count * (rank + 1) // size)


def check_same(values: Tensor, what: str, group: Any) -> None:
    """Raises ValueError in every process if they did not all give the same."""
    exact = values.detach().double()
    told = torch.stack([exact.new_tensor(float(exact.numel())), exact.sum(), exact.square().sum()])
    low, high = told.clone(), told.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN, group=group)
    dist.all_reduce(high, dist.ReduceOp.MAX, group=group)
    if not torch.equal(low, high):
        raise ValueError(f"{what} must be the same in all processes of the group")
