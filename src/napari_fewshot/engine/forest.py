"""A forest of decision trees: grown on painted pixels, kept as plain arrays, never pickled. Knows no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from napari_fewshot.core.errors import ModelError

KINDS = ("extra-trees", "random-forest")
N_TREES = 100
LEAST_SHARE = 1e-4  # of a class that no tree votes for


@dataclass(frozen=True, eq=False)
class Forest:
    """The nodes of all trees, one after the other.

    Parameters
    ----------
    sizes : ndarray
        (T,) nodes of each tree.
    links : ndarray
        (N, 3) left child, right child, feature; counted inside the tree, -1 left and right of a leaf.
    thresholds : ndarray
        (N,) float64: left where the feature is not larger.
    shares : ndarray
        (N, K) share of each class among the painted pixels that came to a node.
    n_features : int
    """

    sizes: np.ndarray
    links: np.ndarray
    thresholds: np.ndarray
    shares: np.ndarray
    n_features: int

    @classmethod
    def grow(cls, kind: str, x: np.ndarray, y: np.ndarray, seed: int, n_threads: int = 1) -> Forest:
        """Fit to (N, D) features and (N,) classes 0 .. K - 1, every class weighing the same."""
        from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

        make = ExtraTreesClassifier if kind == "extra-trees" else RandomForestClassifier
        model = make(N_TREES, min_samples_leaf=2, class_weight="balanced", n_jobs=n_threads, random_state=seed)
        model.fit(x, y)
        trees = [one.tree_ for one in model.estimators_]
        links = [np.column_stack([t.children_left, t.children_right, np.maximum(t.feature, 0)]) for t in trees]
        return cls(
            np.array([t.node_count for t in trees], np.int32),
            np.concatenate(links).astype(np.int32),
            np.concatenate([t.threshold for t in trees]),
            np.concatenate([t.value[:, 0] for t in trees]).astype(np.float32),
            x.shape[1],
        )

    @property
    def n_classes(self) -> int:
        return self.shares.shape[1]

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(N, D) float32 features -> (N, K) logarithms of the trees' mean shares."""
        x = np.ascontiguousarray(x, np.float32)
        total = np.zeros((len(x), self.n_classes))
        for tree in self._trees:
            total += tree.predict(x).reshape(total.shape)
        return np.log(total / len(self._trees) + LEAST_SHARE).astype(np.float32)

    def check(self) -> None:
        """Raise ModelError unless every walk through the trees stays inside them and ends."""
        ends = np.cumsum(self.sizes)
        is_whole = len(ends) > 0 and ends[-1] == len(self.links) == len(self.thresholds) == len(self.shares)
        if not (is_whole and self.sizes.min() > 0 and all(map(self._is_tree, self._parts()))):
            raise ModelError("the trees of the model are damaged: copy or import the model again")

    @cached_property
    def _trees(self) -> list[Any]:
        """Scikit-learn's own trees, whose walk is compiled, put together from the arrays."""
        from sklearn.tree._tree import NODE_DTYPE, Tree

        trees = []
        for part in self._parts():
            nodes = np.zeros(part.stop - part.start, NODE_DTYPE)
            nodes["left_child"], nodes["right_child"], nodes["feature"] = self.links[part].T
            nodes["threshold"] = self.thresholds[part]
            tree = Tree(self.n_features, np.array([self.n_classes], np.intp), 1)
            values = np.ascontiguousarray(self.shares[part, None], np.float64)  # (n, K) -> (n, 1, K)
            tree.__setstate__({"max_depth": 0, "node_count": len(nodes), "nodes": nodes, "values": values})
            trees.append(tree)
        return trees

    def _parts(self) -> Sequence[slice]:
        ends = np.cumsum(self.sizes)
        return [slice(int(b - n), int(b)) for n, b in zip(self.sizes, ends, strict=True)]

    def _is_tree(self, part: slice) -> bool:
        left, right, feature = self.links[part].T
        inner, here = left != -1, np.arange(len(left))
        children = np.column_stack([left, right])[inner]
        # children come after their parent, so that a walk ends
        return bool(
            np.all((children > here[inner, None]) & (children < len(left)))
            and np.all(right[~inner] == -1)
            and np.all((feature >= 0) & (feature < self.n_features))
        )
