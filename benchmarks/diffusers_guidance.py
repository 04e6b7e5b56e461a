"""A trained network guided by images that it need not have seen: corrected, steered to a part of them, spread.

A small U-Net (benchmarks/image_peers.py) is trained for some minutes of one core. `DiscoGuidance` follows each step of its
scheduler, DPMSolverMultistep with Karras sigmas in 30 steps, with local scores of `DiscoScoreModel.from_data(images,
locality="auto")`, which nothing trains. corrected: a Langevin step of that strength on the score of the images the U-Net was
trained on. steered: on the score of the threes among them alone. spread: moved apart in the batch. All draw from the same
noise; sets and judges are those of benchmarks/diffusers_images.py. threes: share that the classifier calls a three.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers_images import Images
from disco_samplers.integrations.diffusers import DiscoGuidance, DiscoScoreModel
from image_judge import Classifier, judge
from image_peers import STEPS, train, unet
from matplotlib.figure import Figure
from report import write
from torch import Tensor

DIGIT = 3
PICTURE = Path(__file__).parent.parent / "docs" / "_static" / "guidance.png"
SHOWN = 12


def draw(network: Any, start: Tensor, guidance: DiscoGuidance | None) -> Tensor:
    """Images from noise (m, 1, H, W), of a network alone or guided."""
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    scheduler = scheduler if guidance is None else guidance.wrap(scheduler)
    scheduler.set_timesteps(STEPS)
    sample = start
    with torch.no_grad():
        for t in scheduler.timesteps:
            sample = scheduler.step(network(sample, t).sample, t, sample).prev_sample
    return sample


def picture(drawn: dict[str, Tensor]) -> None:
    figure = Figure(figsize=(9.6, 0.82 * len(drawn)), layout="constrained")
    for axis, (name, images) in zip(figure.subplots(len(drawn), 1), drawn.items(), strict=True):
        strip = torch.cat([torch.nn.functional.pad(image[0], (1, 1), value=-1) for image in images[:SHOWN]], 1)
        axis.imshow(-strip, cmap="gray", vmin=-1, vmax=1)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
    figure.savefig(PICTURE, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE", help="images of 28 x 28 instead of digits of 8 x 8")
    parser.add_argument("--minutes", type=float, default=2.0, help="of the U-Net's training (default: %(default)s)")
    parser.add_argument("--drawn", type=int, default=300, help="images drawn in each way (default: %(default)s)")
    options = parser.parse_args()
    started = time.time()
    images = Images.small() if options.data is None else Images.of_file(options.data)
    network = unet(images.read.shape[-1])
    steps = train(network, images.read, options.minutes)
    print(f"{steps} steps", flush=True)
    every = DiscoScoreModel.from_data(images.read, locality="auto")
    threes = DiscoScoreModel.from_data(images.read[images.read_labels == DIGIT], locality="auto")
    ways: dict[str, DiscoGuidance | None] = {"the network alone": None}
    ways |= {f"corrected, {c:g}": DiscoGuidance(every, correct=c, record=False) for c in (0.05, 0.1, 0.2)}
    ways |= {f"steered, {c:g}": DiscoGuidance(threes, correct=c, record=False) for c in (0.1, 0.3)}
    ways["spread, 0.002"] = DiscoGuidance(diversify=0.002, record=False)
    classifier = Classifier.trained(images.classified, images.labels)
    start = torch.randn(options.drawn, *images.read.shape[1:], generator=torch.Generator().manual_seed(0))
    table, raw, shown = [], [], {}
    for name, guidance in ways.items():
        began = time.process_time()
        drawn = draw(network, start, guidance)
        seconds = (time.process_time() - began) / options.drawn
        found = judge(drawn, images.read, images.held_out, classifier)
        called = float((classifier(drawn.clamp(-1, 1)).argmax(1) == DIGIT).double().mean())
        raw.append({"way": name, **dataclasses.asdict(found), "threes": called, "seconds": seconds})
        figures = [f"{value:.3g}" for value in (found.precision, found.recall, found.frechet, found.copied)]
        table.append([name, *figures, f"{called:.0%}", f"{1e3 * seconds:.0f}"])
        shown[name] = drawn.clamp(-1, 1)
        print(" | ".join(table[-1]), flush=True)
    if options.data is not None:
        picture(shown)
    about = __doc__.split("\n", 1)[1].strip()
    about += f"\n\n{options.drawn} digits of {images.name} drawn in each way. "
    about += f"The U-Net had {options.minutes:g} minutes, {steps} steps."
    header = ["way", "precision", "recall", "Fréchet", "copied", "threes", "ms an image"]
    name = "diffusers_guidance" if options.data is None else "diffusers_guidance_file"
    write(name, f"A trained network guided, digits of {images.name}", about, header, table, raw, started)


if __name__ == "__main__":
    main()
