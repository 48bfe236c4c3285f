import pytest

from data.card import load_card, load_cards
from seg.errors import DatasetError

SMALL = """
name: small
summary: one file
about: one file
rights: none
packages:
  - package: some-package
    version: 1.0
    kind: wheel
    megabytes: 1
    sha256: {sha256}
    licence: MIT
    files: {{{name}: {{path: inside/a.tif, sha256: {sha256}}}}}
"""


def card_text(name="a.tif", sha256="a" * 64):
    return SMALL.format(name=name, sha256=sha256).replace("version: 1.0", 'version: "1.0"')


def test_the_datasets_of_the_documentation_have_cards():
    assert load_cards().keys() == {
        *("scratch-assay", "hela", "cho", "ct-organs", "stained-tissue", "slicer-chest"),
        *("ct-dicom", "dicom-seg", "phantom", "phantom-3d", "efficientnet-lite0"),
    }


@pytest.mark.parametrize("card", load_cards().values(), ids=lambda card: card.name)
def test_training_and_test_parts_of_a_dataset_do_not_overlap(card):
    if card.recipe is None:
        return
    split = card.recipe.split
    train = {index for part in split.train for index in range(*part)}
    test = {index for part in split.test for index in range(*part)}
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize("card", load_cards().values(), ids=lambda card: card.name)
def test_a_card_with_classes_starts_with_background_and_gives_every_class_a_colour(card):
    if card.recipe is None:
        return
    classes = card.recipe.class_infos()
    assert classes[0].name == "background"
    assert len({each.color for each in classes}) == len(classes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "no valid YAML", id="no YAML"),
        pytest.param(card_text(sha256="12"), "not valid at packages.0.sha256", id="short hash"),
        pytest.param(card_text(name="../a.tif"), "relative and without", id="leaves its folder"),
        pytest.param(card_text() + "extra: 1\n", "not valid at extra", id="unknown key"),
        pytest.param(
            card_text() + "drawing: {dims: 2, cases: 2, size: [8, 8]}\n",
            "either packages or a drawing",
            id="two sources",
        ),
    ],
)
def test_a_card_that_is_not_valid_says_where(text, words):
    with pytest.raises(DatasetError, match=words):
        load_card(text)


def test_a_small_card_is_valid():
    assert load_card(card_text()).licence == "some-package 1.0: MIT"
