"""Public conformance kit and statistical assertions; needs no test framework, works under any."""

from disco_samplers.testing.conformance import DensityConformance
from disco_samplers.testing.statistics import assert_mean_close, assert_same_distribution

__all__ = ["DensityConformance", "assert_mean_close", "assert_same_distribution"]
