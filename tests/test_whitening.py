import math

import pytest
import torch

from disco_samplers.model.ridges import ridged
from disco_samplers.model.whitening import NULL_SCALE, log_standard_normal, whiten


def samples(rng, b=2, n=200, d=3):
    mix = torch.randn(b, d, d, dtype=torch.float64, generator=rng)
    return torch.randn(b, n, d, dtype=torch.float64, generator=rng) @ mix + 5


def moments(white):
    centred = white - white.mean(1, keepdim=True)
    return white.mean(1), centred.mT @ centred / white.shape[1]


def assert_white(white, tolerance=1e-9):
    mean, covariance = moments(white)
    assert mean.abs().max() < tolerance
    torch.testing.assert_close(covariance, torch.eye(white.shape[-1]).double().expand_as(covariance), rtol=0, atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_mean_zero_and_identity_covariance(rng, d):
    x = samples(rng, n=64 * d + 40, d=d)
    whitening = whiten(x)
    assert whitening.rank == d
    assert_white(whitening(x))


@pytest.mark.parametrize("d", [1, 2, 7])
def test_log_det_is_that_of_the_matrix(rng, d):
    whitening = whiten(samples(rng, n=64 * d + 40, d=d))
    torch.testing.assert_close(whitening.log_det, torch.linalg.slogdet(whitening.matrix)[1])


def test_float32_samples_are_whitened_in_float64(rng):
    x = (samples(rng) + 1e5).float()
    whitening = whiten(x)
    assert whitening.matrix.dtype == torch.float64
    assert_white(whitening(x))


def test_axes_stay_where_they_are(rng):
    x = torch.randn(1, 4000, 3, dtype=torch.float64, generator=rng) * torch.tensor([1e-3, 1.0, 1e3])
    matrix = whiten(x).matrix[0]
    scaled = matrix * x[0].std(0, correction=0)[:, None]
    # Correlations of 4,000 independent draws are of the size of 1 / sqrt(4000) = .016.
    torch.testing.assert_close(scaled, torch.eye(3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize("constant", [False, True])
def test_frame_takes_whitened_coordinates_to_standardised_columns(rng, constant):
    x = samples(rng)
    if constant:
        x[..., 1] = 7.0
    whitening = whiten(x)
    centred = x - x.mean(1, keepdim=True)
    scale = centred.square().mean(1, keepdim=True).sqrt()
    standardised = centred / torch.where(scale > 0, scale, 1.0)
    found = whitening(x)[..., : whitening.rank] @ whitening.frame
    torch.testing.assert_close(found, standardised, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scales", [(1e-8, 1.0, 1e8), (1e150, 1e-150, 1.0), (1e200, 1e200, 1e200), (1e-30, 1e-30, 1e-30)])
def test_badly_scaled_columns(rng, scales):
    x = samples(rng)
    whitening = whiten(x * torch.tensor(scales, dtype=torch.float64))
    assert whitening.rank == 3
    assert_white(whitening(x * torch.tensor(scales, dtype=torch.float64)))
    expected = whiten(x).log_det - sum(math.log(s) for s in scales)
    torch.testing.assert_close(whitening.log_det, expected)


@pytest.mark.parametrize("n", [2, 3, 10, 20])
def test_few_samples_are_shrunk_towards_the_identity(rng, n):
    d = 10
    x = samples(rng, b=1, n=n, d=d)
    whitening = whiten(x)
    assert whitening.rank == d
    assert torch.isfinite(whitening.matrix).all()
    # White draws of the same law would have unit variance: shrinkage keeps theirs within a factor of about n / d.
    white = whitening(x)
    assert white.abs().max() < 10 * math.sqrt(d)
    torch.testing.assert_close(whitening.log_det, torch.linalg.slogdet(whitening.matrix)[1])
    # Translation and scaling of the columns change nothing.
    scale, shift = torch.logspace(-3, 3, d, dtype=torch.float64), torch.arange(d).double()
    torch.testing.assert_close(whiten(x * scale + shift)(x * scale + shift), white, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("n", [12, 60, 300, 511, 512, 700])
def test_shrinkage_is_the_stated_formula(rng, n):
    d = 8
    x = samples(rng, b=1, n=n, d=d)
    c = torch.corrcoef(x[0].T)
    z = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
    own = float(ridged(z, torch.ones(1, n), c[None]))
    assert own == 0 if n < 2 * d else own > 0.9
    rho = max(0.0, 0.6 * (1 - n / (64 * d)))
    squares = float(c.square().sum())
    normal = ((1 - 2 / d) * squares + d**2) / ((n + 1 - 2 / d) * (squares - d))  # the weight of OAS
    rho += own * min(0.0, normal - rho)
    values, vectors = torch.linalg.eigh(c)
    size = values / (1 - math.sqrt(d / n)) ** 2 / 0.1
    ridge = size ** (1 - own) * (values / (1 - d / n) * (1 + size**2)) ** own
    shrunk = (vectors * torch.minimum((1 - rho) * values + rho, ridge)) @ vectors.T
    deviation = x[0].std(0, correction=0)
    covariance = deviation[:, None] * shrunk * deviation
    matrix = whiten(x).matrix[0]
    torch.testing.assert_close(matrix.T @ covariance @ matrix, torch.eye(d).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [60, 300, 1000])
def test_a_ridge_is_not_blurred(rng, n):
    d = 20
    x = torch.randn(1, n, d, dtype=torch.float64, generator=rng)
    x[..., 1] = x[..., 0] + 1e-3 * x[..., 1]
    across = whiten(x)(torch.eye(d).double()[None, :2])
    # Two columns that differ by 1e-3 N(0, 1) are two whitened standard deviations apart for every 1e-3; with n = 60 the
    # standard deviation across is known to 11 %.
    assert 0.6 < (across[0, 0] - across[0, 1]).norm() * 1e-3 / 2 < 1.4


@pytest.mark.parametrize("kind", ["constant", "dependent"])
def test_shrinkage_gives_no_variance_where_there_is_none(rng, kind):
    x = samples(rng, b=1, n=20)
    x[..., 1] = 7.0 if kind == "constant" else x[..., 0] - 2 * x[..., 2]
    whitening = whiten(x)
    assert whitening.rank == 2
    assert whitening(x)[..., 2:].abs().max() < 1e-9 / NULL_SCALE


@pytest.mark.parametrize("kind", ["constant", "dependent"])
def test_directions_of_no_variance_come_last(rng, kind):
    x = samples(rng)
    x[..., 1] = 7.0 if kind == "constant" else x[..., 0] - 2 * x[..., 2]
    whitening = whiten(x)
    assert whitening.rank == 2
    white = whitening(x)
    assert_white(white[..., :2], 1e-6)
    # Rounding in a direction of no variance is blown up by 1 / NULL_SCALE, no more.
    assert white[..., 2:].abs().max() < 1e-9 / NULL_SCALE
    assert torch.isfinite(whitening.log_det).all()
    torch.testing.assert_close(whitening.log_det, torch.linalg.slogdet(whitening.matrix)[1])


def test_few_rows_with_a_column_twice(rng):
    """Rounding leaves an eigenvalue of half of such correlations below zero: fifty of them at once."""
    x = samples(rng, b=50, n=20, d=5)
    x[..., 4] = x[..., 0]
    whitening = whiten(x, clusters=True)
    assert whitening.rank == 4
    assert torch.isfinite(whitening(x)).all()


def test_rank_does_not_depend_on_units(rng):
    x = samples(rng)
    x[..., 1] = x[..., 0] - 2 * x[..., 2]
    assert whiten(x * torch.tensor([1e-8, 1.0, 1e8])).rank == 2


def test_no_variance_at_all_is_refused():
    with pytest.raises(ValueError, match="no variance"):
        whiten(torch.full((1, 5, 2), 3.3))
    with pytest.raises(ValueError, match="no variance"):
        whiten(torch.stack([torch.randn(5, 2), torch.zeros(5, 2)]))


def test_spreads_too_small_to_invert_are_none(rng):
    x = samples(rng)
    with pytest.raises(ValueError, match="no variance"):
        whiten(1e-310 * x)
    whitening = whiten(x * torch.tensor([1.0, 1e-310, 1.0], dtype=torch.float64))
    assert whitening.rank == 2
    assert torch.isfinite(whitening.matrix).all()


def test_sets_of_different_rank_are_refused(rng):
    x = samples(rng)
    x[1, :, 0] = 0.0
    with pytest.raises(ValueError, match=r"differ in rank \(set 1"):
        whiten(x)


@pytest.mark.parametrize("n", [40, 5])
def test_mask_equals_the_subset(rng, n):
    x = samples(rng, b=1, n=60)
    mask = torch.zeros(1, 60, dtype=torch.bool)
    mask[0, torch.randperm(60, generator=rng)[:n]] = True
    masked, subset = whiten(x, mask), whiten(x[mask][None])
    for a, b in zip(masked[:3], subset[:3], strict=True):
        torch.testing.assert_close(a, b)
    assert masked.rank == subset.rank


def test_moves_and_normal():
    whitening = whiten(torch.tensor([[[0.0, 1.0], [2.0, 1.5], [1.0, 4.0], [3.0, 3.0], [3.0, 9.0]]]))
    assert whitening.to("meta").matrix.device.type == "meta"
    assert whitening.to("meta").rank == whitening.rank
    normal = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    y = torch.tensor([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(log_standard_normal(y.square().sum(-1), 3), normal.log_prob(y))
