"""Variants under load: chosen for each request, told to the client, never mixed in one image."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from seg.files import sha256_of
from seg.inference import load_backend
from seg.model_package import ModelPackage, Score, write_card, write_golden
from service.models.variants import (
    HOLD_S,
    ServedVariant,
    VariantChooser,
    load_rungs,
    usable_variants,
)
from service.problems.response import Problem
from service.requests.options import Ask
from service.settings import Settings
from tests.packages import write_package
from tests.service.conftest import labels_of, png, serving

HEADER = "X-Segmentation-Variant"


def elastic_package(folder):
    """Of two variants: one that works hard, and a fast one to which all is class 1."""
    package = ModelPackage.load(write_package(folder))
    plain = onnx.load(package.model_file())
    onnx.save(working_hard(plain), folder / "full.onnx")
    onnx.save(blind(plain), folder / "fast.onnx")
    golden = package.golden()
    said = load_backend(package, provider="cpu").run(golden.patches)
    blinded = said + np.array([0, 1000, 0], np.float32).reshape(1, 3, 1, 1)
    variants = [
        package.card.variant().model_copy(
            update={
                "name": name,
                "file": f"{name}.onnx",
                "sha256": sha256_of(folder / f"{name}.onnx"),
                "dice": {
                    c: Score(dice=dice, ci95=(dice, dice), cases=1)
                    for c in ("cytoplasm", "nucleus")
                },
            }
        )
        for name, dice in (("full", 0.9), ("fast", 0.8))
    ]
    sha256 = write_golden(folder, golden, {"fast": blinded})
    write_card(
        folder,
        package.card.model_copy(update={"variants": tuple(variants), "golden_sha256": sha256}),
    )
    return folder


def working_hard(plain):
    """The same logits, after a thousand times the work whose result is multiplied by 0."""
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    rng = np.random.default_rng(0)
    names, nodes, weights = ["patches"], [], []
    for layer in range(12):
        shape = (64, 64 if layer else 1, 3, 3)
        array = rng.normal(0, (1 / (9 * shape[1])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"work{layer}"))
        names.append(f"worked{layer}")
        nodes.append(
            helper.make_node("Conv", [names[-2], f"work{layer}"], names[-1:], pads=[1] * 4)
        )
    last = numpy_helper.from_array(np.zeros((3, 64, 1, 1), np.float32), "nothing")
    nodes += [
        helper.make_node("Conv", [names[-1], "nothing"], ["zero"]),
        helper.make_node("Add", ["bands", "zero"], ["logits"]),
    ]
    model.graph.initializer.extend([*weights, last])
    replace_end(model, nodes)
    return model


def blind(plain):
    """Sure of class 1 everywhere."""
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    array = np.array([0, 1000, 0], np.float32).reshape(1, 3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(array, "sure"))
    replace_end(model, [helper.make_node("Add", ["bands", "sure"], ["logits"])])
    return model


def replace_end(model, nodes):
    assert model.graph.node[-1].op_type == "Identity"
    del model.graph.node[-1]
    model.graph.node.extend(nodes)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return elastic_package(tmp_path_factory.mktemp("elastic") / "package")


@pytest.fixture(scope="module")
def client(package, tmp_path_factory):
    settings = {"SEG_LOWEST_QUALITY": "fast", "SEG_MAX_WAIT_S": "0.05"}
    with serving(package, tmp_path_factory.mktemp("elastic-server"), **settings) as client:
        yield client


IMAGE = np.full((70, 70), 200)
"""All nucleus to the full network; it takes several patches."""


def test_a_quiet_service_answers_with_the_whole_network(client):
    answer = client.post("/segment", content=png(IMAGE))
    assert answer.headers[HEADER] == "full; dice=0.9000"
    assert (labels_of(answer.content) == 2).mean() > 0.9


def test_a_request_may_ask_for_speed(client):
    answer = client.post("/segment", content=png(IMAGE), params={"quality": "fast"})
    assert answer.headers[HEADER] == "fast; dice=0.8000"
    assert np.unique(labels_of(answer.content)).tolist() == [1]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"quality": "best"}, "quality is full, balanced, fast, got 'best'"),
        ({"deadline_ms": "soon"}, "deadline_ms is a number of milliseconds above 0, got 'soon'"),
        ({"deadline_ms": "-1"}, "above 0"),
        ({"deadline_ms": "inf"}, "above 0"),
    ],
)
def test_a_wish_that_cannot_be_is_told(client, params, words):
    answer = client.post("/segment", content=png(IMAGE), params=params)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_deadline_that_has_all_but_passed_is_a_refusal_with_a_reason(client):
    answer = client.post("/segment", content=png(IMAGE), params={"deadline_ms": "0.001"})
    assert answer.status_code == 503
    assert "no variant would answer before" in answer.json()["detail"]


def test_under_load_every_image_is_of_one_variant_and_the_metrics_count_both(client):
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: client.post("/segment", content=png(IMAGE)), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    alone = {
        quality: client.post("/segment", content=png(IMAGE), params={"quality": quality})
        for quality in ("full", "fast")
    }
    expected = {each.headers[HEADER]: labels_of(each.content) for each in alone.values()}
    assert len(expected) == 2
    for answer in answers:
        np.testing.assert_array_equal(labels_of(answer.content), expected[answer.headers[HEADER]])
    assert any(answer.headers[HEADER].startswith("fast") for answer in answers)
    counted = client.get("/metrics").text
    for variant in ("full", "fast"):
        assert re.search(f'seg_variant_answers_total{{.*variant="{variant}"', counted)


def test_the_operator_s_default_is_full_quality_alone(package):
    settings = Settings(package=package, provider="cpu")
    loaded = ModelPackage.load(package)
    rungs = load_rungs(loaded, load_backend(loaded, provider="cpu"), settings)
    assert [rung.variant for rung in rungs] == ["full"]


def test_a_variant_that_is_named_has_its_own_scores_and_the_package_s_hash(package):
    loaded = ModelPackage.load(package)
    settings = Settings(package=package, provider="cpu", variant="fast")
    (rung,) = load_rungs(loaded, load_backend(loaded, "fast", "cpu"), settings)
    assert rung.package.card.metrics == loaded.card.variant("fast").dice != loaded.card.metrics
    assert rung.package.made_by == replace(loaded.made_by, variant="fast")


def test_a_variant_that_disagrees_with_its_golden_samples_is_left_out(package, tmp_path):
    loaded = ModelPackage.load(package)
    wrong = elastic_package(tmp_path / "wrong")
    golden = loaded.golden()
    sha256 = write_golden(wrong, golden, {"fast": golden.logits})
    write_card(wrong, loaded.card.model_copy(update={"golden_sha256": sha256}))
    loaded = ModelPackage.load(wrong)
    settings = Settings(package=wrong, provider="cpu", lowest_quality="fast")
    rungs = load_rungs(loaded, load_backend(loaded, "full", "cpu"), settings)
    assert [rung.variant for rung in rungs] == ["full"]


# The choice itself, with a clock that stands


def rung(variant, dice, patch_s):
    return ServedVariant(variant, None, dice, patch_s, None)


RUNGS = [rung("full", 0.90, 0.1), rung("int8", 0.897, 0.05), rung("small", 0.87, 0.02)]


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def chooser(now):
    return VariantChooser(RUNGS, wait_s=1.0, clock=lambda: now[0])


def chosen(chooser, active, ask=None, running=1, waited_s=0.0):
    return chooser.choose(ask or Ask(), active, running, waited_s).variant


@pytest.mark.parametrize(
    ("active", "variant"),
    [(1, "full"), (11, "full"), (12, "int8"), (21, "int8"), (22, "small"), (900, "small")],
)
def test_the_best_variant_that_keeps_the_wait_is_chosen(chooser, active, variant):
    assert chosen(chooser, active) == variant


def test_full_quality_comes_back_step_by_step_when_it_is_calm(chooser, now):
    assert chosen(chooser, 30) == "small"
    assert chosen(chooser, 1) == "small"
    now[0] += HOLD_S
    assert chosen(chooser, 12) == "small"  # int8 would wait for 0.55 s: not calm enough
    assert chosen(chooser, 11) == "int8"
    assert chosen(chooser, 1) == "int8"
    now[0] += HOLD_S
    assert chosen(chooser, 6) == "full"


def test_an_image_that_takes_longer_than_the_wait_gets_full_quality_when_it_is_alone(chooser, now):
    for _ in range(200):
        chooser.took(RUNGS[0], 300, 30.0, running=1)
    assert chosen(chooser, 1) == "full"
    assert chosen(chooser, 2) == "small"
    now[0] += HOLD_S
    assert chosen(chooser, 1) == "int8"
    now[0] += HOLD_S
    assert chosen(chooser, 1) == "full"


def test_requests_of_many_patches_count_for_more(chooser):
    for _ in range(200):
        chooser.took(RUNGS[0], 10, 1.0, running=1)
    assert chosen(chooser, 2) == "full"
    assert chosen(chooser, 3) == "int8"


def test_what_a_request_costs_beside_its_patches_counts_with_every_variant(chooser):
    for _ in range(200):  # 0.4 s for two at a time, half of it on a patch of the full network
        chooser.took(RUNGS[0], 1, 0.4, running=2)
    assert [round(chooser.wait_s(level, 1), 3) for level in range(3)] == [0.2, 0.15, 0.12]
    assert chosen(chooser, 6) == "full"
    assert chosen(chooser, 7) == "int8"


@pytest.mark.parametrize(
    ("quality", "variant"), [("full", "full"), ("balanced", "int8"), ("fast", "small")]
)
def test_a_wish_is_met_whatever_the_load(chooser, quality, variant):
    assert chosen(chooser, 1, Ask(quality)) == variant
    assert chosen(chooser, 900, Ask(quality)) == variant


@pytest.mark.parametrize(
    ("deadline_s", "waited_s", "variant"),
    [(1, 0, "full"), (1, 0.95, "int8"), (0.03, 0, "small"), (0.001, 0, "small")],
)
def test_a_deadline_gets_the_best_variant_that_ends_in_time(chooser, deadline_s, waited_s, variant):
    assert chosen(chooser, 1, Ask(deadline_s=deadline_s), waited_s=waited_s) == variant


def test_a_deadline_that_is_far_away_does_not_hold_up_the_others(chooser):
    assert chosen(chooser, 900, Ask(deadline_s=3600)) == "small"


def test_what_no_variant_can_answer_in_time_is_refused_at_once(chooser):
    chooser.refuse_what_is_late(Ask(deadline_s=1.0), active=50)
    chooser.refuse_what_is_late(Ask(), active=900)
    with pytest.raises(Problem, match=r"before 1\.1 s, and the deadline is 1 s") as refused:
        chooser.refuse_what_is_late(Ask(deadline_s=1.0), active=55)
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "1"}


def test_a_service_with_one_variant_does_not_guess_what_it_needs():
    alone = VariantChooser([rung("full", 0.9, math.inf)], wait_s=1.0)
    alone.refuse_what_is_late(Ask(deadline_s=0.01), active=900)


@pytest.mark.parametrize(
    ("lowest", "variants"),
    [("full", ["full"]), ("balanced", ["full", "int8"]), ("fast", ["full", "int8", "small"])],
)
def test_nobody_gets_less_than_the_operator_allows(lowest, variants):
    assert [each.variant for each in usable_variants(RUNGS, lowest)] == variants


def test_a_variant_that_is_slower_here_is_no_rung():
    slow = rung("int8", 0.899, 0.2)
    assert [each.variant for each in usable_variants([RUNGS[0], slow, RUNGS[2]], "fast")] == [
        "full",
        "small",
    ]
