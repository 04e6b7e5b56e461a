"""Algorithms, one a file: ``init`` and ``step``, pure functions of states, callables and a generator."""

from disco_samplers.samplers.steps import (
    annealed,
    baoab,
    birth_death,
    exact,
    independence,
    kernel,
    mala,
    malt,
    particle_flow,
    ula,
)
from disco_samplers.samplers.steps.exact import Guided
from disco_samplers.samplers.steps.independence import Proposal
from disco_samplers.samplers.steps.kernel import Info, LogProbAndScore, accept, noise, where
from disco_samplers.samplers.steps.particle_flow import Condition

__all__ = [
    "Condition",
    "Guided",
    "Info",
    "LogProbAndScore",
    "Proposal",
    "accept",
    "annealed",
    "baoab",
    "birth_death",
    "exact",
    "independence",
    "kernel",
    "mala",
    "malt",
    "noise",
    "particle_flow",
    "ula",
    "where",
]
