"""Objects told apart: from what a network says of each voxel to things that can be counted.

Letters: ``n`` objects. A network's channels say where a class is, and how deep a voxel lies in its
object; seeds and floods make objects of that (``flooding``), block by block where the image is
large (``blocks``).
"""

from seg.objects.blocks import Evidence, decode
from seg.objects.counting import Count
from seg.objects.evidence import class_logits, heights_of
from seg.objects.flooding import Flooded, SeedRule, components, flooded
from seg.objects.measurements import columns_of, measure_objects
from seg.objects.meter import ObjectsMeter, SlabTaker, mean_certainty
from seg.objects.objects import Objects
from seg.objects.splitting import Shaping, boxes_of, parts_of, split_labels, splitting_warning
from seg.objects.writing import (
    LABEL_SUFFIX,
    OBJECT_FORMATS,
    STREAMED_OBJECT_FORMATS,
    count_cells,
    counts_in_json,
    encode_instances,
    object_parts,
)

__all__ = [
    "LABEL_SUFFIX",
    "OBJECT_FORMATS",
    "STREAMED_OBJECT_FORMATS",
    "Count",
    "Evidence",
    "Flooded",
    "Objects",
    "ObjectsMeter",
    "SeedRule",
    "Shaping",
    "SlabTaker",
    "boxes_of",
    "class_logits",
    "columns_of",
    "components",
    "count_cells",
    "counts_in_json",
    "decode",
    "encode_instances",
    "flooded",
    "heights_of",
    "mean_certainty",
    "measure_objects",
    "object_parts",
    "parts_of",
    "split_labels",
    "splitting_warning",
]
