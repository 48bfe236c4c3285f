"""A network as a picture: stages, blocks and shortcuts, as the text of an SVG file.

The encoder is a staircase down to the right, one step a resolution, the decoder leads up again,
and the long skips run between them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from seg.networks.block import ResidualBlock
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.costs import without_memory
from seg.networks.encoder import Encoder

BLOCK, GAP, ROW, MARGIN, TOP = 22, 12, 84, 24, 108
MOST_BLOCKS = 7
"""Blocks drawn a stage; of more, the first ones, how many there are, and the last."""
BLUE, GREY, GREEN, PALE, INK = "#2f6fde", "#8a94a6", "#2c9c69", "#c3cad6", "#1d2433"


def draw(config: UNetConfig, title: str) -> str:
    """The network as SVG."""
    stages = list(_stages(config))
    levels = list(_levels(config, stages[-1].end))
    rows = len(stages) + config.starts_strided
    width, height = levels[-1].end + 170, TOP + rows * ROW
    parts = [
        _text(MARGIN, 30, title, size=17, weight="bold"),
        *_legend(config),
        *_skips(stages, levels),
        *(part for stage in stages for part in stage.parts(config)),
        *(part for level in levels for part in level.parts(config)),
        *_ends(config, stages[0], levels[-1]),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="system-ui, sans-serif">',
            '<marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" '
            f'markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="{GREY}"/></marker>',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Stage:
    """A row of blocks; ``droppable`` has one entry a block."""

    index: int
    start: int
    y: int
    droppable: tuple[bool, ...]

    @property
    def drawn(self) -> Sequence[int | None]:
        """Indices of the blocks drawn, None for those left out."""
        count = len(self.droppable)
        if count <= MOST_BLOCKS:
            return range(count)
        return [*range(MOST_BLOCKS - 2), None, count - 1]

    @property
    def end(self) -> int:
        """Right edge."""
        return self.start + GAP + max(1, len(self.drawn)) * (BLOCK + GAP)

    def parts(self, config: UNetConfig) -> Iterator[str]:
        """The row, its shortcuts and its label."""
        yield _line(self.start, self.y, self.end, self.y)
        for place, index in enumerate(self.drawn):
            left = self.start + GAP + place * (BLOCK + GAP)
            if index is None:
                yield _rect(left - 4, self.y - BLOCK // 2, BLOCK + 8, "white")
                yield _text(left + BLOCK // 2, self.y + 5, "…", size=18, anchor="middle")
                continue
            colour = BLUE if self.droppable[index] else GREY
            yield from _block(config, left, self.y, colour, until=self.end)
        if not self.droppable:
            yield _rect(self.start + GAP, self.y - BLOCK // 2, BLOCK, GREY)
        # Left of the line that leads down from the end of the row.
        below = self.y + BLOCK // 2 + 16
        yield _text(self.end - 5, below, self._label(config), size=11, anchor="end")

    def _label(self, config: UNetConfig) -> str:
        strides = config.strides[: self.index + 1]
        resolution = [math.prod(axis) for axis in zip(*strides, strict=True)]
        sizes = resolution[:1] if len(set(resolution)) == 1 else resolution
        size = " x ".join("full" if n == 1 else f"1/{n}" for n in sizes)
        label = f"{config.features[self.index]} features, {size}"
        if self.droppable:
            label += f", {len(self.droppable)} block{'s' * (len(self.droppable) != 1)}"
        if config.attention_blocks and self.index == len(config.features) - 1:
            label += f" and {config.attention_blocks} of attention"
        return label


@dataclass(frozen=True, slots=True)
class _Level:
    """A level of the decoder."""

    features: int
    start: int
    y: int

    @property
    def end(self) -> int:
        """Right edge."""
        return self.start + 2 * BLOCK + GAP

    def parts(self, config: UNetConfig) -> Iterator[str]:
        """The way up, the level and its label."""
        yield _line(self.start, self.y + ROW, self.start, self.y, tip=True)
        yield _line(self.start, self.y, self.end, self.y)
        left = self.start + GAP
        if config.decoder == "residual":
            yield from _block(config, left, self.y, GREEN, until=self.end)
        else:
            yield _rect(left, self.y - BLOCK // 2, BLOCK, GREEN)
        yield _text(left, self.y + BLOCK // 2 + 16, str(self.features), size=11)


def _stages(config: UNetConfig) -> Iterator[_Stage]:
    encoder = without_memory(config).encoder
    start = MARGIN + 110
    for index in range(len(config.features)):
        droppable: tuple[bool, ...] = ()
        if isinstance(encoder, Encoder):
            blocks = [m for m in encoder.stages[index].modules() if isinstance(m, ResidualBlock)]
            droppable = tuple(block.is_droppable for block in blocks)
        stage = _Stage(index, start, TOP + (index + config.starts_strided) * ROW, droppable)
        start = stage.end
        yield stage


def _levels(config: UNetConfig, start: int) -> Iterator[_Level]:
    for row in reversed(range(len(config.level_features))):
        level = _Level(config.level_features[row], start, TOP + row * ROW)
        start = level.end
        yield level


def _skips(stages: Sequence[_Stage], levels: Sequence[_Level]) -> Iterator[str]:
    for before, after in pairwise(stages):
        yield _line(before.end, before.y, before.end, after.y, tip=True)
    for stage in stages[:-1]:
        for level in levels:
            if level.y == stage.y:
                yield _line(stage.end, stage.y, level.start, level.y, colour=PALE, tip=True)


def _ends(config: UNetConfig, first: _Stage, last: _Level) -> Iterator[str]:
    y = TOP
    yield _text(MARGIN, y + 4, f"image, {config.in_channels} ch.", size=11)
    if first.y != y:
        yield _line(first.start, y, first.start, first.y, tip=True)
    yield _line(MARGIN + 88, y, first.start, y, tip=first.y == y)
    yield _line(last.end, y, last.end + 24, y, tip=True)
    yield _text(last.end + 30, y + 4, f"logits, {config.num_classes} classes", size=11)


def _block(config: UNetConfig, left: int, y: int, colour: str, *, until: int) -> Iterator[str]:
    """A block and its shortcut: an arc over the block, of dense ones to the end of the stage."""
    if config.shortcut != "none":
        start, top = left - GAP // 2, y - BLOCK // 2 - 16
        end = until - GAP // 2 if config.shortcut == "dense" else left + BLOCK + GAP // 2
        yield (
            f'<path d="M{start} {y}C{start} {top} {end} {top} {end} {y}" fill="none" '
            f'stroke="{colour}" stroke-width="1.6"/>'
        )
    yield _rect(left, y - BLOCK // 2, BLOCK, colour)


def _legend(config: UNetConfig) -> Iterator[str]:
    yield _text(
        MARGIN,
        52,
        f"{config.spatial_dims}D, {config.block} blocks, shortcut {config.shortcut}, "
        f"{config.normalisation} normalisation, {config.decoder} decoder"
        if config.encoder == RESIDUAL
        else f"{config.encoder}, {config.decoder} decoder",
        size=12,
    )
    x = MARGIN
    entries = [(BLUE, "can be dropped"), (GREY, "cannot be dropped"), (GREEN, "decoder")]
    for colour, meaning in entries:
        yield f'<rect x="{x}" y="61" width="10" height="10" rx="2" fill="{colour}"/>'
        yield _text(x + 15, 70, meaning, size=11)
        x += 30 + 7 * len(meaning)


def _line(x1: int, y1: int, x2: int, y2: int, *, colour: str = GREY, tip: bool = False) -> str:
    end = ' marker-end="url(#tip)"' if tip else ""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.4"{end}/>'
    )


def _rect(x: int, y: int, width: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{BLOCK}" rx="3" fill="{colour}"/>'


def _text(
    x: int, y: int, text: str, *, size: int, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{INK}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
