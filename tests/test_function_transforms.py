"""An estimate under what PyTorch does to functions: tracing, compiling, exporting and the transforms of ``torch.func``."""

import io

import pytest
import torch
from conftest import perturbed
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from disco_samplers.model import Encoding


@pytest.fixture
def estimate(model, rng):
    return model.condition(torch.randn(60, 2, generator=rng).exp()).to(dtype=torch.float64)


@pytest.fixture
def shallow(rng):
    """One layer: compiling takes seconds for each."""
    model = perturbed("axes")
    model.network.blocks = model.network.blocks[:1]
    return model.condition(torch.randn(60, 2, generator=rng).exp())


@pytest.fixture
def y(rng):
    return torch.randn(5, 2, generator=rng, dtype=torch.float64).exp()


class Answers(torch.nn.Module):
    def __init__(self, estimate):
        super().__init__()
        self.estimate = estimate

    def forward(self, y):
        return self.estimate.log_prob_and_score(y)


class Decoder(torch.nn.Module):
    def __init__(self, estimate):
        super().__init__()
        self.network, self.encoding = estimate.model.network, estimate.estimator._encoding

    def forward(self, y):
        return self.network.decode(Encoding(*self.encoding), y)


def gradient(function, y):
    y = y.clone().requires_grad_()
    log_prob, score = function(y)
    return torch.autograd.grad(log_prob.sum() + score.square().sum(), y)[0]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced(estimate, y):
    traced, more = torch.jit.trace(estimate.log_prob_and_score, (y,)), torch.cat([y, y + 1])
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    for function in (traced, torch.jit.load(file)):
        torch.testing.assert_close(function(more), estimate.log_prob_and_score(more))
        for _ in range(3):  # TorchScript writes its own derivatives in the third
            torch.testing.assert_close(gradient(function, y), gradient(estimate.log_prob_and_score, y))


@pytest.mark.slow
@pytest.mark.parametrize("what", [Answers, Decoder])
def test_compiled(shallow, y, what, monkeypatch):
    # Compiling switches the validation of all distributions off, for good: the other tests want it back.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", torch.distributions.Distribution._validate_args)
    function, y = what(shallow), y.float()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    y = y if what is Answers else y[None]
    torch.testing.assert_close(compiled(y), function(y))
    torch.testing.assert_close(gradient(compiled, y), gradient(function, y))


@pytest.mark.slow
@pytest.mark.parametrize("what", [Answers, Decoder])
def test_exported(shallow, y, what):
    function, y = what(shallow), y.float()
    y = y if what is Answers else y[None]
    rows = torch.export.Dim("rows", min=2, max=8192)
    exported = torch.export.export(function, (y,), dynamic_shapes=({y.ndim - 2: rows},)).module()
    more = torch.cat([y, y + 1], -2)
    torch.testing.assert_close(exported(more), function(more))


def test_mapped(estimate, y):
    each = vmap(lambda point: estimate.log_prob_and_score(point[None]))(y)
    log_prob, score = estimate.log_prob_and_score(y)
    torch.testing.assert_close(each, (log_prob[:, None], score[:, None]))
    with pytest.raises(ValueError, match="points holds NaN"):
        vmap(lambda point: estimate.score(point[None]))(y.clone().fill_(torch.nan))


@pytest.mark.parametrize("which", ["density", "score"])
def test_differentiated(estimate, y, which):
    def log_prob(point):
        return estimate.log_prob(point[None], gradient=which)[0]

    leaf = y.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(estimate.log_prob(leaf, gradient=which).sum(), leaf)
    torch.testing.assert_close(vmap(grad(log_prob))(y), wanted)
    torch.testing.assert_close(grad(lambda points: vmap(log_prob)(points).sum())(y), wanted)
    torch.testing.assert_close(torch.stack([jacfwd(log_prob)(point) for point in y]), wanted)
    along = jvp(lambda points: estimate.log_prob(points, gradient=which), (y,), (torch.ones_like(y),))[1]
    torch.testing.assert_close(along, wanted.sum(-1))
    with forward_ad.dual_level():
        dual = estimate.log_prob(forward_ad.make_dual(y, torch.ones_like(y)), gradient=which)
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, wanted.sum(-1))


def test_differentiated_twice(estimate, y):
    def density(point):
        return estimate.log_prob(point[None])[0]

    def score(point):
        return estimate.score(point[None])[0]

    wanted = torch.autograd.functional.hessian(density, y[0])
    for second in (hessian, lambda f: jacrev(jacrev(f))):
        torch.testing.assert_close(second(density)(y[0]), wanted)
    wanted = torch.autograd.functional.jacobian(score, y[0])
    torch.testing.assert_close(jacrev(score)(y[0]), wanted)
    torch.testing.assert_close(jacfwd(score)(y[0]), wanted)
    for second in (hessian, lambda f: jacrev(jacrev(f))):
        got = second(lambda point: estimate.log_prob(point[None], gradient="score")[0])(y[0])
        torch.testing.assert_close(got, wanted)
