import math
import subprocess
import sys
import unittest
from functools import cache

import pytest
import torch
from conftest import perturbed

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE, Gaussian, GaussianMixture, Laplace, ReferenceDensity, StudentT, StudentTMixture
from disco_samplers.testing import DensityConformance, assert_mean_close, assert_same_distribution


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


COVARIANCE = tensor([2.0, 0.6, 0.1], [0.6, 0.5, 0.2], [0.1, 0.2, 1.0])


def context(n, d, seed=0):
    x = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x + 1.5 * torch.sign(x[:, :1])


@cache
def trained(columns):
    return DiScoFormer.from_pretrained().double().condition(context(150, columns))


class TestGaussian(DensityConformance):
    def make(self):
        return Gaussian(tensor(1.0, -2.0, 100.0), COVARIANCE)


class TestDiagonalMixture(DensityConformance):
    def make(self):
        return GaussianMixture(tensor(1.0, 3.0), tensor([-2.0, 0.0], [1.0, 1.0]), tensor([1.0, 0.2], [0.5, 2.0]))


class TestFullMixture(DensityConformance):
    def make(self):
        means = tensor([-2.0, 0.0, 1.0], [1.0, 1.0, 0.0])
        return GaussianMixture(tensor(0.3, 0.7), means, torch.stack([COVARIANCE, 0.5 * COVARIANCE]))


class TestStudentT(DensityConformance):
    def make(self):
        return StudentT(tensor(1.0, 2.0), COVARIANCE[:2, :2], 3.0)


class TestCauchy(DensityConformance):
    def make(self):
        return StudentT(tensor(1.0), tensor(4.0), 1.0)


class TestStudentTMixture(DensityConformance):
    def make(self):
        return StudentTMixture(tensor(1.0, 2.0), tensor([-2.0], [3.0]), tensor([1.0], [0.5]), tensor(2.5, 7.0))


class TestLaplace(DensityConformance):
    def make(self):
        return Laplace(tensor(0.5, -1.0), tensor(1.0, 3.0))


class TestScottKDE(DensityConformance):
    def make(self):
        return KDE(context(60, 1), "scott")


class TestLeaveOneOutKDE(DensityConformance):
    def make(self):
        return KDE(context(60, 2), "loo")


class TestGivenKDE(DensityConformance):
    def make(self):
        return KDE(context(60, 3), 0.7)


class TestWhitenedKDE(DensityConformance):
    def make(self):
        return KDE(context(60, 2) @ COVARIANCE[:2, :2], "scott", whiten=True)


class EstimateConformance(DensityConformance):
    """An estimate draws by a Markov chain: its samples say at no cost where it is."""

    exact_gradient = False
    sampling_bias = 0.1
    grid_points = 80  # its kernels are wide beside a cell

    def location(self, f):
        low, middle, high = f.samples.quantile(tensor(0.159, 0.5, 0.841), 0)
        return middle, (high - low) / 2


class TestEstimate(EstimateConformance):
    """The two heads of an untrained model hardly agree, and draws are 30 steps away from the context's rows."""

    gradient_tolerance = 1.0
    num_draws = 1500
    normalised = False
    symmetry = "rotations"

    def make(self):
        return perturbed(self.symmetry, seed=3).double().condition(context(80, 2))


class TestAxesEstimate(TestEstimate):
    symmetry = "axes"


class TestTrainedEstimate(EstimateConformance):
    """What the shipped weights are held to, on 150 samples of two modes in the plane."""

    gradient_tolerance = 0.1
    mass_tolerance = 0.1
    num_draws = 1000
    columns = 2

    def make(self):
        return trained(self.columns)


class TestTrainedEstimateOnALine(TestTrainedEstimate):
    """The same on the line, with the same tolerances."""

    columns = 1


class Logistic(ReferenceDensity):
    """What a user writes: a density, its draws, and nothing else."""

    dim, dtype, device = 1, torch.float64, torch.device("cpu")

    def evaluate(self, y):
        return -(y + 2 * torch.nn.functional.softplus(-y)).squeeze(-1)

    def draw(self, num_samples, generator):
        return torch.rand(num_samples, 1, dtype=self.dtype, generator=generator).logit()


class TestUsersOwn(DensityConformance):
    def make(self):
        return Logistic()


# The kit itself: a density with one thing wrong fails the test that looks at it.
class WrongSign(Logistic):
    def evaluate_score(self, y):
        return -super().evaluate_score(y)


class TooHeavy(Logistic):
    def evaluate(self, y):
        return super().evaluate(y) + 0.01


class TooNarrow(Logistic):
    def draw(self, num_samples, generator):
        return 0.6 * super().draw(num_samples, generator)


class Double(Logistic):
    def log_prob(self, points):
        return super().log_prob(points).double()


class AlwaysTensor(Logistic):
    def score(self, points):
        return torch.as_tensor(super().score(points))


class Pooled(Logistic):
    def evaluate(self, y):
        return super().evaluate(y - 0.1 * y.mean(-2, keepdim=True)) if len(y) else super().evaluate(y)


class Unchecked(Logistic):
    def _points(self, points):
        return torch.as_tensor(points).to(self.dtype)


class Unseeded(Logistic):
    def draw(self, num_samples, generator):
        return super().draw(num_samples, None)


class Flat(Logistic):
    def evaluate_score(self, y):
        return torch.where(y.abs() > 20, 0.0, super().evaluate_score(y))


class Hollow(Logistic):
    """Falls to a valley far out and rises again behind it."""

    def evaluate(self, y):
        return super().evaluate(y) + 40 * torch.sigmoid(y.squeeze(-1).abs() - 60)


class Column(Logistic):
    def evaluate(self, y):
        return super().evaluate(y)[..., None]


class NoScore:
    dim = 1
    log_prob = sample = Logistic.log_prob


@pytest.mark.parametrize(
    ("wrong", "tests"),
    [
        (WrongSign, ["score_is_the_gradient", "far_out", "draws_agree_with_score"]),
        (TooHeavy, ["integrates_to_one"]),
        (TooNarrow, ["draws_agree_with_log_prob", "draws_agree_with_score"]),
        (Double, ["precision_is_kept"]),
        (AlwaysTensor, ["kind_is_kept"]),
        (Pooled, ["points_do_not_influence_each_other"]),
        (Unchecked, ["wrong_points_are_refused"]),
        (Unseeded, ["sample_is_reproducible"]),
        (Flat, ["far_out"]),
        (Hollow, ["falls_along_rays"]),
        (Column, ["shapes"]),
        (NoScore, ["interface"]),
    ],
)
def test_kit_sees_what_is_wrong(wrong, tests):
    class Kit(DensityConformance):
        def make(self):
            return wrong()

    for name in tests:
        with torch.random.fork_rng(devices=[]), pytest.raises((AssertionError, RuntimeError)):
            getattr(Kit(), f"test_{name}")()


def test_kit_skips_what_does_not_apply():
    kit = TestGaussian()
    with pytest.raises(unittest.SkipTest):
        kit.test_integrates_to_one()
    with pytest.raises(unittest.SkipTest):
        TestEstimate().test_draws_agree_with_score()
    with pytest.raises(NotImplementedError, match="make"):
        DensityConformance().make()


def test_kit_runs_under_unittest():
    class Case(DensityConformance, unittest.TestCase):
        def make(self):
            return Logistic()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.testsRun == sum(name.startswith("test_") for name in dir(DensityConformance))
    assert result.wasSuccessful()


def test_kit_needs_no_test_framework():
    code = "import sys, disco_samplers.testing; assert 'pytest' not in sys.modules; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mean_assertion(rng):
    x = torch.randn(2000, 3, generator=rng)
    # 4.9 standard errors of 1 / sqrt(2000) are allowed at 1e-6 (two-sided, three columns: z = 5.1).
    assert_mean_close(x, 0.0, 1.0)
    assert_mean_close(x + tensor(0.0, 5.0, 0.0), tensor(0.0, 5.0, 0.0))
    assert_mean_close(x.numpy(), 0.0)
    assert_mean_close(x + 0.2, 0.0, ess=100)
    with pytest.raises(AssertionError, match="column 1"):
        assert_mean_close(x + tensor(0.0, 0.2, 0.0), 0.0, 1.0)
    with pytest.raises(AssertionError, match="NaN"):
        assert_mean_close(torch.full((5,), math.nan), 0.0)
    with pytest.raises(ValueError, match="false_alarm"):
        assert_mean_close(x, 0.0, false_alarm=0.0)
    with pytest.raises(ValueError, match="two draws"):
        assert_mean_close(x[:1], 0.0)


def test_false_alarms_of_mean_assertion_are_as_stated(rng):
    # At a stated 10 % over two columns, 400 trials: 40 +- 6 expected, beyond 5.2 standard deviations one time in 5 million.
    alarms = 0
    for x in torch.randn(400, 20, 2, generator=rng):
        try:
            assert_mean_close(x, 0.0, 1.0, false_alarm=0.1)
        except AssertionError:
            alarms += 1
    assert 9 < alarms < 71


def test_distribution_assertion(rng):
    x, y = torch.randn(3000, 2, generator=rng), torch.randn(2000, 2, generator=rng)
    assert_same_distribution(x, y)
    assert_same_distribution(x[:, 0].numpy(), y[:, 1])
    for other in (y + 0.5, 2.0 * y, torch.stack([y[:, 0], y[:, 0]], 1), y * tensor(1e6, 1e-6)):
        with pytest.raises(AssertionError, match="differ along"):
            assert_same_distribution(x, other)
    with pytest.raises(ValueError, match="columns"):
        assert_same_distribution(x, y[:, :1])
    with pytest.raises(ValueError, match="shape"):
        assert_same_distribution(x[None], y)
