"""The pretrained model: conditions on samples, saves and loads itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from disco_samplers.arrays import check_count, check_double, default_names
from disco_samplers.draws import Draws, as_table, off_edges, supports_of, warn_of_risks, warn_of_supports
from disco_samplers.estimate.card import CARD, PAPER, facts, shipped_card
from disco_samplers.estimate.density import DensityEstimate
from disco_samplers.estimate.frozen import frozen
from disco_samplers.estimate.hub import HUB_OPTIONS, weights_here, weights_of_the_hub
from disco_samplers.estimate.rows import batch_counts, check_samples
from disco_samplers.estimators import (
    DEFAULTS,
    SHIPPED,
    WEIGHTS_NAME,
    JohnsonTransform,
    NetworkEstimator,
    TransformedEstimator,
    check_single,
    load_network,
    read_supported,
    straightened,
    weights_path,
)
from disco_samplers.files import save_weights
from disco_samplers.model import DiScoFormerConfig, Network
from disco_samplers.summaries import TableSummary
from disco_samplers.types import ArrayLike

MAX_KEYS = 2048
"""About the longest context of training: encoding 4096 rows in groups of it was more accurate than all at once."""


class DiScoFormer(
    nn.Module,
    ModelHubMixin,
    library_name="disco-samplers",
    license="mit",
    tags=["density-estimation", "score"],
    paper_url=PAPER,
    model_card_template=CARD,
):
    r"""One transformer that estimates density and score from samples, in any dimension, without training on them.

    .. math:: (X, y) \mapsto \big(\log \hat f(y), \hat s(y)\big), \qquad X = \{x_1, \dots, x_n\} \sim f \text{ i.i.d.}

    Samples are whitened, and weights mix channels, never coordinates: estimates are exactly equivariant to shifts, scales,
    signs and order of the columns. With symmetry "rotations" they are affine-equivariant, exactly from 64 rows a column on
    (with fewer, :func:`~disco_samplers.model.whitening.whiten` regularises). They do not depend on the order of the samples
    (up to 2048 of them, see :meth:`condition`), nor on which queries are asked together.

    Arguments:
        config: sizes; the default is that of the shipped weights. A model made this way is untrained:
            use :meth:`from_pretrained` for the trained one.

    References:
        DiScoFormer (https://arxiv.org/abs/2511.05924), sections on whitening, cross-attention and the two heads.

    Example:
        >>> disco = DiScoFormer.from_pretrained()
        >>> samples = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> estimate = disco.condition(samples)
        >>> estimate.log_prob(torch.zeros(3, 2)).shape, estimate.score(torch.zeros(3, 2)).shape
        (torch.Size([3]), torch.Size([3, 2]))
    """

    def __init__(self, config: DiScoFormerConfig | None = None) -> None:
        super().__init__()
        if config is not None and not isinstance(config, DiScoFormerConfig):
            raise TypeError(f"config must be a DiScoFormerConfig, got {config!r}; weights are loaded by from_pretrained")
        self.config = DiScoFormerConfig() if config is None else config
        self.network = Network(self.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision the network works in; whitening always works in float64."""
        return next(self.parameters()).dtype

    @torch.inference_mode(False)  # the samples, too, may be part of what is differentiated later
    def condition(
        self,
        samples: ArrayLike | Draws | TableSummary,
        *,
        weights: ArrayLike | None = None,
        effective_size: ArrayLike | float | None = None,
        mask: ArrayLike | None = None,
        keys: int | None = MAX_KEYS,
        transform: Transform | None = None,
        support: Any = None,
        group: Any = None,
        progress: bool = False,
    ) -> DensityEstimate:
        r"""Encodes samples once and returns the estimate of their density.

        Costs :math:`O(n \cdot keys)` time and :math:`O(n)` memory; each query then costs :math:`O(n)`. With the default weights
        an estimate holds about 3.5 kB a row in 3 columns, 5.8 kB in 10 and 45 kB in 100, and takes twice that while it is
        made: 1.5 GB and 25 seconds of one core for 200,000 rows of 3 columns. A random part of the rows is often enough.

        Rows so far out that all others look like one point, and columns that vary by little more than their numbers' precision,
        are told of by a :class:`~disco_samplers.draws.FarRowsWarning` or :class:`~disco_samplers.draws.GranularColumnWarning`.

        Arguments:
            samples: (n, d), or (batch, n, d) for many data sets at once; numpy or torch, any real dtype, or a data frame. A
                numpy array goes to the model's device, a tensor must be there already. Repeated rows of one data set are read
                once, with their number. Of a table larger than memory, its :class:`~disco_samplers.summaries.TableSummary`,
                whose rows are taken with their weights. Draws of Markov chains are worth fewer than their number, and an
                estimate that is not told so is far too sure of itself: pass :class:`~disco_samplers.Draws` of shape
                (chain, draw, d), or ``effective_size``.
            weights: (n,), or (batch, n): not negative, of any sum.
            effective_size: how many independent draws the rows are worth; by default :attr:`Draws.effective_size
                <disco_samplers.Draws.effective_size>`. Of a batch, one number or (batch,), which may exceed the rows where
                these lie more evenly than draws.
            mask: (batch, n), True where a row counts, for data sets of different lengths.
            keys: most rows that a row attends to while the context is encoded. A longer context is shuffled and dealt into
                equal groups, each encoded as a context of its own; its answers then depend a little on the order of the rows.
                None lets every row attend to every other, in :math:`O(n^2)`. Queries see all rows either way.
            transform: of :mod:`torch.distributions.transforms` or :mod:`disco_samplers.estimators`, from the data to the real
                numbers in which the model is to read them, for one data set:
                :class:`~disco_samplers.estimators.JohnsonTransform` for skewed columns, which goes with a support: it is then
                of the columns without one. The estimate is still of the data.
            support: where columns end, for one data set: a mapping of names or numbers of columns, ``{"tau": "positive",
                "p": "unit", "x": (0, 10), "y": (None, 5)}``, or one entry a column; torch's constraints are taken, too. Angles
                are "circular", or "circular:360" by another period than that of radians, at most three columns of them.
                Several columns are a "simplex" or "ordered": ``{("a", "b", "c"): "simplex"}``, or, where their sum is at most
                one, a "subsimplex". By default, and of columns that a mapping does not name,
                :attr:`Draws.support <disco_samplers.Draws>`; "auto" is the same, and tells by a
                :class:`~disco_samplers.draws.SuggestedSupportWarning` which columns look as if they had one. Outside the
                log-density is minus infinity and the score zero, and draws never lie there. Rows outside by less than a
                millionth of the column's scale count as on the edge, and those on it as a little inside, with a
                :class:`~disco_samplers.draws.EdgeRowsWarning`.
            group: a process group of :mod:`torch.distributed`, gloo or nccl, for contexts whose keys and values one process
                cannot hold: each keeps its share of them, and answers are merged exactly. All its processes give the same
                samples, ask the same points in the same turn, and get the same answers. Without a support.
            progress: whether to show a bar while a context longer than ``keys`` is encoded.

        Returns:
            A :class:`~disco_samplers.DensityEstimate`.

        Raises:
            TypeError: if samples is not numeric, or keys is not an integer.
            ValueError: if it holds NaN or infinite values, fewer than two rows, rows that are all the same, or more
                rows or columns than are supported, keys is below 16, or a row is not inside the support or the transform's
                domain; if support names no column or is none; if weights do not fit, are negative or all zero, or
                ``effective_size`` is below one or, of one data set, above the number of distinct rows.

        Example:
            >>> import numpy as np
            >>> x = np.random.default_rng(0).normal(size=(100, 1))
            >>> type(DiScoFormer.from_pretrained().condition(x).log_prob(x))
            <class 'numpy.ndarray'>
        """
        check_double(self.device, "a model on")
        if keys is not None:
            check_count("keys", keys, 16)
        if transform is not None and not isinstance(transform, Transform):
            raise TypeError(f"transform must be one of torch's, such as ExpTransform().inv, got {transform!r}")
        others = transform if isinstance(transform, JohnsonTransform) else None
        if transform is not None and support is not None and others is None:
            raise ValueError("give transform or support, not both: a support has a transform of its own")
        if isinstance(samples, TableSummary):
            samples = samples.draws()
        numpy = not (samples.is_tensor if isinstance(samples, Draws) else isinstance(samples, Tensor))
        x, counts, about = self._rows(samples, weights, effective_size, mask)
        if isinstance(support, str) and support == "auto":
            check_single(x, "support")
            warn_of_supports(Draws(x, names=about["names"], support=about["support"]))
            support = None
        supports = about.pop("support", None)
        if transform is not None and others is None:
            supports = None
        if support is not None:
            check_single(x, "support")
            supports = supports_of(support, about["names"] or default_names(x.shape[1]), x, supports)
        if x.ndim == 2 and transform is None and not supports:
            warn_of_risks(x, counts, about["names"])
        model = frozen(self)
        if group is not None and supports is not None and any(supports):
            raise ValueError("group goes with columns as they are, or with a transform: not with a support")
        if supports is not None and any(supports):
            x = off_edges(x, supports, about["names"] or default_names(x.shape[1]))
            bounded = read_supported(model.network, x, supports, counts, keys, others=others, progress=progress)
            return DensityEstimate(
                model, x, bounded, transform=straightened(bounded, supports), support=supports, numpy=numpy, **about
            )
        if transform is None:
            estimator: Any = NetworkEstimator(model.network, x, counts, keys, group=group, progress=progress)
            return DensityEstimate(model, x, estimator, numpy=numpy, **about)
        check_single(x, "transform")
        images = transform(x)
        if not (transform.domain.check(x).all() and torch.isfinite(images).all()):
            raise ValueError(f"samples lie outside the domain of {transform}")
        base = NetworkEstimator(model.network, images, counts, keys, group=group, progress=progress)
        estimator = TransformedEstimator(base, transform)
        return DensityEstimate(model, x, estimator, transform=estimator.transform, numpy=numpy, **about)

    def _rows(
        self, samples: Any, weights: ArrayLike | None, effective_size: Any, mask: ArrayLike | None
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """What is conditioned on: rows, how many draws each is worth, and what else of them is known."""
        if isinstance(samples, Draws):
            if weights is not None or mask is not None:
                raise ValueError("weights and mask are given twice: the draws have their own")
            check_samples(samples.values if samples.is_tensor else samples.values.to(self.device), None, self.device)
            draws = samples
        else:
            table, names = as_table(samples, "samples")
            x, rows = check_samples(samples if isinstance(samples, Tensor) else table.numpy(), mask, self.device)
            if x.ndim == 3:
                return x.detach().clone(), batch_counts(x, rows, weights, effective_size), {}
            draws = Draws(x.detach(), weights=weights, names=names)
        found, counts = draws.counts(effective_size)
        draws.warn(effective_size)
        # What is changed in place later must not change what was encoded.
        x = found.clone().to(self.device)
        about = {
            "names": draws.names if draws.has_names else None,
            "blocks": draws.blocks(effective_size),
            "support": draws.support,
        }
        return x, None if counts is None else counts.to(self.device), about

    def forward(self, context: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (..., m) and score (..., m, d) at queries (..., m, d) given context (..., n, d), in one call."""
        return self.condition(context).log_prob_and_score(queries)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name_or_path: str | os.PathLike[str] | None = None, *, map_location: str = "cpu", **hub_options: Any
    ) -> DiScoFormer:
        """Loads trained weights.

        Arguments:
            name_or_path: "axes" (the default), "rotations" or "velocities" for the weights in this package (never touches the
                network); a local folder or ``.safetensors`` file; or the id of a model on the Hugging Face hub. "axes" can see
                structure along the columns, as parameters and measured quantities have; "rotations" gives the same estimate in
                any frame, as vectors in space want; "velocities" does too, and is better in up to five dimensions.
            map_location: device to load on.
            hub_options: of the hub: ``revision``, and how to get there, which nothing local asks for: ``token``, ``cache_dir``,
                ``force_download``, ``local_files_only``.

        Raises:
            FileNotFoundError: if a folder holds no weights, or there is neither such a folder nor such a model on the hub.
            TypeError: if an option is unknown.
            ValueError: if the file is truncated, of another kind, or has an unknown configuration key; if a revision is given
                of what is not on the hub; or if the device has no float64.

        Example:
            >>> DiScoFormer.from_pretrained().config.symmetry
            'axes'
        """
        check_double(map_location, "map_location")
        if unknown := sorted(set(hub_options) - set(HUB_OPTIONS)):
            raise TypeError(
                f"from_pretrained has no option {', '.join(unknown)}: the device is map_location=, and those of the hub are "
                + ", ".join(HUB_OPTIONS)
            )
        if name_or_path is None or name_or_path in SHIPPED:
            name_or_path = weights_path(str(name_or_path or DEFAULTS["table"]))
        path = weights_here(name_or_path)
        if path is None:
            # Not through the mixin's own method: it asks the hub for a config.json first, and without one fails offline.
            return cls._load(weights_of_the_hub(str(name_or_path), **hub_options), map_location)
        if "revision" in hub_options:
            raise ValueError(f"revision is of a model on the hub, and {path} is a file here: leave it out")
        return cls._load(path, map_location)

    @classmethod
    @torch.inference_mode(False)  # or the weights could never be part of what is differentiated
    def _load(cls, path: Path, device: str) -> DiScoFormer:
        network, config = load_network(path)
        with torch.device("meta"):  # which takes nothing from the caller's random numbers
            model = cls(config)
        model.network = network
        return model.requires_grad_(False).eval().to(device)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(Path(save_directory) / WEIGHTS_NAME, self.state_dict(), self.config.to_dict())

    def generate_model_card(self, *args: Any, **details: Any) -> ModelCard:
        """The card written by ``save_pretrained`` and ``push_to_hub``: weights of this package have one of their own."""
        own = shipped_card(self.state_dict(), self.config)
        card: ModelCard = own or super().generate_model_card(**facts(self.state_dict(), self.config), **details)
        return card
