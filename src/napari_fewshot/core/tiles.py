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
        return finer(self.inner, factor)


def plan_tiles(
    shape: tuple[int, int], tile_px: int, halo_px: int, align_px: int, within: Box | None = None
) -> list[Tile]:
    """Cover a (Y, X) plane, or a box ``within`` it, with inner boxes of about ``tile_px`` a side.

    Outer boxes start on multiples of ``align_px`` (the pooling grid of a network), as a box ``within`` has to, reach ``halo_px``
    further and end at the border of the plane, so a network sees there what it would see without tiles.

    Returns
    -------
    list of Tile
        Row by row; the inner boxes partition the plane, or the box.
    """
    rows, columns = (_cuts(s, tile_px, align_px) for s in within or whole_of(shape))
    inner = [(y, x) for y in rows for x in columns]
    return [Tile(box, _grown(box, halo_px, align_px, shape)) for box in inner]


def whole_of(shape: tuple[int, int]) -> Box:
    """The box of all of a (Y, X) plane."""
    return slice(0, shape[0]), slice(0, shape[1])


def middle_of(shape: tuple[int, ...], side_px: int) -> Box:
    """The middle of a (Y, X) plane, ``side_px`` a side where it is that large."""
    y, x = (slice(start := max(0, (n - side_px) // 2), min(n, start + side_px)) for n in shape)
    return y, x


def finer(box: tuple[slice, ...], factor: int) -> Box:
    """The same box in pixels of which ``factor`` make one."""
    y, x = (slice(s.start * factor, s.stop * factor) for s in box)
    return y, x


def _grown(box: Box, by_px: int, align_px: int, shape: tuple[int, int]) -> Box:
    """A box and ``by_px`` around it, rounded up to ``align_px``, as far as there are pixels."""
    by_px = -(-by_px // align_px) * align_px
    y, x = (slice(max(0, s.start - by_px), min(n, s.stop + by_px)) for s, n in zip(box, shape, strict=True))
    return y, x


def _cuts(s: slice, tile_px: int, align_px: int) -> list[slice]:
    n = s.stop - s.start
    n_tiles = max(1, -(-n // tile_px))
    step = -(-n // (n_tiles * align_px)) * align_px
    return [slice(a, min(a + step, s.stop)) for a in range(s.start, s.stop, step)]
