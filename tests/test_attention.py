import pytest
import torch
from torch.func import grad, jacrev, jvp, vmap

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

    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True)
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


@pytest.fixture(params=["fused", "tiled"])
def kernel(request, monkeypatch):
    """With PyTorch's private operators and as if they were missing."""
    if request.param == "tiled":
        monkeypatch.setattr(attention, "_FUSED", [])


def test_private_operators_are_looked_for():
    assert attention._FUSED == ["cpu", "cuda"]
    assert not attention._has("_scaled_dot_product_attention_of_another_day", "query key value")
    assert not attention._has("_scaled_dot_product_flash_attention_for_cpu", "query key value is_causal dropout_p")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_private_operators(rng, monkeypatch, dtype):
    leaves = [t.requires_grad_() for t in inputs(rng, 40, 33, 8, dtype)]

    def answers():
        out, lse = attend(*leaves[:2], with_one(leaves[2]))
        return out, lse, *torch.autograd.grad(out.square().sum() + lse.square().sum(), leaves)

    fused = answers()
    monkeypatch.setattr(attention, "_FUSED", [])
    monkeypatch.setattr(attention, "_aten", None)
    monkeypatch.setattr(attention, "_QUERY_TILE", 16)
    with torch.autocast("cpu", torch.bfloat16):
        out, lse = attend(*(t.detach() for t in leaves[:2]), with_one(leaves[2].detach()))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for got, wanted in zip((*answers(), out, lse), (*fused, *fused[:2]), strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_an_operator(rng, dtype):
    q, k, v = (t.requires_grad_() for t in inputs(rng, dtype=dtype))
    torch.library.opcheck(torch.ops.disco_samplers.attend.default, (q, k, with_one(v).detach()))
    got = torch.ops.disco_samplers.attend(q, k, with_one(v))
    torch.testing.assert_close(got, attend(q, k, with_one(v)))
    weights = torch.randn(got[0].shape, dtype=dtype, generator=rng)
    gradients = [
        torch.autograd.grad((out * weights).sum() + lse.sum(), (q, k, v)) for out, lse in (got, attend(q, k, with_one(v)))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dims", [(0, None, None), (3, None, None), (None, 1, 1), (2, 0, 4), (0, 0, None)])
@pytest.mark.parametrize("function", [attend, torch.ops.disco_samplers.attend])
def test_mapped(rng, dims, function):
    stacks = [torch.stack([t + i for i in range(3)], d or 0) for t, d in zip(inputs(rng), dims, strict=True)]
    stacks[2] = with_one(stacks[2]) if dims[2] != 4 else torch.cat([stacks[2], torch.ones_like(stacks[2][..., :1, :])], 3)
    tensors = [t if d is not None else t[0] for t, d in zip(stacks, dims, strict=True)]
    got = vmap(function, dims)(*tensors)
    for i in range(3):
        each = (t if d is None else t.select(d, i) for t, d in zip(tensors, dims, strict=True))
        torch.testing.assert_close(tuple(t[i] for t in got), attend(*each))


@pytest.mark.usefixtures("kernel")
def test_transforms_of_functions(rng):
    q, k, v = inputs(rng)
    v = with_one(v)

    def loss(function):
        return lambda q, k: sum(answer.sin().sum() for answer in function(q, k, v))

    along = tuple(torch.randn(t.shape, dtype=t.dtype, generator=rng) for t in (q, k))
    for transform in (
        lambda f: grad(f, (0, 1))(q, k),
        lambda f: jvp(f, (q, k), along),
        lambda f: jacrev(grad(f))(q, k),
        lambda f: jvp(grad(f, (0, 1)), (q, k), along),
        lambda f: vmap(grad(f), (0, None))(torch.stack([q, q + 1]), k),
    ):
        got, wanted = ([*torch.utils._pytree.tree_leaves(transform(loss(f)))] for f in (attend, explicit))
        torch.testing.assert_close(got, wanted)
    leaf = q.clone().requires_grad_()
    many = torch.autograd.grad(attend(leaf, k, v)[1].sum((0, 1)), leaf, torch.eye(5).double(), is_grads_batched=True)
    torch.testing.assert_close(many[0].sum(0), grad(lambda q: explicit(q, k, v)[1].sum())(q))


def test_a_large_negative_logit_masks_a_key(rng):
    q, k, v = inputs(rng, dtype=torch.float32)
    q[..., -1], k[..., -1] = 1.0, 0.0
    k[:, :, 5:, -1] = -1e30
    for got, wanted in zip(attend(q, k, with_one(v)), attend(q, k[:, :, :5], with_one(v)[:, :, :5]), strict=True):
        torch.testing.assert_close(got, wanted)
