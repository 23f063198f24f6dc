"""The classic way as a generator like any other: hand-made multiscale features and a forest. Knows no strokes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.forest import Forest
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.look import whole
from napari_fewshot.engine.network import Network

CLASSIC = "classic"  # name of the net in a card
SIGMAS_PX = (0.7, 16.0)
N_FEATURES = 20  # intensity, edges and two of texture at five scales
REACH_PX = 72  # four of the largest sigma, and the derivatives on top
BUFFERS = ("sizes", "links", "thresholds", "shares")


class ForestHead(ClassesHead):
    """Class scores by a forest; one without trees has not seen any strokes."""

    sizes: Tensor

    def __init__(self, n_classes: int, n_trees: int, n_nodes: int) -> None:
        nn.Module.__init__(self)
        self.register_buffer("sizes", torch.zeros(n_trees, dtype=torch.int32))
        self.register_buffer("links", torch.zeros(n_nodes, 3, dtype=torch.int32))
        self.register_buffer("thresholds", torch.zeros(n_nodes))
        self.register_buffer("shares", torch.zeros(n_nodes, n_classes))
        self._forest: Forest | None = None

    @classmethod
    def of_forest(cls, forest: Forest) -> ForestHead:
        """Take over a grown forest; what is stored is what is used, so that a saved one answers the same."""
        head = cls(forest.n_classes, len(forest.sizes), len(forest.links))
        near = forest.thresholds.astype(np.float32)  # the float32 below a threshold parts float32 features alike
        near = np.where(near > forest.thresholds, np.nextafter(near, np.float32(-np.inf)), near)
        for name, values in zip(BUFFERS, (forest.sizes, forest.links, near, forest.shares), strict=True):
            getattr(head, name).copy_(torch.from_numpy(values))
        return head

    @property
    def is_fitted(self) -> bool:
        return bool(self.sizes.numel())

    @property
    def forest(self) -> Forest:
        """The forest in the buffers; raises ModelError when they hold no trees."""
        if self._forest is None:
            sizes, links, thresholds, shares = (getattr(self, name).cpu().numpy() for name in BUFFERS)
            self._forest = Forest(sizes, links, thresholds.astype(np.float64), shares, N_FEATURES)
            self._forest.check()
        return self._forest


class ClassicNetwork(Network):
    """Stands where a network does, tensors in and class scores out, but computes on the CPU."""

    def __init__(self, head: ForestHead) -> None:
        nn.Module.__init__(self)
        self.zooms, self.factor, self.head = (1,), 1, head

    @classmethod
    def of_card(cls, card: ModelCard) -> ClassicNetwork:
        """Build what a card describes; raises ModelError when its forest has no size."""
        n_trees, n_nodes = (card.net.get(key, 0) for key in ("n_trees", "n_nodes"))
        if not all(isinstance(n, int) and n >= 0 for n in (n_trees, n_nodes)):
            raise ModelError(f"the card of '{card.name}' does not say how large its forest is: export the model again")
        return cls(ForestHead(len(card.class_numbers), n_trees, n_nodes))

    @property
    def align_px(self) -> int:
        return 1

    @property
    def halo_px(self) -> int:
        return REACH_PX

    def forward(self, x: Tensor, box: Box | None = None) -> Tensor:
        """Logits (B, K, y, x) for a box of a tile (B, 1, Y, X)."""
        assert isinstance(self.head, ForestHead)
        answers = []
        for plane in x[:, 0].cpu().numpy():
            features = features_of(plane)[box or whole(x)]
            scores = self.head.forest.scores(features.reshape(-1, N_FEATURES))
            answers.append(scores.reshape(*features.shape[:2], -1).transpose(2, 0, 1))  # (y * x, K) -> (K, y, x)
        return torch.from_numpy(np.stack(answers)).to(x.device)


def features_of(unit: np.ndarray) -> np.ndarray:
    """(Y, X) on the unit scale -> (Y, X, N_FEATURES) float32: intensity, edges and texture at five scales.

    What Trainable Weka Segmentation (Arganda-Carreras et al. 2017) and ilastik made common, as in scikit-image.
    """
    from skimage.feature import multiscale_basic_features

    # by position: the last one, threads, has had two names
    return np.asarray(multiscale_basic_features(unit, True, True, True, *SIGMAS_PX, None, 1))
