import pytest
import torch

from disco_samplers.model import attention
from disco_samplers.model.attention import attend


def inputs(rng, m=5, n=9, e=8, dtype=torch.float64, scale=1.0):
    q, k, v = (scale * torch.randn(2, 3, r, e, dtype=dtype, generator=rng) for r in (m, n, n))
    return q, k, v[..., :-1]


def with_one(v):
    return torch.cat([v, torch.ones_like(v[..., :1])], -1)


def explicit(q, k, v):
    logits = q @ k.mT
    return logits.softmax(-1) @ v, logits.logsumexp(-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(("m", "n", "e"), [(5, 9, 8), (1, 1, 8), (70, 300, 24)])
def test_equals_explicit_softmax(rng, dtype, tolerance, scale, m, n, e):
    q, k, v = inputs(rng, m, n, e, dtype, scale)
    out, lse = attend(q, k, with_one(v))
    assert (out.dtype, lse.dtype, lse.shape) == (dtype, dtype, (2, 3, m))
    for got, wanted in zip((out, lse), explicit(*(t.double() for t in (q, k, with_one(v)))), strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=10 * tolerance * scale**2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_gradients_equal_explicit_ones(rng, dtype, tolerance):
    leaves = [t.requires_grad_() for t in inputs(rng, 40, 33, 8, dtype)]
    weights = torch.randn(2, 3, 40, 8, dtype=dtype, generator=rng), torch.randn(2, 3, 40, dtype=dtype, generator=rng)

    def gradients(function):
        answers = function(*leaves[:2], with_one(leaves[2]))
        return torch.autograd.grad(sum((a * w).sum() for a, w in zip(answers, weights, strict=True)), leaves)

    for got, wanted in zip(gradients(attend), gradients(explicit), strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=10 * tolerance)


def test_gradient_of_the_log_normaliser_is_the_mean_key(rng):
    q, k, v = inputs(rng)
    q.requires_grad_()
    (got,) = torch.autograd.grad(attend(q, k, with_one(v))[1].sum(), q)
    torch.testing.assert_close(got, (q @ k.mT).softmax(-1) @ k)


def test_first_and_second_derivatives(rng):
    leaves = [t[:1, :2].clone().requires_grad_() for t in inputs(rng, 2, 3, 4)]

    def function(q, k, v):
        out, lse = attend(q, k, with_one(v))
        return out[..., :-1], lse

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("tile", [1, 7, 40, 1000])
def test_tiles_of_queries_do_not_matter(rng, monkeypatch, tile):
    leaves = [t.requires_grad_() for t in inputs(rng, 40, 33, 8)]

    def answers():
        out, lse = attend(*leaves[:2], with_one(leaves[2]))
        loss = out.square().sum() + lse.square().sum()
        # create_graph takes the tiled backward pass.
        return out, lse, *torch.autograd.grad(loss, leaves, create_graph=True)

    whole = answers()
    monkeypatch.setattr(attention, "_QUERY_TILE", tile)
    monkeypatch.setattr(attention, "_fused", lambda q: "tiled")
    for got, wanted in zip(answers(), whole, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


def test_a_large_negative_logit_masks_a_key(rng):
    q, k, v = inputs(rng, dtype=torch.float32)
    q[..., -1], k[..., -1] = 1.0, 0.0
    k[:, :, 5:, -1] = -1e30
    for got, wanted in zip(attend(q, k, with_one(v)), attend(q, k[:, :, :5], with_one(v)[:, :, :5]), strict=True):
        torch.testing.assert_close(got, wanted)
