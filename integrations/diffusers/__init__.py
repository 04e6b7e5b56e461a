"""Diffusion models out of a data set: score model, pipeline, scheduler, hook and likelihood for diffusers."""

from disco_samplers.extras import optional

optional("diffusers", "diffusers")  # says how to install it where it is missing

from .basis import LinearBasis  # noqa: E402
from .conventions import conventions_of  # noqa: E402
from .guidance import DiscoGuidance  # noqa: E402
from .guidance_record import GuidanceRecord  # noqa: E402
from .handover import DiscoHandover  # noqa: E402
from .langevin_scheduler import DiscoLangevinScheduler  # noqa: E402
from .likelihood import probability_flow_log_prob  # noqa: E402
from .local_data import LocalData, Near  # noqa: E402
from .measurement import Measurement  # noqa: E402
from .memorisation import MemorisationReport, memorisation  # noqa: E402
from .noised_data import NoisedData  # noqa: E402
from .pipeline import DiscoPipeline, DiscoPipelineOutput  # noqa: E402
from .scheduler_check import SchedulerCheck, check_scheduler  # noqa: E402
from .score_model import DiscoScoreModel  # noqa: E402

__all__ = [
    "DiscoGuidance",
    "DiscoHandover",
    "DiscoLangevinScheduler",
    "DiscoPipeline",
    "DiscoPipelineOutput",
    "DiscoScoreModel",
    "GuidanceRecord",
    "LinearBasis",
    "LocalData",
    "Measurement",
    "MemorisationReport",
    "Near",
    "NoisedData",
    "SchedulerCheck",
    "check_scheduler",
    "conventions_of",
    "memorisation",
    "probability_flow_log_prob",
]
