"""What a running service counts."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import png


def counted(client, name: str) -> dict[tuple, float]:
    """Samples of a name by the values of their labels, in the order of the labels' names."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in samples
        if sample.name == name
    }


def growth(client, name: str, before: dict[tuple, float]) -> dict[tuple, float]:
    now = counted(client, name)
    grown = {key: value - before.get(key, 0) for key, value in now.items()}
    return {key: value for key, value in grown.items() if value}


def test_errors_are_counted_by_their_kind(client):
    before = counted(client, "seg_errors_total")
    client.post("/segment", content=b"no image")
    client.post("/segment", content=png([[0] * 9] * 9)[:50])
    client.post("/segment", content=b"x" * 1_000_001)
    client.get("/Miller_Anna")
    client.get("/models/none")
    assert growth(client, "seg_errors_total", before) == {
        ("not_an_image", "/segment"): 1,
        ("unfit", "/segment"): 1,
        ("too_large", "/segment"): 1,
        ("not_found", "unknown"): 1,
        ("not_found", "/models/{name}"): 1,
    }


def test_the_stages_of_a_segmentation_are_those_of_its_time(client):
    count, total = "seg_stage_seconds_count", "seg_stage_seconds_sum"
    before, seconds = counted(client, count), counted(client, total)
    whole = counted(client, "seg_request_seconds_sum")
    assert client.post("/segment", content=png(np.full((200, 200), 100))).status_code == 200
    stages = growth(client, count, before)
    model = ("nearest-level",)
    assert stages == {
        (*model, stage, "1"): 1
        for stage in ("wait", "decode", "queue", "network", "stitch", "encode")
    }
    spent = growth(client, total, seconds)
    request = growth(client, "seg_request_seconds_sum", whole)[("/segment",)]
    assert 0 < spent[(*model, "network", "1")] < sum(spent.values()) <= request
