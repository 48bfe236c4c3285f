"""What meets the image first."""

from dataclasses import dataclass

from seg.networks.layers import Axes


@dataclass(frozen=True, slots=True)
class Stem:
    """Kernel of the first convolutions, how many, and whether a max pool follows."""

    kernel_size: int | None
    """None: the first stage's."""
    max_pool: bool
    convs: int = 1

    def kernel(self, first_stage: Axes) -> Axes:
        """Kernel size along each axis; 1 where the first stage's is 1."""
        if self.kernel_size is None:
            return first_stage
        return tuple(self.kernel_size if k > 1 else 1 for k in first_stage)


STEMS: dict[str, Stem] = {
    # Isensee et al., nnU-Net Revisited, MICCAI 2024.
    "conv": Stem(kernel_size=None, max_pool=False),
    # Ronneberger et al., U-Net, MICCAI 2015, fig. 1; the first stage then has no blocks.
    "double": Stem(kernel_size=None, max_pool=False, convs=2),
    # He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1.
    "resnet": Stem(kernel_size=7, max_pool=True),
}
