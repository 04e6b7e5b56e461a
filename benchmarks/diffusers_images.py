"""Are images drawn without training, patch by patch, like real ones and new?

Every model draws from the same noise with the same scheduler, DPMSolverMultistep with Karras sigmas in 30 steps, and has read
the same images. Drawn images are brought to the range of the data and judged beside images that no model has seen, as many of
them for precision and recall (third neighbour), all of them otherwise.

Sets: scikit-learn's digits of 8 x 8 (1,000 read, 797 judge); with --data FILE instead the 10,000 test images of MNIST (LeCun,
Cortes, Burges; CC BY-SA 3.0), an .npz of images (10000, 28, 28) in uint8 and labels: 5,000 read, 2,000 train the classifier,
500 are the row "fresh data", 2,500 judge. The classifier of the 8 x 8 digits is trained on the images read, as there are no
others.

- DiscoScoreModel, patches: `from_data(images, locality="auto")`. By class: the same with `labels=`, classes drawn as they are
  among the images read. DiscoScoreModel, whole images: without locality.
- optimal denoiser: exact, of the images read. Wiener denoiser: the linear one of their mean and covariance.
- one local softmax: the exact answer for patches of one size, from near each window, of all images alike; overlapping windows
  are averaged and nothing is stacked; the size is the best at each noise level on 64 images left out (after Kamb, Ganguli,
  arXiv 2412.20292).
- KDE: a bandwidth chosen by leave-one-out likelihood, in the basis of the whole-image model; drawn from directly.
- U-Net: diffusers' UNet2DModel, trained by the denoising loss on the images read, for as much processor time as the patches
  took to prepare, and for ten times that or five minutes, whichever is more (or for --unet-minutes).

Feature space: 64 features of a small convolutional classifier (benchmarks/image_judge.py, seed 0). Frechet: squared, of
Gaussians there; MMD^2 there (bandwidth: median distance of held-out images). precision and recall are in feature space, those
of pixels beside. copied: share of images nearer to one that was read than all but 5 % of held-out images are; new images give
0.05. entropy: of the classifier's mean prediction in nats (ten even classes 2.30), and the mean of each prediction's. NLL: of
held-out images with noise of .1 added, in nats a pixel, from what is left of the noise at 13 levels up to 20; it is exact for
the denoised mean, and more for all others. r^2: how much of the variance of the longer trained U-Net's denoised held-out images
the model explains, at noise .3, .6, 1.2 and 2.5; empty where the U-Net was not run with it.
Times are of one processor core.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from disco_samplers.integrations.diffusers import DiscoScoreModel, LocalData
from image_judge import Classifier, Judgement, agreement, judge, likelihood_loss
from image_peers import Denoise, Predict, denoised, draw, nearest_level, of_denoiser, train, unet
from matplotlib.figure import Figure
from report import RESULTS, write
from sklearn.datasets import load_digits
from torch import Tensor

from disco_samplers.reference import KDE, OptimalDenoiser

LEVELS = (0.1, 0.15, 0.2, 0.3, 0.42, 0.6, 0.85, 1.2, 1.75, 2.5, 5.0, 10.0, 20.0)
SHOWN = (0.3, 0.6, 1.2, 2.5)
KEPT_OUT = 64
AT_ONCE = 100
LEAST = 5.0
"""Minutes that the longer trained U-Net has at least: it is what others are compared with."""

OURS, CLASSES, WHOLE, EQUAL, LONGER = (
    "DiscoScoreModel, patches",
    "DiscoScoreModel, patches, by class",
    "DiscoScoreModel, whole images",
    "U-Net, equal time",
    "U-Net, longer",
)
HEADER = [
    "set",
    "method",
    "precision",
    "recall",
    "Fréchet",
    "MMD²",
    "precision, pixels",
    "recall, pixels",
    "copied",
    "entropy",
    "of each",
    "NLL",
    "r²",
    "minutes of preparation",
    "s an image",
]
PICTURE = Path(__file__).parent.parent / "docs" / "_static" / "images.png"

T = TypeVar("T")


@dataclasses.dataclass
class Images:
    """Images of one kind, (n, 1, H, W) in [-1, 1]: read, judging, and those that the classifier is trained on, with labels."""

    name: str
    read: Tensor
    read_labels: Tensor
    held_out: Tensor
    classified: Tensor
    labels: Tensor
    held_labels: Tensor
    fresh: Tensor | None = None

    @classmethod
    def small(cls) -> Images:
        digits = load_digits()
        images, labels = torch.from_numpy(digits.images).float()[:, None] / 8 - 1, torch.from_numpy(digits.target)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        images, labels = images[order], labels[order]
        return cls("8 x 8", images[:1000], labels[:1000], images[1000:], images[:1000], labels[:1000], labels[1000:])

    @classmethod
    def of_file(cls, path: Path) -> Images:
        with np.load(path) as found:
            images, labels = (
                torch.from_numpy(found["images"]).float()[:, None] / 127.5 - 1,
                torch.from_numpy(found["labels"]).long(),
            )
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        images, labels = images[order], labels[order]
        read, judging, classified, rest = slice(5000), slice(7500, None), slice(5000, 7000), images[7000:7500]
        parts = (images[read], labels[read], images[judging], images[classified], labels[classified], labels[judging])
        return cls("28 x 28", *parts, rest)


@dataclasses.dataclass
class Method:
    """What a method drew, what it made of noised held-out images (levels, m, 1, H, W), and its times."""

    drawn: Tensor
    denoised: Tensor | None = None
    minutes: float = float("nan")
    seconds: float = float("nan")


class Comparison:
    """Runs the methods on images of one kind; what each drew is kept in a folder, if there is one."""

    def __init__(self, images: Images, count: int, cache: Path | None, minutes: list[float]) -> None:
        self.images, self.count, self.minutes = images, count, minutes
        self.cache = None if cache is None else cache / f"{images.name.replace(' ', '')}-{count}"
        shape = (count, *images.read.shape[1:])
        self.start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.some = images.held_out[:KEPT_OUT]
        self.noise = torch.randn(self.some.shape, generator=torch.Generator().manual_seed(1))

    @functools.cached_property
    def patches(self) -> tuple[DiscoScoreModel, float]:
        return timed(lambda: DiscoScoreModel.from_data(self.images.read, locality="auto"))

    @functools.cached_property
    def whole(self) -> tuple[DiscoScoreModel, float]:
        return timed(lambda: DiscoScoreModel.from_data(self.images.read))

    def run(self, only: list[str]) -> dict[str, Method]:
        if only:
            ours = {OURS: lambda: self.diffused(*as_model(self.patches)), CLASSES: self.by_class}
            return {name: self.kept(name, ours[name]) for name in only}
        makers = {
            OURS: lambda: as_model(self.patches),
            WHOLE: lambda: as_model(self.whole),
            "optimal denoiser": self.exact,
            "Wiener denoiser": lambda: (of_denoiser(self.patches[0].noised().answers()[-1]), 0.0),
            "one local softmax": self.one_size,
        }
        found = {name: self.kept(name, lambda make=make: self.diffused(*make())) for name, make in makers.items()}
        found[CLASSES] = self.kept(CLASSES, self.by_class)
        found["KDE, leave-one-out"] = self.kept("KDE", self.kernels)
        equal = found[OURS].minutes
        for name, minutes in zip((EQUAL, LONGER), self.minutes or [equal, max(10 * equal, LEAST)], strict=True):
            found[name] = self.kept(f"{name}, {minutes:.2f}", lambda minutes=minutes: self.trained(minutes))
        found["images read"] = Method(self.images.read[: self.count])
        if self.images.fresh is not None:
            found["fresh data"] = Method(self.images.fresh[: self.count])
        return found

    def kept(self, name: str, make: Callable[[], Method]) -> Method:
        path = None if self.cache is None else self.cache / f"{name}.pt"
        if path is not None and path.exists():
            return Method(**torch.load(path))
        made = make()
        print(f"{self.images.name}, {name}: {made.minutes:.2f} min, {made.seconds:.2f} s an image", flush=True)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(vars(made), path)
        return made

    @torch.no_grad()
    def diffused(self, predict: Predict, seconds: float) -> Method:
        drawn, drawing = timed(lambda: torch.cat([draw(predict, part) for part in self.start.split(AT_ONCE)]))
        clean = torch.stack([denoised(predict, self.some, sigma, self.noise) for sigma in LEVELS])
        return Method(drawn, clean, seconds / 60, drawing / self.count)

    @torch.no_grad()
    def by_class(self) -> Method:
        images, generator = self.images, torch.Generator().manual_seed(0)
        model, preparing = timed(lambda: DiscoScoreModel.from_data(images.read, labels=images.read_labels, locality="auto"))
        wanted = images.read_labels[torch.randint(len(images.read), (self.count,), generator=generator)].sort().values

        def drawn() -> Tensor:
            pairs = zip(self.start.split(AT_ONCE), wanted.split(AT_ONCE), strict=True)
            return torch.cat([draw(lambda sample, t, of=of: model(sample, t, class_labels=of).sample, x) for x, of in pairs])

        found, drawing = timed(drawn)
        return Method(found, None, preparing / 60, drawing / self.count)

    def exact(self) -> tuple[Predict, float]:
        exact = OptimalDenoiser(self.images.read.flatten(1).double())
        return of_denoiser(lambda y, sigma: exact(y.double(), sigma).to(y.dtype)), 0.0

    def one_size(self) -> tuple[Predict, float]:
        denoise, seconds = timed(lambda: best_size(self.patches[0]))
        return of_denoiser(denoise), seconds

    def kernels(self) -> Method:
        whole, generator = self.whole[0], torch.Generator().manual_seed(0)
        basis = whole.basis
        kde, preparing = timed(lambda: KDE(whole.data.double(), "loo"))
        white = torch.randn(self.count, len(basis.rest_variances), generator=generator)
        outside = (white * basis.rest_variances.sqrt()) @ basis.rest_components
        inside, drawing = timed(lambda: basis.lift(kde.sample(self.count, generator=generator).float()))
        return Method((inside + outside).view_as(self.start), None, preparing / 60, drawing / self.count)

    def trained(self, minutes: float) -> Method:
        network = unet(self.images.read.shape[-1])
        steps, seconds = timed(lambda: train(network, self.images.read, minutes))
        print(f"U-Net of {sum(p.numel() for p in network.parameters()):,} parameters: {steps} steps", flush=True)
        return self.diffused(*as_model((network, seconds)))


def judged(images: Images, methods: dict[str, Method], classifier: Classifier) -> list[dict[str, object]]:
    """The figures of each method; agreement with the longer trained U-Net where that is among them."""
    raw = []
    theirs = methods[LONGER].denoised if LONGER in methods else None
    for name, method in methods.items():
        found = judge(method.drawn, images.read, images.held_out, classifier)
        same, loss = [], float("nan")
        if method.denoised is not None:
            at = [LEVELS.index(level) for level in SHOWN]
            same = [] if theirs is None else [agreement(*pair) for pair in zip(theirs[at], method.denoised[at], strict=True)]
            loss = likelihood_loss(images.held_out[:KEPT_OUT], method.denoised, [nearest_level(level)[1] for level in LEVELS])
        times = {"minutes": method.minutes, "seconds": method.seconds}
        raw.append({"set": images.name, "method": name, **vars(found), "nll": loss, "agreement": same, **times})
    return raw


def line(row: dict[str, object]) -> list[str]:
    """The figures of one method as a row of the table."""
    times = ["" if math.isnan(row[key]) else f"{row[key]:.2g}" for key in ("minutes", "seconds")]
    values = [row[field.name] for field in dataclasses.fields(Judgement)]
    figures = [f"{value:.3g}" if abs(value) >= 5e-3 else f"{value:.1g}" for value in values]
    said = "" if math.isnan(row["nll"]) else f"{row['nll']:.3f}"
    return [row["set"], row["method"], *figures, said, " ".join(f"{value:.2f}" for value in row["agreement"]), *times]


def picture(images: Images, methods: dict[str, Method]) -> None:
    """Real ones, ours, those of the U-Net and of whole images, eight by five."""
    panels = {
        "real digits": images.held_out,
        "drawn patch by patch, no training": methods[OURS].drawn,
        f"drawn by a U-Net, {methods[EQUAL].minutes:.1f} min of training": methods[EQUAL].drawn,
        "drawn from whole images, no training": methods[WHOLE].drawn,
    }
    figure = Figure(figsize=(9.6, 3.3), layout="constrained")
    for axis, (title, shown) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        framed = torch.nn.functional.pad(shown[:40, 0].clamp(-1, 1), (1, 1, 1, 1), value=-1.0)
        axis.imshow(torch.cat([torch.cat(list(row)) for row in framed.split(8)], 1), cmap="gray_r", vmin=-1, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.savefig(PICTURE, dpi=100)


def as_model(made: tuple[torch.nn.Module, float]) -> tuple[Predict, float]:
    model, seconds = made
    return lambda sample, t: model(sample, t).sample, seconds


def best_size(model: DiscoScoreModel) -> Denoise:
    """The exact answer for patches of the one size that is best at the level nearest to each, of those of a model."""
    local, sigmas = model.noised(), model.log_sigma[0].exp().tolist()
    known, out = local.data[KEPT_OUT:], local.data[:KEPT_OUT]
    near = dataclasses.replace(local.near, alike=None)
    options = {"near": near, "context_size": local.context_size, "seed": local.seed}
    trial, plain = (LocalData(data, local.shape, local.stack, **options) for data in (known, local.data))
    generator, best = torch.Generator().manual_seed(1), []
    for sigma in sigmas:
        y = out + sigma * torch.randn(out.shape, generator=generator)
        losses = [float((trial.by_windows(y, sigma, size) - out).square().mean()) for size in local.near.sizes]
        best.append(local.near.sizes[int(np.argmin(losses))])
    print("size at each level: " + ", ".join(f"{sigma:.2f}: {size}" for sigma, size in zip(sigmas, best, strict=True)))
    logs = np.log(sigmas)
    return lambda y, sigma: plain.by_windows(y, sigma, best[int(np.abs(logs - np.log(sigma)).argmin())])


def timed(make: Callable[[], T]) -> tuple[T, float]:
    """What is made, and the seconds of processor time that it took."""
    started = time.process_time()
    return make(), time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE", help=".npz of digits of 28 x 28 instead of those of 8 x 8")
    parser.add_argument("--drawn", type=int, default=500, help="images drawn by each method (default: %(default)s)")
    parser.add_argument(
        "--unet-minutes", type=float, nargs=2, default=[], help="instead of our preparation time and ten times that"
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where what was drawn is kept")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[OURS, CLASSES], help="run these and keep the other rows of the results"
    )
    options = parser.parse_args()
    started = time.time()
    images = Images.small() if options.data is None else Images.of_file(options.data)
    result = "diffusers_images" if options.data is None else "diffusers_images_file"
    comparison = Comparison(images, options.drawn, options.cache, options.unet_minutes)
    methods = comparison.run(options.only)
    classifier = Classifier.trained(images.classified, images.labels)
    told = f"{100 * classifier.accuracy(images.held_out, images.held_labels):.1f} % of digits of {images.name}"
    about = __doc__.split("\n", 1)[1].strip()
    about += f"\n\n{options.drawn} images drawn by each. The classifier tells {told} that have judged."
    raw = judged(images, methods, classifier)
    if options.only:
        before = json.loads((RESULTS / f"{result}.json").read_text())
        new = {row["method"]: row for row in raw}
        raw = [new.get(row["method"], {"command": before["environment"]["command"]} | row) for row in before["results"]]
        for command in dict.fromkeys(row["command"] for row in raw if "command" in row):
            names = [row["method"] for row in raw if row.get("command") == command]
            about += f"\n\nKept of an earlier run, {command}: {'; '.join(names)}."
    elif options.data is not None:
        picture(images, methods)
    write(result, f"Images of {images.name} drawn without training", about, HEADER, [line(row) for row in raw], raw, started)


if __name__ == "__main__":
    main()
