# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The residual U-Net.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches

from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.block import Droppable, initialise
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.decoder import Decoder, Level, SkipGate
from seg.networks.encoder import Encoder
from seg.networks.pretrained import PretrainedEncoder


class ResidualUNet(nn.Module):
    """A residual encoder, a decoder with skips between them, and 1x1 heads.

    Source: Ronneberger et al., U-Net, MICCAI 2015; the layout of encoder and decoder after
    Isensee et al., nnU-Net Revisited, MICCAI 2024.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Module = (
            Encoder(config) if config.encoder == RESIDUAL else PretrainedEncoder(config)
        )
        self.decoder = Decoder(config)
        # nnU-Net gives the coarsest head the weight 0, so it is not built; its weights would
        # never see a gradient.
        supervised = max(1, len(self.decoder.levels) - 1) if config.deep_supervision else 1
        self.heads = nn.ModuleList(
            config.layers.pointwise(width, config.num_classes, bias=True)
            for width in self.decoder.out_channels[:supervised]
        )
        initialise(self.heads)

    def forward(
        self, x: Float[Tensor, "b c *spatial"]
    ) -> Float[Tensor, "b k *spatial"] | list[Float[Tensor, "b k *_"]]:
        """Return logits; in training mode with deep supervision one a level, finest first.

        Raises:
            ConfigError: a size is no multiple of ``config.total_stride``.
        """
        self._check_size(tuple(x.shape[2:]))
        levels = self.decoder(self.encoder(x))
        if self.training and self.config.deep_supervision:
            return [head(level) for head, level in zip(self.heads, levels, strict=False)]
        return self.heads[0](levels[0])

    def _check_size(self, size: tuple[int, ...]) -> None:
        stride = self.config.total_stride
        if len(size) != len(stride) or any(n % s for n, s in zip(size, stride, strict=True)):
            raise ConfigError(
                f"spatial sizes must be multiples of {stride}, got {size}; pad the input"
            )

    def droppable_blocks(self, *, reshaping: bool = False) -> tuple[str, ...]:
        """Names of the blocks whose shortcut adds and keeps the shape, in forward order.

        Args:
            reshaping: name those as well that change the shape; what is left of one is the
                projection around its branch.
        """
        return tuple(
            name
            for name, module in self.named_modules()
            if isinstance(module, Droppable)
            and (module.is_droppable or (reshaping and module.has_droppable_branch))
        )

    def gated_skips(self) -> tuple[str, ...]:
        """Names of the decoder's levels whose skip has a gate, coarsest first."""
        return tuple(
            name
            for name, module in self.named_modules()
            if isinstance(module, Level) and isinstance(module.gate, SkipGate)
        )

    def without(self, blocks: Iterable[str]) -> "ResidualUNet":
        """A smaller copy that computes what this network does when those branches give 0.

        The weights that are left keep their names.

        Args:
            blocks: some of ``droppable_blocks(reshaping=True)``, and of ``gated_skips()``, whose
                levels then do without the encoder's features.

        Raises:
            ConfigError: a name is none of them.
        """
        smaller = deepcopy(self)
        chosen, skips = tuple(blocks), self.gated_skips()
        smaller._drop(name for name in chosen if name not in skips)
        for name in skips:
            if name in chosen:
                level = smaller.get_submodule(name)
                assert isinstance(level, Level)
                smaller.set_submodule(name, level.without_skip())
        return smaller

    @contextmanager
    def skipping(self, blocks: Iterable[str]) -> Iterator[None]:
        """Be ``without(blocks)`` for a while, with the same weights: what is left still learns.

        Raises:
            ConfigError: a name is not one of ``droppable_blocks(reshaping=True)``.
        """
        dropped = self._drop(blocks)
        try:
            yield
        finally:
            for name, block in dropped.items():
                self.set_submodule(name, block)

    def _drop(self, blocks: Iterable[str]) -> dict[str, nn.Module]:
        """Put what is left of them in the place of blocks, which are returned."""
        droppable, chosen = self.droppable_blocks(reshaping=True), tuple(blocks)
        for name in chosen:
            if name not in droppable:
                near = get_close_matches(name, droppable, n=3) or droppable[:3] or ("none",)
                raise ConfigError(
                    f"no droppable block is called {name!r}; the nearest are {', '.join(near)}"
                )
        dropped: dict[str, nn.Module] = {}
        for name in chosen:
            dropped[name] = block = self.get_submodule(name)
            assert isinstance(block, Droppable)
            self.set_submodule(name, block.without_branch())
        return dropped
