"""The kernel score estimators against exact scores, dense linear algebra and the reference rates."""

import pytest
import torch

from disco_samplers.reference import SSGE, GaussianMixture, NuMethod


def mixture(n, d=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    means = torch.tensor([[-2.0], [2.0]], dtype=torch.float64).expand(2, d)
    target = GaussianMixture(torch.ones(2, dtype=torch.float64), means, torch.full((2, d), 0.7, dtype=torch.float64))
    return target, target.draw(n, g), target.draw(400, g)


def error(estimator, target, y):
    true = target.score(y)
    return float((estimator.score(y) - true).square().sum() / true.square().sum())


@pytest.mark.parametrize("kind", [SSGE, NuMethod])
def test_learns_the_score_of_a_mixture_and_improves_with_n(kind):
    # One draw of each size; the errors differ by a factor of three, far beyond what another draw changes.
    few, many = (error(kind(x), target, y) for target, x, y in (mixture(100), mixture(1500)))
    assert many < 0.15
    assert many < 0.7 * few


@pytest.mark.parametrize("kind", [SSGE, NuMethod])
def test_equivariant_to_translation_rotation_and_scale(kind):
    _, x, y = mixture(150)
    rotation = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    moved = kind(3 * x @ rotation + 5).score(3 * y @ rotation + 5)
    torch.testing.assert_close(3 * moved, kind(x).score(y) @ rotation, atol=1e-6, rtol=1e-6)


def test_spectral_coefficients_solve_steins_identity():
    # For each eigenfunction that is kept the mean of s psi over the samples is minus the mean of psi's gradient.
    _, x, _ = mixture(40)
    estimator = SSGE(x, 1.5, share=0.9999)
    x = x.clone().requires_grad_()
    gram = (torch.cdist(x, x.detach()).square() / (-2 * 1.5**2)).exp()
    values, vectors = torch.linalg.eigh(gram.detach())
    for j in (-1, -2, -5):
        psi = gram @ vectors[:, j]
        (gradient,) = torch.autograd.grad(psi.sum(), x, retain_graph=True)
        left = (estimator.score(x.detach()) * psi.detach()[:, None]).mean(0)
        torch.testing.assert_close(left, -gradient.mean(0), atol=1e-7, rtol=1e-5)
    assert float(values[-5]) > 1e-3


def test_many_iterations_solve_the_integral_equation():
    _, x, _ = mixture(60)
    gram = (torch.cdist(x, x).square() / (-2 * 1.5**2)).exp()
    zeta = (x * gram.mean(1, keepdim=True) - gram @ x / len(x)) / 1.5**2
    residuals = []
    for iterations in (1, 10, 100, 1000):
        s = NuMethod(x, 1.5, iterations=iterations).score(x)
        residuals.append(float((gram @ s / len(x) + zeta).norm() / zeta.norm()))
    assert residuals[0] > residuals[1] > residuals[2] > residuals[3]
    assert residuals[3] < 1e-3


def test_bad_input():
    x = torch.zeros(10, 2)
    with pytest.raises(ValueError, match="more than half of the samples are duplicates"):
        SSGE(x)
    with pytest.raises(ValueError, match="bandwidth must be positive, got -1"):
        NuMethod(torch.randn(10, 2, generator=torch.Generator().manual_seed(0)), -1)
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        SSGE(torch.eye(3), share=1.0)
    with pytest.raises(ValueError, match="n >= 2"):
        SSGE(torch.zeros(1, 2))
