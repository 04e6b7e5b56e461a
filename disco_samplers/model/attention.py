r"""Fused softmax attention that also returns its log-normaliser, differentiably.

The log-normaliser is what turns an attention head into a kernel density estimate, so it must have a gradient, and
no (m, n) matrix may be held. The fused kernels compute it in the forward pass but their backward pass ignores it.
With a constant 1 as the last value channel it can be had from the same kernel: the logits' gradient is

.. math:: \partial L / \partial s_{ij} = p_{ij} (g_i \cdot v_j - g_i \cdot o_i + \lambda_i),

where :math:`g` is the gradient of the output :math:`o` and :math:`\lambda` the log-normaliser's. Writing
:math:`\lambda_i` into the constant channel of :math:`g` and 0 into that channel of :math:`o` gives exactly this.
"""

from __future__ import annotations

import torch
from torch import Tensor

_aten = torch.ops.aten
_QUERY_TILE = 1024
_MOST_BLOCKS = 65_535
"""Sets of a batch that a CUDA kernel takes at a time."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Softmax attention with its log-normaliser, never materialising the (m, n) matrix in the forward pass.

    .. math:: o_i = \sum_j p_{ij} v_j, \quad p_{ij} = e^{q_i \cdot k_j - l_i}, \quad l_i = \log \sum_j e^{q_i \cdot k_j}

    Differentiable any number of times; derivatives beyond the first hold one tile's matrix at a time in memory.

    Arguments:
        q: queries, (b, h, m, e), already scaled.
        k: keys, (b, h, n, e).
        v: values, (b, h, n, e); the last channel must be 1 everywhere.

    Returns:
        The output (b, h, m, e) and the log-normaliser (b, h, m).

    Example:
        >>> q, k, v = torch.zeros(1, 1, 3, 8), torch.zeros(1, 1, 5, 8), torch.ones(1, 1, 5, 8)
        >>> attend(q, k, v)[1].exp().round()
        tensor([[[5., 5., 5.]]])
    """
    if q.device.type == "cuda":
        if len(q) > _MOST_BLOCKS:
            parts = [attend(*part) for part in zip(*(t.split(_MOST_BLOCKS) for t in (q, k, v)), strict=True)]
            return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])
    else:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out, lse = _Attend.apply(q, k, v)
    return out, lse


def _fused(q: Tensor) -> str:
    if q.device.type == "cpu":
        return "cpu"
    # The CUDA kernel takes float32 with 16-byte rows; anything else goes through the tiled loop.
    if q.device.type == "cuda" and q.dtype == torch.float32 and q.shape[-1] % 4 == 0:
        return "cuda"
    return "tiled"


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        kind = _fused(q)
        rng: tuple[Tensor, ...] = ()
        if kind == "cpu":
            out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=1.0)
        elif kind == "cuda":
            out, lse, *state = _aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=1.0)
            rng = tuple(state)
        else:
            tiles = [_tile_forward(tile, k, v) for tile in q.split(_QUERY_TILE, dim=2)]
            out, lse = torch.cat([o for o, _ in tiles], 2), torch.cat([s for _, s in tiles], 2)
        ctx.save_for_backward(q, k, v, out, lse, *rng)
        # The CUDA kernel pads the log-normaliser to a multiple of 32 queries and wants it back so.
        return out, lse[..., : q.shape[2]]

    @staticmethod
    def backward(ctx, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[no-untyped-def]
        q, k, v, out, lse, *rng = ctx.saved_tensors
        kind = _fused(q)
        if torch.is_grad_enabled() or kind == "tiled":  # create_graph=True: the fused kernels have no second derivative
            return _tiled_backward(q, k, v, grad_out, grad_lse)
        constant = torch.zeros_like(out[..., :1])
        out = torch.cat([out[..., :-1], constant], -1)
        grad = torch.cat([grad_out[..., :-1], grad_lse[..., None]], -1)
        if kind == "cpu":
            dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad, q, k, v, out, lse, 0.0, False, scale=1.0
            )
        else:
            dq, dk, dv, _ = _aten._scaled_dot_product_efficient_attention_backward(
                grad, q, k, v, None, out, lse, *rng, 0.0, [True, True, True, False], False, scale=1.0
            )
        return dq, dk, torch.cat([dv[..., :-1], torch.zeros_like(dv[..., :1])], -1)


def _tile_forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    logits = q @ k.mT
    lse = logits.logsumexp(-1)
    return (logits - lse[..., None]).exp() @ v, lse


def _tiled_backward(q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = [], torch.zeros_like(k), torch.zeros_like(v)
    for start in range(0, q.shape[2], _QUERY_TILE):
        tile = slice(start, start + _QUERY_TILE)
        qt, gt = q[:, :, tile], grad_out[:, :, tile]
        p = (qt @ k.mT).softmax(-1)
        dp = gt @ v.mT
        ds = p * (dp - (dp * p).sum(-1, keepdim=True) + grad_lse[:, :, tile, None])
        dq.append(ds @ k)
        dk = dk + ds.mT @ qt
        dv = dv + p.mT @ gt
    return torch.cat(dq, 2), dk, dv
