"""Are textures drawn without training like their source, and no copies of it?

Sources: photographs of gravel, bricks and grass that come with scikit-image (`pip install scikit-image`), at a third of their
size, in grey. Crops of 32 x 32 of the left half are read (400, which overlap), those of the upper right quarter choose how much
each answer counts (`held_out`), those of the lower right quarter judge. All methods draw from the same noise with the same
scheduler, DPMSolverMultistep with Karras sigmas in 30 steps.

- DiscoScoreModel, patches: `from_data(crops, locality="auto", held_out=...)`; "judged by its own": the same without held_out.
- optimal denoiser: exact, of the crops read. Wiener denoiser: the linear one of their mean and covariance.

copied: share of small patches (7 x 7, 13 x 13) that are nearer to a patch of the half that was read than all but 5 % of those
that judge are; new ones give 0.05. distance: sliced Wasserstein-2 distance of patches of 7 x 7 to those that judge, in units of
the pixels' standard deviation; the row "half that was read" says what two parts of one photograph have. precision and recall:
of patches of 7 x 7 (third neighbour).
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from disco_samplers.integrations.diffusers import DiscoScoreModel, memorisation
from image_peers import Predict, draw, of_denoiser
from matplotlib.figure import Figure
from report import write
from torch import Tensor

from disco_samplers.reference import OptimalDenoiser

SOURCES = ("gravel", "brick", "grass")
SIDE, READ, JUDGES, SMALL = 32, 400, 64, (7, 13)
PICTURE = Path(__file__).parent.parent / "docs" / "_static" / "textures.png"


def photograph(name: str) -> Tensor:
    """Grey (1, H, W), a third of its size, of standard deviation one half."""
    try:
        from skimage import data
    except ImportError:
        raise SystemExit("the photographs come with scikit-image: pip install scikit-image") from None
    pixels = torch.nn.functional.avg_pool2d(torch.from_numpy(getattr(data, name)()).float()[None], 3)
    return 0.5 * (pixels - pixels.mean()) / pixels.std()


def crops(part: Tensor, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tops, lefts = (torch.randint(part.shape[i] - SIDE + 1, (count,), generator=generator).tolist() for i in (1, 2))
    return torch.stack([part[:, top : top + SIDE, left : left + SIDE] for top, left in zip(tops, lefts, strict=True)])


def patches(images: Tensor, size: int, step: int) -> Tensor:
    """Patches every few pixels, as rows."""
    return images.unfold(2, size, step).unfold(3, size, step).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)


def some(rows: Tensor, count: int = 1500) -> Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:count]]


def predictors(read: Tensor, judges: Tensor) -> Iterator[tuple[str, Predict]]:
    """What each method makes of noise, by name."""
    ours = DiscoScoreModel.from_data(read, locality="auto", held_out=judges)
    yield "DiscoScoreModel, patches", as_predictor(ours)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*hold the same pixels", UserWarning)
        yield "the same, judged by its own crops", as_predictor(DiscoScoreModel.from_data(read, locality="auto"))
    exact = OptimalDenoiser(read.flatten(1).double())
    yield "optimal denoiser", of_denoiser(lambda y, sigma: exact(y.double(), sigma).to(y.dtype))
    yield "Wiener denoiser", of_denoiser(ours.noised().answers()[-1])


def as_predictor(model: DiscoScoreModel) -> Predict:
    return lambda sample, t: model(sample, t).sample


def judged(drawn: Tensor, source: Tensor, judging: Tensor) -> dict[str, object]:
    """The figures of crops (m, 1, H, W) beside the half read (1, 1, H, W) and crops that judge."""
    copied = []
    for size in SMALL:
        read = patches(source, size, 1)
        new, held = (torch.cdist(some(patches(images, size, 2)), read).amin(1) for images in (drawn, judging))
        copied.append(float((new <= held.quantile(0.05)).float().mean()))
    new, read, held = (some(patches(images, SMALL[0], 2)) for images in (drawn, source, judging))
    report = memorisation(new, read, held)
    distance, precision, recall = report.sliced_w2 / float(judging.std()), report.precision, report.recall
    return {"copied": copied, "distance": distance, "precision": precision, "recall": recall}


def picture(shown: dict[str, list[Tensor]]) -> None:
    """Two rows for each source: crops that judge, and crops drawn."""
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    axes = figure.subplots(2 * len(shown), 1)
    titles = [f"{name}, {what}" for name in shown for what in ("real", "drawn")]
    for axis, title, images in zip(axes, titles, itertools.chain(*shown.values()), strict=True):
        framed = torch.nn.functional.pad(images[:14, 0].clamp(-1, 1), (1, 1, 1, 1), value=1.0)
        axis.imshow(torch.cat(list(framed), 1), cmap="gray", vmin=-1, vmax=1)
        axis.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=10)
        axis.set(xticks=[], yticks=[])
    figure.savefig(PICTURE, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawn", type=int, default=40, help="crops drawn by each method (default: %(default)s)")
    options = parser.parse_args()
    started, table, raw, shown = time.time(), [], [], {}
    for name in SOURCES:
        whole = photograph(name)
        half = whole.shape[1] // 2
        source, judging = whole[None, :, :, :half], crops(whole[:, half:, half:], options.drawn, 2)
        read, judges = crops(source[0], READ, 0), crops(whole[:, :half, half:], JUDGES, 1)
        start = torch.randn(judging.shape, generator=torch.Generator().manual_seed(0))
        found = {method: draw(predict, start) for method, predict in predictors(read, judges)}
        shown[name] = [judging, next(iter(found.values()))]
        for method, drawn in (found | {"half that was read": read[: options.drawn]}).items():
            figures = judged(drawn, source, judging)
            raw.append({"source": name, "method": method, **figures})
            copied = " / ".join(f"{share:.3f}" for share in figures["copied"])
            rest = [f"{figures[key]:.2f}" for key in ("distance", "precision", "recall")]
            table.append([name, method, copied, *rest])
            print(" | ".join(table[-1]), flush=True)
    picture(shown)
    header = ["source", "method", "copied, 7 x 7 / 13 x 13", "distance", "precision", "recall"]
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{options.drawn} crops drawn by each."
    write("diffusers_textures", "Textures drawn without training", about, header, table, raw, started)


if __name__ == "__main__":
    main()
