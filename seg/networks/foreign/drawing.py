"""A foreign network as a picture: its parts in the order in which they are used, as SVG."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.encoders import without_warnings
from seg.networks.foreign.network import ForeignNetwork
from seg.networks.layers import parameter_count

ROW, WIDTH, LEFT, TOP = 30, 560, 24, 76
MOST_PARTS = 24
"""Rows; a part of many children is drawn as one when there would be more."""
BLUE, GREEN, GREY, INK = "#2f6fde", "#2c9c69", "#8a94a6", "#1d2433"
TIMES_THE_STRIDE = 4
"""Edge of the patch that is drawn."""


@dataclass(frozen=True, slots=True)
class Part:
    """A module that was used, and what it made."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def draw_foreign(config: ForeignConfig, title: str) -> str:
    """The network as SVG: one row a part, with the features and the size that it hands on."""
    patch = tuple(TIMES_THE_STRIDE * stride for stride in config.total_stride)
    parts = parts_of(ForeignNetwork(config), patch)
    height = TOP + ROW * len(parts) + 24
    size = " x ".join(map(str, patch))
    lines = [
        _text(LEFT, 30, title, size=17, weight="bold"),
        _text(LEFT, 52, f"a patch of {size}; sizes are multiples of "
              + " x ".join(map(str, config.total_stride))),
    ]  # fmt: skip
    widest = max(part.parameters for part in parts) or 1
    for place, part in enumerate(parts):
        lines += _row(TOP + ROW * place, part, widest)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            *lines,
            "</svg>\n",
        ]
    )


def parts_of(network: ForeignNetwork, patch: tuple[int, ...]) -> list[Part]:
    """What a patch goes through, in forward order, counted by shapes alone."""
    model = network.model.eval().to("meta")
    chosen = dict(model.named_children()) or {"network": model}
    while True:  # the largest part is drawn by its own parts as long as there is room
        inner = {
            name: dict(module.named_children())
            for name, module in chosen.items()
            if 1 < len(list(module.children())) <= MOST_PARTS - len(chosen) + 1
        }
        if not inner:
            break
        name = max(inner, key=lambda each: parameter_count(chosen[each]))
        opened = {f"{name}.{child}": module for child, module in inner[name].items()}
        chosen = {
            key: module
            for each, own in chosen.items()
            for key, module in (opened if each == name else {each: own}).items()
        }
    used: list[Part] = []
    hooks = [m.register_forward_hook(partial(_note, used, n)) for n, m in chosen.items()]
    image = torch.zeros(1, network.config.in_channels, *patch, device="meta")
    with torch.no_grad(), without_warnings():
        logits = model(image)
    for hook in hooks:
        hook.remove()
    return [
        Part("image", "", tuple(image.shape[1:]), 0),
        *used,
        Part("logits", "", tuple(logits.shape[1:]), 0),
    ]


def _note(used: list[Part], name: str, module: nn.Module, _: Any, output: Any) -> None:
    tensors = [output] if isinstance(output, Tensor) else list(_tensors(output))
    shape = tuple(tensors[-1].shape[1:]) if tensors else ()
    used.append(Part(name, type(module).__name__, shape, parameter_count(module)))


def _tensors(value: Any) -> Iterator[Tensor]:
    for each in value if isinstance(value, list | tuple) else ():
        if isinstance(each, Tensor):
            yield each


def _row(y: int, part: Part, widest: int) -> list[str]:
    colour = GREEN if "decoder" in part.name or "up" in part.name else BLUE
    bar = 4 + round(60 * part.parameters / widest)
    shape = " x ".join(map(str, part.shape))
    count = f"{part.parameters / 1e6:.2f} M" if part.parameters else ""
    fill = colour if part.parameters else GREY
    return [
        f'<rect x="{LEFT}" y="{y}" width="{bar}" height="18" rx="3" fill="{fill}"/>',
        _text(LEFT + 76, y + 13, f"{part.name}  {part.kind}"),
        _text(WIDTH - 100, y + 13, shape, anchor="end"),
        _text(WIDTH - 24, y + 13, count, anchor="end"),
    ]


def _text(x: int, y: int, text: str, size: int = 12, weight: str = "normal",
          anchor: str = "start") -> str:  # fmt: skip
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{INK}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
