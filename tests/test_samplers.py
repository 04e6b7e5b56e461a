"""The samplers' front: results, reproducibility, interruption, and what it says to wrong input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from disco_samplers import LangevinSampler
from disco_samplers.convergence import diagnostic
from disco_samplers.reference import Gaussian
from disco_samplers.samplers import summarise

QUIET = {"progress": False}
START = torch.zeros(4, 2)


def log_prob(x):
    return -0.5 * x.square().sum(-1)


def score(x):
    return -x


def sampler(**options):
    known = {} if options.get("method") == "ula" else {"log_prob": log_prob}
    return LangevinSampler(**({"score": score} | known | options))


@pytest.mark.parametrize("method", ["mala", "ula"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result(method, dtype):
    result = sampler(method=method).run(
        30, initial=torch.zeros(3, 2, dtype=dtype), num_warmup=50, thinning=2, seed=0, names=["a", "b"], **QUIET
    )
    assert result.draws.shape == (3, 30, 2)
    assert result.draws.dtype == dtype
    assert result.acceptance.shape == (3,)
    assert result.divergences.shape == (3, 30)
    assert not result.divergences.any()
    assert result.complete
    assert result.method == method
    assert list(result.names) == ["a", "b"]
    assert result.flat.shape == (90, 2)
    assert result.numpy().dtype == np.float64
    assert result.rhat.shape == result.ess.shape == (2,)
    assert (result.acceptance == 1).all() if method == "ula" else (result.acceptance < 1).all()
    assert f"SamplerResult({method}, num_chains=3, num_samples=30, d=2" in repr(result)
    assert str(result.summary()).splitlines()[1].startswith("a ")


@pytest.mark.parametrize("method", ["mala", "ula"])
def test_seeds(method):
    before = torch.random.get_rng_state()

    def draws(**source):
        return sampler(method=method).run(10, initial=START, num_warmup=10, **source, **QUIET).draws

    assert torch.equal(draws(seed=3), draws(seed=3))
    assert torch.equal(draws(seed=3), draws(generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(draws(seed=3), draws(seed=4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(draws(seed=3)[0], draws(seed=3)[1])
    draws()
    assert not torch.equal(before, torch.random.get_rng_state())


def test_thinning_keeps_every_third_step():
    run = sampler().run
    every = run(30, initial=START, num_warmup=10, seed=0, **QUIET)
    third = run(10, initial=START, num_warmup=10, thinning=3, seed=0, **QUIET)
    assert torch.equal(third.draws, every.draws[:, 2::3])
    torch.testing.assert_close(third.acceptance, every.acceptance)


@pytest.mark.parametrize("method", ["mala", "ula"])
def test_fixed_step_size(method):
    result = sampler(method=method).run(5, initial=START, num_warmup=20, step_size=0.0123, seed=0, **QUIET)
    assert result.step_size == 0.0123


@pytest.mark.slow
def test_draws_like_independent_ones():
    """R-hat and ESS of a well-mixed run; iid draws pass the same bounds with probability above .999."""
    result = sampler().run(500, initial=START, num_warmup=300, thinning=10, seed=1, **QUIET)
    iid = torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(0)).numpy()
    for draws in (result.numpy(), iid):
        assert (diagnostic("rhat", draws) < 1.01).all()
        assert (diagnostic("ess_bulk", draws) > 1000).all()
        assert (diagnostic("ess_tail", draws) > 1000).all()
    assert np.allclose(diagnostic("mcse", iid), iid.std((0, 1)) / 2000**0.5, rtol=0.2)


def test_diagnostics_see_what_is_wrong():
    iid = torch.randn(4, 200, 3, generator=torch.Generator().manual_seed(0)).numpy().astype(np.float64)
    iid[0, :, 0] += 3  # one chain elsewhere
    iid[:, :, 1] = iid[:, :, 1].cumsum(1)  # random walks
    iid[:, :, 2] = 5.0  # constant
    rhat, ess = diagnostic("rhat", iid), diagnostic("ess_bulk", iid)
    assert (rhat[:2] > 1.1).all()
    assert (ess[:2] < 50).all()
    assert np.isnan([rhat[2], ess[2]]).all()
    assert " -" in str(summarise(iid, ["a", "b", "constant"])).splitlines()[3]
    assert np.isnan(diagnostic("rhat", iid[:, :3])).all()
    assert "r_hat" not in summarise(iid, ["a", "b", "c"], independent=True).columns


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (4, 1, 2)])
def test_summary_of_few_draws(shape):
    assert len(str(summarise(np.zeros(shape), [f"v{i}" for i in range(shape[2])])).splitlines()) == 1 + shape[2]


def test_divergences_are_counted_and_warned_of():
    def half(x):
        return torch.where(x[:, 0] > 0.5, torch.nan, log_prob(x))

    start = torch.zeros(8, 2)
    with pytest.warns(RuntimeWarning, match=r"\d+ of 800 draws came after a step that diverged"):
        result = sampler(log_prob=half).run(100, initial=start, num_warmup=50, thinning=2, seed=0, **QUIET)
    assert 0 < result.divergences.sum() < 800
    assert (result.draws[..., 0] <= 0.5).all()
    assert f"divergences={int(result.divergences.sum())}" in repr(result)


@pytest.mark.parametrize("method", ["mala", "ula"])
def test_hopeless_scale(method):
    known = {"log_prob": lambda x: 1e30 * log_prob(x)} if method == "mala" else {}
    steep = sampler(score=lambda x: -1e30 * x, method=method, **known)
    with pytest.raises(RuntimeError, match=r"every chain diverged .* rescale the target"):
        steep.run(200, initial=torch.ones(4, 2), num_warmup=0, step_size=0.1, seed=0, **QUIET)


def test_adaptation_finds_the_scale():
    steep = sampler(score=lambda x: -1e8 * x, log_prob=lambda x: 1e8 * log_prob(x))
    result = steep.run(200, initial=1e-4 * torch.ones(4, 2), num_warmup=500, seed=0, **QUIET)
    assert 0.5e-4 < float(result.draws.std()) < 2e-4


@pytest.mark.parametrize(
    ("options", "run", "message"),
    [
        ({"score": lambda x: x * torch.nan}, {}, "score is NaN or infinite at 4 of 4 starting points"),
        ({"log_prob": lambda x: x[:, 0] / 0}, {}, "log_prob is NaN or infinite"),
        ({"score": lambda x: -x[:, 0]}, {}, r"score must return a tensor of shape \(4, 2\)"),
        ({"score": lambda x: -x.numpy()}, {}, "it returned ndarray"),
        ({"log_prob": lambda x: -x}, {}, r"log_prob must return a tensor of shape \(4,\)"),
        ({"log_prob": lambda x: 0.0}, {}, "it returned float"),
        ({}, {"initial": torch.zeros(2)}, r"initial must have shape"),
        ({}, {"initial": torch.zeros(2, 2, 2)}, r"initial must have shape \(num_chains, d\)"),
        ({}, {"initial": torch.zeros(0, 2)}, r"initial must have shape \(num_chains, d\)"),
        ({}, {"initial": torch.tensor([[0.0, torch.nan]])}, "initial holds NaN"),
        ({}, {"context": torch.randn(9, 3)}, "initial must have 3 columns"),
        ({}, {"context": torch.randn(2, 9, 2)}, r"context must have shape \(n, d\)"),
        ({}, {"initial": None}, "starting points are needed"),
        ({}, {"seed": 1, "generator": torch.Generator()}, "seed or generator, not both"),
        ({}, {"seed": -1}, "seed must lie in"),
        ({}, {"names": ["a"]}, "names must have 2 entries"),
        ({}, {"names": ["a", "a"]}, "names a occur more than once"),
        ({}, {"num_samples": 0}, "num_samples must be at least 1"),
        ({}, {"num_chains": 0}, "num_chains must be at least 1"),
        ({}, {"num_warmup": -1}, "num_warmup must be at least 0"),
        ({}, {"thinning": 0}, "thinning must be at least 1"),
        ({}, {"adapt": 8}, "adapt must be True or False"),
        ({}, {"adapt": True}, "adapt needs"),
        ({}, {"step_size": 0.0}, "step_size must be positive"),
        ({}, {"step_size": float("inf")}, "step_size must be positive"),
    ],
)
def test_wrong_run(options, run, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sampler(**options).run(**({"num_samples": 5, "num_warmup": 5, "initial": START} | run | QUIET))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"score": 3}, TypeError, "score must be callable"),
        ({"method": "hmc"}, ValueError, "method must be"),
        ({"log_prob": None, "method": "mala"}, ValueError, "needs a log-density"),
        ({"preconditioner": "full"}, ValueError, "preconditioner must be"),
        ({"target_acceptance": 1.0}, ValueError, "target_acceptance must lie"),
        ({"bias": 0.0}, ValueError, "bias must lie"),
    ],
)
def test_wrong_sampler(options, error, message):
    with pytest.raises(error, match=message):
        sampler(**options)


@pytest.mark.parametrize("initial", [np.array([["a", "b"]]), torch.zeros(1, 2, dtype=torch.complex64)])
def test_initial_of_another_kind(initial):
    with pytest.raises(TypeError, match="initial must hold real numbers"):
        sampler().run(initial=initial)


def interrupting(after):
    """A score that is interrupted at its call number ``after``."""
    calls = 0

    def interrupted(x):
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
        return -x

    return interrupted


def test_interrupted_run_keeps_its_draws():
    # Calls: a check, the start, 10 warm-up steps, 5 draws of 2 steps, half a draw.
    uninterrupted = sampler(method="ula", score=score).run(20, initial=START, num_warmup=10, thinning=2, seed=0, **QUIET)
    cut = LangevinSampler(score=interrupting(2 + 10 + 10 + 2)).run(
        20, initial=START, num_warmup=10, thinning=2, seed=0, **QUIET
    )
    assert not cut.complete
    assert cut.draws.shape == (4, 5, 2)
    assert cut.divergences.shape == (4, 5)
    assert (cut.acceptance == 1).all()
    assert torch.equal(cut.draws, uninterrupted.draws[:, :5])


@pytest.mark.parametrize("after", [1, 2, 5, 13])
def test_interrupted_before_the_first_draw(after):
    with pytest.raises(KeyboardInterrupt):
        LangevinSampler(score=interrupting(after)).run(20, initial=START, num_warmup=10, thinning=2, **QUIET)


@pytest.mark.parametrize("kind", ["dense", "diagonal", "identity"])
def test_context_gives_starting_points_and_scale(kind):
    context = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 1e4] + [0.0, 5e4]
    target = Gaussian(torch.tensor([0.0, 5e4]).double(), torch.tensor([1.0, 1e8]).double())
    result = LangevinSampler(score=target, preconditioner=kind).run(
        1, context=context, num_warmup=0, num_chains=6, seed=0, **QUIET
    )
    assert result.draws.shape == (6, 1, 2)
    assert result.draws.dtype == torch.float64
    assert (result.draws[..., 1] > 5e3).all()


def test_integer_context_and_initial():
    context = np.random.default_rng(0).integers(-3, 4, (50, 2))
    assert sampler().run(5, context=context, num_warmup=5, seed=0, **QUIET).draws.dtype == torch.float64
    assert sampler().run(5, initial=[[0, 1], [1, 0]], num_warmup=5, seed=0, **QUIET).draws.shape == (2, 5, 2)


def test_equal_starting_points_tell_no_scale():
    many = sampler().run(1, initial=torch.zeros(500, 2), num_warmup=0, step_size=0.5, seed=0, **QUIET)
    assert 0.5 < float(many.draws.std()) < 2


def test_model_without_context(disco):
    with pytest.raises(ValueError, match=r"unconditioned model: give the draws to condition on as run\(context=draws\)"):
        LangevinSampler(score=disco).run(5, **QUIET)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_model_and_estimate_are_the_same_sampler(disco, kind):
    x = np.random.default_rng(0).normal(size=(40, 2))  # too few for adapting to try coordinates
    options = {"num_samples": 5, "num_warmup": 5, "num_chains": 2, "seed": 0} | QUIET
    of_model = LangevinSampler(score=disco).run(context=kind(x), **options)
    of_estimate = LangevinSampler(score=disco.condition(kind(x))).run(**options)
    assert of_model.method == "jumps"
    assert torch.equal(of_model.draws, of_estimate.draws)
    adapted = LangevinSampler(score=disco).run(context=kind(x), adapt=True, **options)
    assert adapted.draws.shape == (2, 5, 2)


def test_names_are_checked_before_the_run():
    with pytest.raises(ValueError, match="names must have"):
        LangevinSampler(score=interrupting(1)).run(initial=START, names=["x"], **QUIET)
    with pytest.raises(TypeError, match="names must be a sequence of 2 strings, got the string 'xy'"):
        LangevinSampler(score=interrupting(1)).run(initial=START, names="xy", **QUIET)


def test_to_arviz():
    pytest.importorskip("arviz")
    names = ["mu", "theta[0]", "theta[1]", "theta[2]"]
    result = sampler().run(20, initial=torch.zeros(3, 4), num_warmup=5, seed=0, names=names, **QUIET)
    data = result.to_arviz()
    assert data.posterior.sizes["chain"] == 3
    assert data.posterior.sizes["draw"] == 20
    assert data.posterior["theta"].shape == (3, 20, 3)
    np.testing.assert_array_equal(data.posterior["theta"].values, result.numpy()[..., 1:])
    np.testing.assert_array_equal(data.posterior["mu"].values, result.numpy()[..., 0])
    assert data.sample_stats["diverging"].shape == (3, 20)


def test_no_warnings_and_no_output(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler().run(5, initial=START, num_warmup=5, **QUIET)
    assert capsys.readouterr() == ("", "")
    sampler().run(5, initial=START, num_warmup=5)
    assert "mala" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["ula", "mala", "malt"])
def test_a_score_may_ask_for_gradients_in_place(method):
    def both(x):
        x.requires_grad_()
        log_prob = -0.5 * x.square().sum(-1)
        return log_prob, torch.autograd.grad(log_prob.sum(), x)[0]

    log_prob = {} if method == "ula" else {"log_prob": lambda x: both(x)[0]}
    result = LangevinSampler(score=lambda x: both(x)[1], method=method, **log_prob).run(3, initial=START, num_warmup=2, **QUIET)
    assert not result.draws.requires_grad
