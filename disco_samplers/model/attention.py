r"""Fused softmax attention that also returns its log-normaliser, differentiably.

The log-normaliser is what turns an attention head into a kernel density estimate, so it must have a gradient, and
no (m, n) matrix may be held. The fused kernels compute it in the forward pass but their backward pass ignores it.
With a constant 1 as the last value channel it can be had from the same kernel: the logits' gradient is

.. math:: \partial L / \partial s_{ij} = p_{ij} (g_i \cdot v_j - g_i \cdot o_i + \lambda_i),

where :math:`g` is the gradient of the output :math:`o` and :math:`\lambda` the log-normaliser's. Writing
:math:`\lambda_i` into the constant channel of :math:`g` and 0 into that channel of :math:`o` gives exactly this.

PyTorch's fused kernels are private operators: where one is missing or is called otherwise, and where there is none for the
device and precision, a loop over tiles of queries does their work. Outside, attention is one operator,
``disco_samplers::attend``, which is what tracing and compiling see.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from disco_samplers.modes import forward_mode, recorded, transformed

Attention: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_aten = torch.ops.aten
_QUERY_TILE = 1024
_MOST_BLOCKS = 65_535
"""Sets of a batch that a CUDA kernel takes at a time."""

_KERNELS = {
    "cpu": {
        "_scaled_dot_product_flash_attention_for_cpu": "query key value dropout_p is_causal",
        "_scaled_dot_product_flash_attention_for_cpu_backward": "grad_out query key value out logsumexp dropout_p is_causal",
    },
    "cuda": {
        "_scaled_dot_product_efficient_attention": "query key value attn_bias compute_log_sumexp dropout_p is_causal",
        "_scaled_dot_product_efficient_attention_backward": "grad_out_ query key value attn_bias out logsumexp philox_seed "
        "philox_offset dropout_p grad_input_mask is_causal",
    },
}
"""PyTorch's private operators, forward and backward, with the arguments they are given here by position."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Softmax attention with its log-normaliser, never materialising the (m, n) matrix in the forward pass.

    .. math:: o_i = \sum_j p_{ij} v_j, \quad p_{ij} = e^{q_i \cdot k_j - l_i}, \quad l_i = \log \sum_j e^{q_i \cdot k_j}

    Differentiable any number of times, in reverse and forward mode; all but first derivatives in reverse mode go tile by tile,
    without the fused kernels.

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
    # The operator would lose the tangents of forward mode, and has no gradient in torch.func, compiled or not.
    if forward_mode() or (recorded() and transformed()):
        return _tiled(q, k, v)
    if q.device.type == "cuda":
        if len(q) > _MOST_BLOCKS:
            parts = [attend(*part) for part in zip(*(t.split(_MOST_BLOCKS) for t in (q, k, v)), strict=True)]
            return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])
    else:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    if not recorded() and not transformed():
        out, lse = _Eager.apply(q, k, v)
        return out, lse
    out, lse = _operator(q, k, v) if recorded() else _Mapped.apply(q, k, v)
    return out, _unpadded(lse, q)


def _has(name: str, arguments: str) -> bool:
    """Whether this PyTorch has a private operator that takes these arguments by position."""
    schema = getattr(getattr(getattr(_aten, name, None), "default", None), "_schema", None)
    return schema is not None and [a.name for a in schema.arguments if not a.kwarg_only] == arguments.split()


_FUSED = [device for device, kernels in _KERNELS.items() if all(_has(*kernel) for kernel in kernels.items())]


def _fused(q: Tensor) -> str:
    device = q.device.type
    # The CUDA kernel takes float32 with 16-byte rows; anything else goes through the tiled loop.
    fits = device != "cuda" or (q.dtype == torch.float32 and q.shape[-1] % 4 == 0)
    return device if device in _FUSED and fits else "tiled"


def _forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    kind = _fused(q)
    if kind == "cpu":
        out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=1.0)
    elif kind == "cuda":
        out, lse, *_ = _aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=1.0)
    else:
        out, lse = _tiled(q, k, v)
    return out, lse


def _backward(
    grad_out: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    kind = _fused(q)
    if kind == "tiled":
        return _tiled_backward(grad_out, grad_lse, q, k, v)
    out = torch.cat([out[..., :-1], torch.zeros_like(out[..., :1])], -1)
    grad = torch.cat([grad_out[..., :-1], grad_lse[..., None]], -1)
    if kind == "cpu":
        dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(grad, q, k, v, out, lse, 0.0, False, scale=1.0)
    else:
        rng = q.new_empty((), dtype=torch.int64)  # not looked at without dropout
        dq, dk, dv, _ = _aten._scaled_dot_product_efficient_attention_backward(
            grad, q, k, v, None, out, lse, rng, rng, 0.0, [True, True, True, False], False, scale=1.0
        )
    return dq, dk, torch.cat([dv[..., :-1], torch.zeros_like(dv[..., :1])], -1)


def _tiled(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    tiles = [_tile_forward(tile, k, v) for tile in q.split(_QUERY_TILE, dim=2)]
    return torch.cat([out for out, _ in tiles], 2), torch.cat([lse for _, lse in tiles], 2)


def _tile_forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(q.device.type, enabled=False):  # which fused kernels do not see either
        logits = q @ k.mT
        lse = logits.logsumexp(-1)
        return (logits - lse[..., None]).exp() @ v, lse


def _tiled_backward(grad_out: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def _unpadded(lse: Tensor, q: Tensor) -> Tensor:
    """The CUDA kernel pads the log-normaliser to a multiple of 32 queries and wants it back so."""
    return lse.narrow(2, 0, q.shape[2])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, out, lse = ctx.saved_tensors
    grad_lse = _unpadded(grad_lse, q)
    # With create_graph=True, say, or in torch.func: the fused kernels have no second derivative and no rules for transforms.
    if torch.is_grad_enabled() or forward_mode() or transformed():
        return _tiled_backward(grad_out, grad_lse, q, k, v)
    return _backward(grad_out, grad_lse, q, k, v, out, lse)


def _map(function: Attention, info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> Any:
    """The rule of ``torch.func.vmap``: more queries where the keys are the same, a larger batch otherwise."""
    size, (q, k, v) = info.batch_size, tensors
    if in_dims[0] is not None and in_dims[1:] == (None, None):
        q, dim = q.movedim(in_dims[0], 2).flatten(2, 3).contiguous(), 2
    else:
        every = zip(tensors, in_dims, strict=True)
        stacks = (t.expand(size, *t.shape) if d is None else t.movedim(d, 0) for t, d in every)
        (q, k, v), dim = (stack.flatten(0, 1).contiguous() for stack in stacks), 0
    out, lse = function(q, k, v)
    return (out.unflatten(dim, (size, -1)), _unpadded(lse, q).unflatten(dim, (size, -1))), (dim, dim)


class _Eager(torch.autograd.Function):
    """The operator without the detours of the dispatcher, which take as long as a small attention itself."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        out, lse = _forward(q, k, v)
        _save(ctx, (q, k, v), (out, lse))
        return out, _unpadded(lse, q)

    backward = staticmethod(_differentiate)


class _Mapped(torch.autograd.Function):
    """The operator as ``torch.func`` wants it."""

    forward = staticmethod(_forward)
    setup_context = staticmethod(_save)
    backward = staticmethod(_differentiate)
    vmap = staticmethod(partial(_map, attend))


_operator = torch.library.custom_op("disco_samplers::attend", _forward, mutates_args=())
_operator.register_autograd(_differentiate, setup_context=_save)
_operator.register_vmap(partial(_map, _operator))


@_operator.register_fake
def _fake(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    out, lse = _tile_forward(q, k, v) if _fused(q) == "tiled" else _forward(q, k, v)
    # PyTorch before 2.10 takes the log-normaliser of doubles for single precision here.
    return out, lse.to(torch.promote_types(lse.dtype, q.dtype))
