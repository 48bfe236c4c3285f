"""A trained network to a model package, proven. Letters: ``b`` batch, ``c`` channels.

Nothing is exported that does not say what the network said: ONNX and network are compared on real
patches, and the package is written whole or not at all.
"""

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from seg.inference.backends.features import OUTPUT as FEATURES
from seg.networks import ResidualUNet, SegmentationNetwork, UNetConfig
from seg.networks.config import RESIDUAL
from training.onnx_files.swin_masks import short_masks

OPSET = 20


NETWORK_KEY = "seg.network"
"""Of the ONNX file's metadata: what else is needed to build the network again."""


FEW = 0.05
"""Share of the weights that may stand in the metadata."""


SAMPLES_A_BATCH = 2
"""More than one, so that a network which mixes up its batch is found out."""


def write_onnx(
    network: nn.Module,
    example: Float32[np.ndarray, "b c *patch"],
    file: Path,
    *,
    exact_norms: bool = True,
) -> None:
    """Write ONNX with the example's patch and any batch size.

    Args:
        network: in eval mode.
        example: patches.
        file: to write.
        exact_norms: add up instance norms axis by axis. Where precision is given up anyway, the
            operator of one piece is faster: 68 ms against 126 ms a patch in int8.
    """
    if len(example) < SAMPLES_A_BATCH:  # torch.export takes a batch of 1 for a constant
        example = np.concatenate([example] * SAMPLES_A_BATCH)
    free = _needs_a_free_batch(network)
    written = _with_staged_norms(network) if exact_norms else network
    outputs = ["logits"]
    if isinstance(network, ResidualUNet):
        written, outputs = _with_features(written), [*outputs, FEATURES]
    with _quiet(), short_masks():
        program = torch.onnx.export(
            written,
            (torch.from_numpy(np.ascontiguousarray(example)),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["patches"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},) if free else None,
            external_data=False,
        )
    assert program is not None
    if not free:
        _free_batch(program.model.graph)
    if isinstance(network, SegmentationNetwork):
        about = _rebuilding(network, program.model.graph.initializers)
        if about:
            program.model.metadata_props[NETWORK_KEY] = json.dumps(about)
    _forget_the_source(program.model.graph)
    program.save(str(file), external_data=False)


class _WithFeatures(ResidualUNet):
    """Says beside its logits what it sees: mean and deviation of each channel at the bottleneck."""

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "b c *patch"]
    ) -> tuple[Float[Tensor, "b k *patch"], Float[Tensor, "b f"]]:
        """Return logits and features."""
        stages = self.encoder(x)
        deepest = stages[-1]
        axes = tuple(range(2, deepest.ndim))
        mean = deepest.mean(axes)  # no view, which would fix the batch where it is traced as one
        variance = (deepest * deepest).mean(axes) - mean * mean
        features = torch.cat([mean, torch.sqrt(torch.relu(variance))], dim=1)
        return self.heads[0](self.decoder(stages)[0]), features


def _with_features(network: nn.Module) -> nn.Module:
    """A copy with another forward: a module around it would give all weights other names."""
    changed = copy.copy(network)
    changed.__class__ = _WithFeatures
    return changed


def _needs_a_free_batch(network: nn.Module) -> bool:
    """Whether the batch must be a symbol while the network is traced.

    Convolutions, instance and batch norms do not ask for it: traced as a number they take half
    the time, 2.1 s against 4.1 s for a network of three stages.
    """
    if not isinstance(network, ResidualUNet):
        return True
    config = network.config
    reshapes = config.attention_blocks > 0 or config.normalisation not in ("instance", "batch")
    return reshapes or config.encoder != RESIDUAL


def _free_batch(graph: Any) -> None:
    """Let the batch of a graph, traced as a number, have any size.

    Args:
        graph: of onnx_ir, which is not typed.
    """
    for value in (*graph.inputs, *graph.outputs):
        value.shape[0] = "batch"
    for node in graph:  # what else was inferred from that number
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _forget_the_source(graph: Any) -> None:
    """Remove what the exporter notes of the code at every node: 0.9 MB, with this machine's paths.

    Args:
        graph: of onnx_ir, which is not typed.
    """
    graph.metadata_props.clear()
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.metadata_props.clear()


def _rebuilding(network: SegmentationNetwork, stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """The network's shape, and the weights that the exporter left out or named anew.

    None where these are many: batch norms were merged into convolutions.
    """
    used = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("heads.") or name.startswith("heads.0.")
    }
    missing = {name: tensor for name, tensor in used.items() if name not in stored}
    if sum(t.numel() for t in missing.values()) > FEW * sum(t.numel() for t in used.values()):
        return None
    config = network.config
    if isinstance(config, UNetConfig):
        config = replace(config, deep_supervision=False, weights=None)
    return {
        "config": asdict(config),
        "weights": {name: tensor.flatten().tolist() for name, tensor in missing.items()},
    }


class _StagedInstanceNorm(nn.Module):
    """Instance norm that takes its means axis by axis.

    onnxruntime's own adds up a whole patch in one row of float32: with 192² pixels, half of them
    empty, its probabilities were off by 1.1e-4, and by 1.5e-6 this way, at 8 % more time.
    OpenVINO puts means that follow each other into one, which does the same; a sum it leaves alone.
    """

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.eps = norm.eps
        shape = (1, -1, *(1,) * (2 if isinstance(norm, nn.InstanceNorm2d) else 3))
        # not views in forward: the exporter would fold them and give the weights other names
        self.weight = nn.Parameter(norm.weight.detach().view(shape)) if norm.affine else None
        self.bias = nn.Parameter(norm.bias.detach().view(shape)) if norm.affine else None

    def forward(self, x: Float[Tensor, "b c *patch"]) -> Float[Tensor, "b c *patch"]:
        """Return ``x`` with mean 0 and deviation 1 a channel, scaled and shifted if affine."""
        centred = x - _mean(x)
        scale = torch.rsqrt(_mean(centred * centred) + self.eps)
        if self.weight is None or self.bias is None:
            return centred * scale
        return centred * (scale * self.weight) + self.bias


def _mean(x: Float[Tensor, "b c *patch"]) -> Float[Tensor, "b c *ones"]:
    for turn, axis in enumerate(range(x.ndim - 1, 1, -1)):
        size = x.shape[axis]
        x = x.sum(axis, keepdim=True) / size if turn % 2 else x.mean(axis, keepdim=True)
    return x


def _with_staged_norms(network: nn.Module) -> nn.Module:
    changed = copy.deepcopy(network)
    for module in list(changed.modules()):
        for name, child in module.named_children():
            if not isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d):
                continue
            if not child.track_running_stats:  # those normalise by what they remember
                setattr(module, name, _StagedInstanceNorm(child))
    return changed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks to stdout and warns about its own insides."""
    loggers: Sequence[logging.Logger] = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
