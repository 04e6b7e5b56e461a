"""Diffusion models out of a data set: score model, pipeline, scheduler, hook and likelihood for diffusers."""

from disco_samplers._extras import optional

optional("diffusers", "diffusers")

from disco_samplers.integrations.diffusers.basis import LinearBasis
from disco_samplers.integrations.diffusers.score_model import DiscoScoreModel

__all__ = ["DiscoScoreModel", "LinearBasis"]
