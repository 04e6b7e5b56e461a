"""A trained network's evaluations saved: how good are images if it is asked at low noise only?

A U-Net (benchmarks/image_peers.py) is trained on 1,000 digits of 8 x 8 for some minutes of one core. `DiscoHandover` asks
`DiscoScoreModel.from_data(images, locality="auto")`, which nothing trains, above a noise level, and the U-Net below it. All
draw from the same noise with the same scheduler, DPMSolverMultistep with Karras sigmas in 30 steps; 797 other digits judge, as
in benchmarks/diffusers_images.py. saved: share of the 30 evaluations that the U-Net is not asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers_images import Images
from disco_samplers.integrations.diffusers import DiscoHandover, DiscoScoreModel
from image_judge import Classifier, judge
from image_peers import STEPS, draw, train, unet
from matplotlib.figure import Figure
from report import write

LEVELS = (200.0, 20.0, 8.0, 4.0, 2.0, 1.0, 0.6, 0.3, 0.1, 0.01)
"""Noise at which the U-Net takes over: from all of the steps to none."""

PICTURE = Path(__file__).parent.parent / "docs" / "_static" / "handover.png"


def picture(saved: list[float], frechet: list[float], copied: list[float]) -> None:
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    share = [100 * part for part in saved]
    left.plot(share, frechet, "o-", lw=2)
    left.set(ylim=(0, 1.3 * max(frechet)), ylabel="Fréchet distance", title="as good (lower is better)")
    right.plot(share, [100 * part for part in copied], "o-", lw=2, label="drawn")
    right.axhline(5, color="0.4", ls="--", label="new images")
    right.set(ylim=(0, 30), ylabel="near copies (%)", title="as new (5 % is right)")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xlabel("evaluations of the network saved (%)", fontsize=11)
        axis.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of the U-Net's training (default: %(default)s)")
    parser.add_argument("--drawn", type=int, default=400, help="images drawn at each level (default: %(default)s)")
    options = parser.parse_args()
    started, images = time.time(), Images.small()
    network = unet(images.read.shape[-1])
    steps = train(network, images.read, options.minutes)
    print(f"{steps} steps", flush=True)
    ours = DiscoScoreModel.from_data(images.read, locality="auto")
    classifier = Classifier.trained(images.classified, images.labels)
    start = torch.randn(options.drawn, *images.read.shape[1:], generator=torch.Generator().manual_seed(0))
    table, raw = [], []
    for noise in LEVELS:
        both = DiscoHandover(ours, network, DPMSolverMultistepScheduler(), noise)
        began = time.process_time()
        with torch.no_grad():
            drawn = draw(lambda sample, t, both=both: both(sample, t).sample, start)
        seconds = (time.process_time() - began) / options.drawn
        found = judge(drawn, images.read, images.held_out, classifier)
        saved = 1 - both.evaluations / (STEPS * options.drawn)
        raw.append({"noise": noise, "saved": saved, **dataclasses.asdict(found), "seconds": seconds})
        figures = [f"{value:.3g}" for value in (found.precision, found.recall, found.frechet, found.copied)]
        table.append([f"{noise:g}", f"{saved:.0%}", *figures, f"{1e3 * seconds:.0f}"])
        print(" | ".join(table[-1]), flush=True)
    picture(*([row[key] for row in raw] for key in ("saved", "frechet", "copied")))
    header = ["handed over at noise", "saved", "precision", "recall", "Fréchet", "copied", "ms an image"]
    about = __doc__.split("\n", 1)[1].strip()
    about += f"\n\nThe U-Net had {options.minutes:g} minutes, {steps} steps; {options.drawn} images drawn at each level."
    write("diffusers_handover", "A trained network asked at low noise only", about, header, table, raw, started)


if __name__ == "__main__":
    main()
