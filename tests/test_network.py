import math

import pytest
import torch
from conftest import perturbed

import disco_samplers.estimate
import disco_samplers.model.network
from disco_samplers.model import Frame, log_standard_normal
from disco_samplers.reference import KDE

# Odd samples are what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::disco_samplers.draws.DrawsWarning")

DIMENSIONS = [1, 2, 7, 30]


def points(rng, n, d, dtype=torch.float32):
    x = torch.randn(n, d, dtype=dtype, generator=rng)
    return x + 1.5 * torch.sign(x[:, :1])


def assert_close(a, b, tolerance):
    error = float((a - b).abs().max() / b.abs().max().clamp_min(1.0))
    assert error <= tolerance, f"relative error {error:.2g}"


def answers(model, x, y):
    return model.condition(x).log_prob_and_score(y)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_order_of_the_context_does_not_matter(model, rng, d):
    x, y = points(rng, 64 * d + 40, d), points(rng, 20, d)
    for got, wanted in zip(answers(model, x[torch.randperm(len(x), generator=rng)], y), answers(model, x, y), strict=True):
        assert_close(got, wanted, 1e-4)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_queries_do_not_see_each_other(model, rng, d):
    estimate = model.condition(points(rng, 64 * d + 40, d))
    y = points(rng, 50, d)
    order = torch.randperm(50, generator=rng)
    together = estimate.log_prob_and_score(y)
    for got, all_of_it in zip(estimate.log_prob_and_score(y[3:4]), together, strict=True):
        assert_close(got, all_of_it[3:4], 1e-4)
    for got, all_of_it in zip(estimate.log_prob_and_score(y[order]), together, strict=True):
        assert_close(got, all_of_it[order], 1e-4)


def maps(symmetry, d, rng):
    """Affine maps that the model must commute with: matrix and shift."""
    eye = torch.eye(d).double()
    shift = 3 * torch.randn(d, dtype=torch.float64, generator=rng)
    scale = torch.exp(torch.randn(d, dtype=torch.float64, generator=rng))
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=rng))[0]
    if symmetry == "rotations":
        # Condition number at most 4 whatever d.
        general = rotation @ torch.diag(torch.linspace(0.5, 2, d, dtype=torch.float64))
        general = general @ torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=rng))[0]
        last = {"rotation": (rotation, 0 * shift), "affine": (general, shift)}
    else:
        signed = eye[torch.randperm(d, generator=rng)] * torch.sign(shift)[:, None]
        last = {"signed permutation": (signed, shift)}
    return {"translation": (eye, shift), "scaling": (torch.diag(scale), 0 * shift), **last}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("d", [1, 2, 7, pytest.param(30, marks=pytest.mark.slow)])
def test_affine_equivariance(symmetry, rng, d, dtype, tolerance):
    model = perturbed(symmetry).to(dtype)
    x, y = points(rng, 64 * d + 40, d, torch.float64), points(rng, 20, d, torch.float64)
    log_prob, score = answers(model, x, y)
    for matrix, shift in maps(symmetry, d, rng).values():
        moved = answers(model, x @ matrix.T + shift, y @ matrix.T + shift)
        assert_close(moved[0] + torch.linalg.slogdet(matrix)[1], log_prob, tolerance)
        assert_close(moved[1] @ matrix, score, tolerance)


def test_axes_model_is_not_rotation_equivariant(rng):
    # Otherwise the channels that see the axes would do nothing.
    model = perturbed("axes").double()
    x, y = points(rng, 100, 2, torch.float64), points(rng, 20, 2, torch.float64)
    matrix = maps("rotations", 2, rng)["rotation"][0]
    gap = answers(model, x @ matrix.T, y @ matrix.T)[0] - answers(model, x, y)[0]
    assert gap.abs().max() > 1e-6


def test_axes_network_contains_the_rotations_one(rng):
    """With kernels as wide along every column and the per-column networks silent, whatever the frame."""
    network, wider = perturbed("rotations").double().network, perturbed("axes").double().network
    missing, unexpected = wider.load_state_dict(network.state_dict(), strict=False)
    assert missing
    assert not unexpected
    for block in wider.blocks:
        for parameter in (block.attention.narrower_gain, block.axes.merge.weight, *block.axes.to_scalars.parameters()):
            parameter.zero_()
    x, y = points(rng, 60, 3, torch.float64)[None], points(rng, 25, 3, torch.float64)[None]
    frame = Frame.of(torch.randn(1, 3, 3, dtype=torch.float64, generator=rng))
    answers_of_both = wider.decode(wider.encode(x, frame=frame), y), network.decode(network.encode(x), y)
    for got, wanted in zip(*answers_of_both, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_kernels_narrower_along_every_column(rng, correlation):
    """A head that narrows its kernel by the same e along all columns is a KDE of precision beta (I + e B B^T), in any frame."""
    network = perturbed("axes").double().network
    attention = network.blocks[0].attention
    attention.matched = correlation > 0
    head, beta = 1, 2.0
    for linear in (attention.query, attention.key_value, attention.query_vector, attention.key_value_vector):
        for parameter in linear.parameters():
            parameter.zero_()
    for parameter in (attention.tilt_gain, attention.bandwidth.weight, attention.bandwidth.bias, attention.ladder):
        parameter.zero_()
    attention.ladder[head, 0] = math.log(beta)
    attention.narrower.weight.zero_()
    attention.narrower.bias.copy_(torch.linspace(-1, 1, attention.heads).double())
    x, y = points(rng, 60, 3, torch.float64), points(rng, 25, 3, torch.float64)
    sizes = torch.tensor([[[math.log(60.0), math.log(3.0)]]], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=rng))[0]
    columns = torch.full((3, 3), correlation, dtype=torch.float64).fill_diagonal_(1.0)
    matrix = turn @ torch.linalg.cholesky(columns).T  # B with B^T B the columns' correlation
    frame = Frame.of(matrix[None])
    context, queries = network.embed(x[None], sizes, frame), network.embed(y[None], sizes, frame)
    _, kernels = attention(queries, attention.keys_values(context, None))
    extra = attention.narrower_gain[head] ** 2 * (4 * torch.tanh(attention.narrower.bias[head] / 4)).exp()
    precision = beta * (torch.eye(3, dtype=torch.float64) + extra * matrix @ matrix.T)
    root = torch.linalg.cholesky(precision)
    log_density, score = KDE(x @ root, 1.0).log_prob_and_score(y @ root)
    log_prob = kernels.log_ratio[0, :, head] + log_standard_normal(y.square().sum(-1), 3)
    torch.testing.assert_close(log_prob, log_density + 0.5 * precision.logdet(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(kernels.score[0, :, :, head], score @ root.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("bandwidth", [0.3, 1.5])
def test_kernel_density_estimate_is_a_special_case(symmetry, rng, d, bandwidth):
    network = perturbed(symmetry).double().network
    head = 2
    for block in network.blocks:
        attention = block.attention
        # No content, no vector features, no tilt: a logit is -|y - x|^2 / (2 h^2).
        for linear in (attention.query, attention.key_value, attention.query_vector, attention.key_value_vector):
            linear.weight.zero_()
            if linear.bias is not None:
                linear.bias.zero_()
        attention.tilt_gain.zero_()
        attention.bandwidth.weight.zero_()
        attention.bandwidth.bias.zero_()
        attention.ladder.zero_()
        if symmetry == "axes":
            attention.narrower_gain.zero_()
        attention.ladder[head, 0] = -2 * math.log(bandwidth)
    network.heads.output.weight.zero_()
    network.heads.output.bias.zero_()
    network.heads.output.bias[head] = 1e4
    x, y = points(rng, 60, d, torch.float64), 2 * points(rng, 25, d, torch.float64)
    log_prob, score = network.decode(network.encode(x[None]), y[None])
    kde = KDE(x, bandwidth)
    torch.testing.assert_close(log_prob[0], kde.log_prob(y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(score[0], kde.score(y), rtol=1e-9, atol=1e-9)


def test_without_weight_on_any_head_it_is_the_gaussian(symmetry, rng):
    network = perturbed(symmetry).double().network
    network.heads.output.weight.zero_()
    network.heads.output.bias.zero_()
    network.heads.output.bias[network.blocks[0].attention.heads] = 1e4
    x, y = points(rng, 60, 3, torch.float64)[None], points(rng, 25, 3, torch.float64)[None]
    log_prob, score = network.decode(network.encode(x), y)
    torch.testing.assert_close(log_prob, log_standard_normal(y.square().sum(-1), 3))
    torch.testing.assert_close(score, -y)


@pytest.mark.parametrize("d", [1, 3])
def test_every_parameter_gets_a_gradient(model, rng, d):
    network = model.requires_grad_(True).network
    log_prob, score = network(points(rng, 50, d)[None], points(rng, 20, d)[None])
    (log_prob.square().mean() + score.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", DIMENSIONS)
def test_scores_confine_far_out(symmetry, rng, d, dtype):
    # Beyond 8 sqrt(d) the free vector terms are tapered off with the fourth power of the radius.
    network = perturbed(symmetry).to(dtype).network
    encoding = network.encode(points(rng, 64 * d + 40, d, dtype)[None])
    u = torch.randn(1, 50, d, dtype=dtype, generator=rng)
    u = u / u.norm(dim=-1, keepdim=True)
    before = torch.tensor(0.0)
    for radius in (100.0, 1e3, 1e4, 1e6):
        y = radius * math.sqrt(d) * u
        log_prob, score = network.decode(encoding, y)
        assert torch.isfinite(log_prob).all()
        assert torch.isfinite(score).all()
        assert ((y * score).sum(-1) < 0).all()
        assert log_prob.max() < before
        before = log_prob.min()


@pytest.mark.parametrize("tile", [1, 7, 64])
def test_tiles_do_not_matter(model, rng, monkeypatch, tile):
    x, y = points(rng, 50, 3), points(rng, 33, 3)
    whole = answers(model, x, y)
    monkeypatch.setattr(disco_samplers.model.network, "TILE", tile)
    monkeypatch.setattr(disco_samplers.estimators.base, "TILE", tile)
    for got, wanted in zip(answers(model, x, y), whole, strict=True):
        assert_close(got, wanted, 1e-4)


def test_tiles_keep_the_mask(model, rng, monkeypatch):
    x, y = torch.stack([points(rng, 40, 2) for _ in range(3)]), torch.stack([points(rng, 9, 2) for _ in range(3)])
    mask = torch.rand(3, 40, generator=rng) < 0.7
    whole = model.condition(x, mask=mask).log_prob_and_score(y)
    monkeypatch.setattr(disco_samplers.model.network, "TILE", 7)
    monkeypatch.setattr(disco_samplers.estimators.base, "TILE", 7)
    for got, wanted in zip(model.condition(x, mask=mask).log_prob_and_score(y), whole, strict=True):
        assert_close(got, wanted, 1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_forward_equals_encode_and_decode(model, rng, masked):
    network = model.network
    x, y = torch.stack([points(rng, 40, 3) for _ in range(2)]), torch.stack([points(rng, 9, 3) for _ in range(2)])
    mask = torch.rand(2, 40, generator=rng) < 0.7 if masked else None
    both = network(x, y, mask)
    encoding = network.encode(x, mask)
    for got, context, queries in zip(both, network.decode(encoding, x), network.decode(encoding, y), strict=True):
        rows = slice(None) if mask is None else mask
        assert_close(got[:, :40][rows], context[rows], 1e-4)
        assert_close(got[:, 40:], queries, 1e-4)


@pytest.mark.parametrize("d", [1, 4])
def test_batch_equals_loop(model, rng, d):
    x, y = torch.stack([(i + 1) * points(rng, 60, d) + i for i in range(3)]), 3 * torch.stack([points(rng, 9, d)] * 3)
    log_prob, score = answers(model, x, y)
    assert (log_prob.shape, score.shape) == ((3, 9), (3, 9, d))
    for i in range(3):
        alone = answers(model, x[i], y[i])
        assert_close(log_prob[i], alone[0], 1e-4)
        assert_close(score[i], alone[1], 1e-4)


@pytest.mark.parametrize("padding", [0.0, 1e3, 1e30])
@pytest.mark.parametrize("d", [1, 4])
def test_mask_equals_subset(model, rng, d, padding):
    x, y = torch.stack([points(rng, 60, d) for _ in range(3)]), torch.stack([points(rng, 9, d)] * 3)
    mask = torch.zeros(3, 60, dtype=torch.bool)
    for i, n in enumerate((60, 40, 5)):
        mask[i, torch.randperm(60, generator=rng)[:n]] = True
    kept = x.clone()
    x[~mask] = padding
    log_prob, score = model.condition(x, mask=mask).log_prob_and_score(y)
    for i in range(3):
        alone = answers(model, kept[i][mask[i]], y[i])
        assert_close(log_prob[i], alone[0], 1e-4)
        assert_close(score[i], alone[1], 1e-4)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (3, 30), (500, 1), (50, 100)])
@pytest.mark.parametrize("far", [0.0, 1.0, 30.0])
def test_any_size_gives_finite_answers(model, rng, n, d, far):
    log_prob, score = answers(model, points(rng, n, d), far * points(rng, 5, d))
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(score).all()


def test_duplicates_and_heavy_tails_give_finite_answers(model, rng):
    x = points(rng, 50, 2)
    for context in (x[:5].repeat(20, 1), torch.cat([x, torch.tensor([[1e6, -1e6]])]), torch.tan(1.57 * x.tanh())):
        log_prob, score = answers(model, context, context)
        assert torch.isfinite(log_prob).all()
        assert torch.isfinite(score).all()


def test_heads_are_at_rest_before_training(symmetry, rng):
    # The gradient of the loss at the start reaches the heads' last layer, which starts at zero.
    from disco_samplers import DiScoFormer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = perturbed(symmetry).config
        network = DiScoFormer(config).network
    assert not network.heads.output.weight.any()
    x, y = points(rng, 500, 2)[None], torch.zeros(1, 1, 2)
    log_prob, _ = network.decode(network.encode(x), y)
    # A mixture of kernel estimates of a density whose maximum is about 1 / (2 pi).
    assert -8 < float(log_prob.detach()) < 0
