"""Diffusion models out of a data set: score model, pipeline, scheduler, hook and likelihood for diffusers."""

from disco_samplers._extras import optional

optional("diffusers", "diffusers")  # says how to install it where it is missing

from disco_samplers.integrations.diffusers.basis import LinearBasis  # noqa: E402
from disco_samplers.integrations.diffusers.guidance import DiscoGuidance  # noqa: E402
from disco_samplers.integrations.diffusers.guidance_record import GuidanceRecord  # noqa: E402
from disco_samplers.integrations.diffusers.langevin_scheduler import DiscoLangevinScheduler  # noqa: E402
from disco_samplers.integrations.diffusers.likelihood import probability_flow_log_prob  # noqa: E402
from disco_samplers.integrations.diffusers.memorisation import MemorisationReport, memorisation  # noqa: E402
from disco_samplers.integrations.diffusers.noised_data import NoisedData  # noqa: E402
from disco_samplers.integrations.diffusers.pipeline import DiscoPipeline, DiscoPipelineOutput  # noqa: E402
from disco_samplers.integrations.diffusers.score_model import DiscoScoreModel  # noqa: E402

__all__ = [
    "DiscoGuidance",
    "DiscoLangevinScheduler",
    "DiscoPipeline",
    "DiscoPipelineOutput",
    "DiscoScoreModel",
    "GuidanceRecord",
    "LinearBasis",
    "MemorisationReport",
    "NoisedData",
    "memorisation",
    "probability_flow_log_prob",
]
