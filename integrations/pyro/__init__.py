"""Pyro: draws as a distribution, particles as a guide, Langevin as an MCMC kernel."""

from disco_samplers.extras import optional

optional("pyro", "pyro")  # says how to install it where it is missing

from .autoguide import AutoDiSco  # noqa: E402
from .kernel import LangevinKernel  # noqa: E402
from .model_density import ModelDensity  # noqa: E402
from .sample_distribution import SampleDistribution  # noqa: E402

__all__ = ["AutoDiSco", "LangevinKernel", "ModelDensity", "SampleDistribution"]
