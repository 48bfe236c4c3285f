import pytest

from data.phantom import draw
from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import load_dataset


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda f: f / "none", "no folder", id="missing"),
        pytest.param(lambda f: f, "is no dataset: it needs", id="empty"),
        pytest.param(lambda f: draw(f / "p", size=(16, 16)).parent, "did you mean", id="parent"),
        pytest.param(lambda f: plain_folder(f, cases=1), "at least 2 cases", id="one case"),
        pytest.param(lambda f: plain_folder(f, cases=0), "is no dataset", id="no case"),
    ],
)
def test_a_folder_that_is_no_dataset_says_what_is_needed(tmp_path, make, words):
    with pytest.raises(DatasetError, match=words):
        load_dataset(make(tmp_path))


def test_a_folder_without_readable_images_is_refused(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("no image")
    with pytest.raises(DatasetError, match="holds no images"):
        load_dataset(tmp_path)


def test_the_hash_follows_contents_and_not_the_place(tmp_path):
    one = load_dataset(plain_folder(tmp_path / "one"))
    two = load_dataset(plain_folder(tmp_path / "two"))
    assert one.sha256() == two.sha256()
    write_png(tmp_path / "two" / "masks" / "a4.png", mask_values(255, 255))
    assert load_dataset(tmp_path / "two").sha256() != one.sha256()
