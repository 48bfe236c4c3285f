import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper

from seg.errors import PackageError
from seg.files import sha256_of, written_whole
from seg.model_package import CARD_HASH_FILE, ModelPackage, write_card
from seg.model_package.__main__ import main as accept


@pytest.fixture
def package(tiny_package, tmp_path):
    return shutil.copytree(tiny_package, tmp_path / "package")


def edit(package, **fields):
    card = json.loads((package / "model.json").read_text())
    (package / "model.json").write_text(json.dumps(card | fields))
    (package / CARD_HASH_FILE).unlink(missing_ok=True)


def test_a_package_reads_back_what_was_written(tiny_package):
    package = ModelPackage.load(tiny_package)
    assert [info.name for info in package.card.classes] == ["background", "cytoplasm", "nucleus"]
    assert package.golden().patches.shape[1:] == (1, 32, 32)


def test_two_classes_of_one_name_are_no_package_since_counts_are_told_by_name(package):
    classes = json.loads((package / "model.json").read_text())["classes"]
    classes[2]["name"] = classes[1]["name"]
    edit(package, classes=classes)
    with pytest.raises(PackageError, match="each class needs a name of its own"):
        ModelPackage.load(package)


def test_a_changed_byte_is_found(package):
    content = bytearray((package / "network.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (package / "network.onnx").write_bytes(content)
    with pytest.raises(PackageError, match=r"network.onnx was changed after the export"):
        ModelPackage.load(package)


def test_a_changed_card_is_found_until_it_is_taken_as_it_is(package, capsys):
    card = (package / "model.json").read_text()
    (package / "model.json").write_text(card.replace("cytoplasm", "sytoplasm"))
    with pytest.raises(PackageError, match=r"model.json was changed after the export"):
        ModelPackage.load(package)
    assert accept([str(package)]) == 0
    assert ModelPackage.load(package).card.classes[1].name == "sytoplasm"
    (package / "model.json").write_text("{}")
    assert accept([str(package)]) == 2
    assert "schema versions" in capsys.readouterr().err


def test_a_package_can_be_read_at_any_moment_while_its_card_is_replaced(package, monkeypatch):
    seen = []

    def and_read(path, content, **_):
        path.write_bytes(content)
        seen.append(ModelPackage.load(package).card.licence)

    card = ModelPackage.load(package).card
    monkeypatch.setattr("seg.model_package.folder.replace_file", and_read)
    write_card(package, card.model_copy(update={"licence": "of the ward"}))
    assert seen == [card.licence, "of the ward", "of the ward"]


def test_a_package_of_before_there_were_hashes_of_cards_is_read(package):
    (package / CARD_HASH_FILE).unlink()
    assert ModelPackage.load(package).card.version == "1"


@pytest.mark.parametrize("name", ["network.onnx", "golden.npz"])
def test_a_missing_file_is_named(package, name):
    (package / name).unlink()
    with pytest.raises(PackageError, match=f"lacks {name}"):
        ModelPackage.load(package)


@pytest.mark.parametrize("content", [b"[" * 99_999, b"9" * 9999, b"\xff"])
def test_a_card_that_is_no_json_is_told_so(package, content):
    (package / "model.json").write_bytes(content)
    with pytest.raises(PackageError, match=r"model\.json cannot be read"):
        ModelPackage.load(package)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x93NUMPY\x01\0\x04\0{{{{", b""])
def test_golden_samples_that_are_none_are_told_so(package, content):
    loaded = ModelPackage.load(package)
    (package / "golden.npz").write_bytes(content)
    with pytest.raises(PackageError, match=r"golden\.npz cannot be read"):
        loaded.golden()


def test_the_folder_of_a_run_says_which_folder_is_meant(package):
    (package.parent / "run").mkdir()
    package.rename(package.parent / "run" / "package")
    with pytest.raises(PackageError, match=r"has no model.json; did you mean .*/run/package\?"):
        ModelPackage.load(package.parent / "run")


def test_a_folder_without_a_card_is_no_package(tmp_path):
    with pytest.raises(PackageError, match=r"is no model package: it has no model.json"):
        ModelPackage.load(tmp_path)


def test_another_schema_version_is_refused(package):
    edit(package, schema_version=99)
    with pytest.raises(PackageError, match="schema versions 1 and 2, the package has 99"):
        ModelPackage.load(package)


def test_a_package_of_the_first_schema_version_is_read_as_it_is(package):
    edit(package, schema_version=1)
    variant = ModelPackage.load(package).card.variant()
    assert (variant.weights, variant.tolerance) == (None, 1e-4)


def test_an_unknown_field_is_refused(package):
    edit(package, suprise=1)
    with pytest.raises(PackageError, match="not valid at suprise"):
        ModelPackage.load(package)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("spacing", [float("nan"), 1], "spacing"),
        ("spacing", [-1, 1], "spacing"),
        ("spacing", [0, 1], "spacing"),
        ("spacing", [1e-300, 1], "spacing"),
        ("spacing", [float("inf"), 1], "spacing"),
        ("margin", [-1, 0], "margin"),
        ("normalisation", [{"kind": "rescale", "low": 255, "high": 0}], "low must lie below high"),
        ("normalisation", [{"kind": "rescale", "low": 5, "high": 5}], "low must lie below high"),
        ("normalisation", [{"kind": "rescale", "low": 0, "high": float("inf")}], "finite"),
        (
            "normalisation",
            [{"kind": "clip_zscore", "low": 0, "high": 1, "mean": 0, "std": -1}],
            "std is a deviation",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_numbers_that_would_spoil_every_image_are_refused(package, field, value, sentence):
    card = json.loads((package / "model.json").read_text())
    card["input"]["preprocessing"][field] = value
    edit(package, **card)
    with pytest.raises(PackageError, match=sentence):
        ModelPackage.load(package)


def test_a_file_outside_of_the_package_is_refused(package):
    card = json.loads((package / "model.json").read_text())
    card["variants"][0]["file"] = "../network.onnx"
    edit(package, **card)
    with pytest.raises(PackageError, match="in its own folder only"):
        ModelPackage.load(package)


def outside(place):
    """Weights that lie in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="offset", value="4096")
    weights.external_data.add(key="location", value=place)
    return weights


def with_initializer(model, weights):
    model.graph.initializer.append(weights)


def with_constant(model, weights):
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=weights))


def within_a_loop(model, weights):
    constant = helper.make_node("Constant", [], ["c"], value=weights)
    body = helper.make_graph([constant], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["l"], body=body))


def within_a_function(model, weights):
    constant = helper.make_node("Constant", [], ["c"], value=weights)
    model.functions.append(helper.make_function("d", "F", [], ["c"], [constant], []))


@pytest.mark.parametrize(
    ("place", "put"),
    [
        *((place, with_initializer) for place in ("/etc/passwd", "../w", "golden.npz", "")),
        *(
            ("*/_ORT_MEM_ADDR_/*", put)  # to OpenVINO an address in memory
            for put in (with_initializer, with_constant, within_a_loop, within_a_function)
        ),
    ],
)
def test_a_network_takes_weights_from_files_that_the_card_names_and_from_no_other(
    package, place, put
):
    model = onnx.load(package / "network.onnx")
    put(model, outside(place))
    renewed(package, model.SerializeToString())
    with pytest.raises(PackageError, match="does not name as its weights"):
        ModelPackage.load(package)


def renewed(package, content):
    """Another network, with its hash in the card."""
    (package / "network.onnx").write_bytes(content)
    card = json.loads((package / "model.json").read_text())
    card["variants"][0]["sha256"] = sha256_of(package / "network.onnx")
    edit(package, variants=card["variants"])


@pytest.mark.parametrize("content", [b"", b"<net></net>", b"\x3a\xff\xff\xff\xff\x0f", b"\x3b\x3c"])
def test_a_network_that_is_no_onnx_is_told_so(package, content):
    renewed(package, content)
    with pytest.raises(PackageError, match=r"network.onnx is no ONNX file"):
        ModelPackage.load(package)


def test_a_network_of_millions_of_parts_is_not_looked_through(package, monkeypatch):
    monkeypatch.setattr("seg.model_package.outside_weights.MOST_FIELDS", 100)
    renewed(package, b"\x08\x01" * 101)
    with pytest.raises(PackageError, match="at most 100 parts"):
        ModelPackage.load(package)


def test_garbage_in_the_card_is_one_clear_error(package):
    (package / "model.json").write_bytes(b"\xff{")
    with pytest.raises(PackageError, match="cannot be read"):
        ModelPackage.load(package)


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "package"
    for content in ("old", "new"):
        with written_whole(target) as folder:
            (folder / "file").write_text(content)
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_stays_as_it_was_when_writing_fails(tmp_path):
    target = tmp_path / "package"
    with written_whole(target) as folder:
        (folder / "file").write_text("old")

    def write_half() -> None:
        with written_whole(target) as folder:
            (folder / "file").write_text("half")
            (folder / "no such folder" / "file").write_text("lost")

    with pytest.raises(FileNotFoundError):
        write_half()
    assert (target / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
