"""The only tiling: inner boxes that cover a plane, outer boxes with the halo a network needs. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """An inner box to keep and the outer box to read for it, both in picture pixels."""

    inner: Box
    outer: Box

    def keep(self, factor: int = 1) -> Box:
        """Where the inner box lies inside the outer one, ``factor`` times as fine."""
        return tuple(  # type: ignore[return-value]
            slice((i.start - o.start) * factor, (i.stop - o.start) * factor)
            for i, o in zip(self.inner, self.outer, strict=True)
        )

    def target(self, factor: int = 1) -> Box:
        """Where the inner box lies in a result ``factor`` times as fine as the picture."""
        return tuple(slice(s.start * factor, s.stop * factor) for s in self.inner)  # type: ignore[return-value]


def plan_tiles(shape: tuple[int, int], tile_px: int, halo_px: int, align_px: int) -> list[Tile]:
    """Cover a (Y, X) plane with inner boxes of about ``tile_px`` a side.

    Outer boxes start on multiples of ``align_px`` (the pooling grid of a network), reach ``halo_px`` further and
    end at the border of the plane, so a network sees there what it would see without tiles.

    Returns
    -------
    list of Tile
        Row by row; the inner boxes partition the plane.
    """
    halo_px = -(-halo_px // align_px) * align_px
    rows, columns = (_cuts(n, tile_px, align_px) for n in shape)
    return [Tile((y, x), (_grown(y, halo_px, shape[0]), _grown(x, halo_px, shape[1]))) for y in rows for x in columns]


def _cuts(n: int, tile_px: int, align_px: int) -> list[slice]:
    n_tiles = max(1, -(-n // tile_px))
    step = -(-n // (n_tiles * align_px)) * align_px
    return [slice(a, min(a + step, n)) for a in range(0, n, step)]


def _grown(s: slice, halo_px: int, n: int) -> slice:
    return slice(max(0, s.start - halo_px), min(n, s.stop + halo_px))
