"""Training: the stream of targets, the loss and the trainer."""

from disco_samplers.training import distributed
from disco_samplers.training.config import TrainingConfig, load_config
from disco_samplers.training.denoising import denoising_loss, train_denoiser
from disco_samplers.training.families import FAMILIES
from disco_samplers.training.loss import Losses, consistency_loss, training_loss
from disco_samplers.training.noised import NoisedBatch, NoisedConfig, noised_batch
from disco_samplers.training.stream import Batch, Stream, StreamConfig, make_batch
from disco_samplers.training.trainer import CHECKPOINT, Trainer

__all__ = [
    "CHECKPOINT",
    "FAMILIES",
    "Batch",
    "Losses",
    "NoisedBatch",
    "NoisedConfig",
    "Stream",
    "StreamConfig",
    "Trainer",
    "TrainingConfig",
    "consistency_loss",
    "denoising_loss",
    "distributed",
    "load_config",
    "make_batch",
    "noised_batch",
    "train_denoiser",
    "training_loss",
]
