"""Masks that do not belong where they lie, found without anybody having said so."""

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image as Picture

from seg.images import Image, write_image
from tests.datasets import write_png
from training.dataset import inspect, look_into


def discs(seed, size=64):
    rng = default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centres = rng.uniform(8, size - 8, (6, 2))
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 < 40 for cy, cx in centres], axis=0)


def found(folder, masks, *, bright=100):
    """Problems of a dataset of noisy discs with these masks."""
    for seed, mask in enumerate(masks):
        image = 60 + bright * discs(seed) + default_rng(seed).normal(0, 10, (64, 64))
        write_png(folder / "images" / f"s{seed}.png", image.clip(0, 255))
        write_png(folder / "masks" / f"s{seed}.png", mask)
    dataset, findings = look_into(folder)
    return [each.problem for each in findings + inspect(dataset)]


def test_masks_that_lie_right_are_left_alone(tmp_path):
    assert found(tmp_path / "bright", [discs(seed) for seed in range(6)]) == []
    assert found(tmp_path / "dark", [discs(seed) for seed in range(6)], bright=-50) == []
    # where they show nothing of what is bright, nothing is known
    assert found(tmp_path / "other", [discs(seed + 50) for seed in range(6)]) == []


@pytest.mark.parametrize(
    ("order", "count"),
    [
        pytest.param([1, 2, 3, 4, 5, 0], 6, id="names that count from another number"),
        pytest.param([0, 4, 2, 3, 1, 5], 2, id="two that changed places"),
    ],
)
def test_masks_of_other_images_are_told(order, count, tmp_path):
    (problem,) = found(tmp_path, [discs(seed) for seed in order])
    assert problem.startswith(f"{count} masks fit another image better")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        pytest.param(np.transpose, "x and y exchanged", id="transposed"),
        pytest.param(np.fliplr, "mirrored along x", id="left to right"),
        pytest.param(np.flipud, "mirrored along y", id="upside down"),
        pytest.param(np.rot90, "x and y exchanged, mirrored along", id="turned by a quarter"),
        pytest.param(lambda m: np.rot90(m, 2), "mirrored along y and x", id="turned by a half"),
    ],
)
def test_masks_that_were_turned_are_told(turn, words, tmp_path):
    (problem,) = found(tmp_path, [turn(discs(seed)) for seed in range(6)])
    assert f" of 6 masks fit their images better when they are {words}" in problem


def test_a_mask_whose_background_is_its_foreground_is_told(tmp_path):
    (problem,) = found(tmp_path, [discs(seed) ^ (seed == 3) for seed in range(6)])
    assert problem.endswith("foreground and background seem to be exchanged")


def test_masks_without_background_are_told(tmp_path):
    masks = [discs(seed) | (seed == 2) for seed in range(6)]
    assert found(tmp_path / "one", masks) == [
        "the mask shows one class everywhere and no background"
    ]
    problems = found(tmp_path / "all", [np.ones((64, 64))] * 6)
    assert problems[0].startswith("every training mask shows one class everywhere")


def found_by_edges(folder, masks, size=96):
    """The same of discs bright and dark, which brightness alone says nothing of."""
    for seed, mask in enumerate(masks):
        noise = default_rng(seed).normal(0, 10, (size, size))
        bright = discs(seed, size).astype(float) - discs(seed + 100, size)
        write_png(folder / "images" / f"s{seed}.png", (120 + 60 * bright + noise).clip(0, 255))
        write_png(folder / "masks" / f"s{seed}.png", mask)
    dataset, findings = look_into(folder)
    return [(each.where[-6:], each.problem) for each in findings + inspect(dataset)]


def all_discs(seed, size=96):
    return discs(seed, size) ^ discs(seed + 100, size)


def test_masks_that_lie_on_edges_are_left_alone_a_single_pixel_aside_too(tmp_path):
    masks = [np.roll(all_discs(seed), seed == 2, 1) for seed in range(6)]
    assert found_by_edges(tmp_path / "right", masks) == []
    # nor where masks of the whole dataset show what no edges tell of
    others = [discs(seed + 50, 96) for seed in range(6)]
    assert found_by_edges(tmp_path / "other", others) == []


def test_a_pixel_is_seen_in_images_that_are_thinned_for_the_look_at_them(tmp_path):
    for seed in range(5):
        tiles = [[(9 * seed + y, 9 * seed + 50 + x) for x in range(7)] for y in range(7)]
        bright, dark = (np.block([[discs(hash(t) % 10**6 + n, 100) for t in row] for row in tiles])
                        for n in range(2))  # fmt: skip
        image = 120 + 60.0 * bright - 60.0 * dark + default_rng(seed).normal(0, 10, (700, 700))
        for folder, by in (("right", 0), ("moved", 1)):
            write_png(tmp_path / folder / "images" / f"s{seed}.png", image.clip(0, 255))
            mask = np.roll(bright ^ dark, by, 0)
            write_png(tmp_path / folder / "masks" / f"s{seed}.png", mask)
    (right, rightly), (moved, wrongly) = (look_into(tmp_path / n) for n in ("right", "moved"))
    assert [*rightly, *inspect(right)] == []
    (finding,) = [*wrongly, *inspect(moved)]
    assert "5 of 5 masks fit their images better when they are moved, this one by 1 up" in str(
        finding.problem
    )


@pytest.mark.parametrize(
    ("change", "which", "said"),
    [
        pytest.param(lambda m: np.roll(m, 1, 1), range(6), "moved, this one by 1 left, in pixels",
            id="a pixel"),
        pytest.param(lambda m: np.roll(m, (-2, 1), (0, 1)), range(6),
            "moved, this one by 2 down and 1 left, in pixels", id="some pixels"),
        pytest.param(lambda m: np.roll(m, 48, (0, 1)), range(6), "moved, this one by 48 up and 48",
            id="half the image"),
        pytest.param(lambda m: np.roll(m, 9, 0), [2], "moved, this one by 9 up, in pixels",
            id="one of them"),
        pytest.param(np.fliplr, [3], "they are mirrored along x", id="one mirrored"),
        pytest.param(np.rot90, [1, 4], "x and y exchanged, mirrored along", id="two turned"),
        pytest.param(lambda m: all_discs(77), [5], "run along no edges of its image",
            id="of an image that is not there"),
    ],
)  # fmt: skip
def test_masks_that_lie_beside_the_edges_of_their_images_are_told(change, which, said, tmp_path):
    masks = [change(all_discs(i)) if i in which else all_discs(i) for i in range(6)]
    ((where, problem),) = found_by_edges(tmp_path, masks)
    assert where == f"s{which[0]}.png"
    assert said in problem
    if "edges" not in said:
        assert problem.startswith(f"{len(which)} of 6 masks fit their images better when they are ")


@pytest.mark.parametrize(("by", "where"), [(1, "after"), (-1, "before")])
def test_masks_that_lie_on_the_edges_of_the_next_image_are_told(by, where, tmp_path):
    ((_, problem),) = found_by_edges(tmp_path, [all_discs((seed + by) % 50) for seed in range(5)])
    assert problem.startswith("5 of 5 masks do not fit their images, but those of the case ")
    assert f" {where} theirs" in problem


def test_palettes_that_show_one_number_in_the_color_of_another_are_told(tmp_path):
    black, white = (0, 0, 0), (255, 255, 255)
    for seed in range(4):
        write_png(
            tmp_path / "images" / f"s{seed}.png", default_rng(seed).integers(0, 255, (64, 64))
        )
        shown = discs(seed) ^ (seed == 2)
        mask = Picture.fromarray(shown.astype(np.uint8), "P")
        mask.putpalette([*black, *white] if seed != 2 else [*white, *black])
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask.save(tmp_path / "masks" / f"s{seed}.png")
    dataset, findings = look_into(tmp_path)
    (finding,) = findings + inspect(dataset)
    assert finding.where.endswith("s2.png")
    assert "the palette shows 0 in the color that 1 has in most masks" in finding.problem


def drawn_volumes(folder, *annotated):
    """Noise with masks of a ball, of which these slices are annotated, one entry a volume."""
    z, y, x = np.mgrid[:12, :32, :32]
    ball = (4 * (z - 6) ** 2 + (y - 16) ** 2 + (x - 16) ** 2 < 121).astype(np.uint8)
    for seed, slices in enumerate(annotated):
        image = default_rng(seed).integers(0, 255, (12, 32, 32)).astype(np.uint8)
        mask = np.zeros_like(ball)
        mask[slices] = ball[slices]
        for name, array in (("images", image), ("masks", mask)):
            write_image(folder / name / f"v{seed}.nii.gz", Image(array[np.newaxis]))
    dataset, findings = look_into(folder)
    return [each.problem for each in findings + inspect(dataset) if "slices" in each.problem]


def test_volumes_of_which_some_slices_alone_are_annotated_are_told(tmp_path):
    whole, alone = np.s_[:], np.s_[6:7]
    assert drawn_volumes(tmp_path / "all", whole, whole, alone) == []  # one thing may be that flat
    (problem,) = drawn_volumes(tmp_path / "one of them", whole, whole, np.s_[::2])
    assert problem.startswith("in 1 of 3 volumes foreground is in slices alone whose neighbours")
    assert "here in 5 slices, none beside another, though it is wide" in problem
    (problem,) = drawn_volumes(tmp_path / "one slice each", alone, alone, whole)
    assert problem.startswith("in 2 of 3 volumes")
    assert "here in one slice though it is wide" in problem


@pytest.mark.parametrize("exchanged", [None, 3])
def test_two_classes_that_are_exchanged_in_one_mask_are_told(exchanged, tmp_path):
    for seed in range(6):
        bright, dim = discs(seed, 96), discs(seed + 20, 96) & ~discs(seed, 96)
        image = 60 + 90 * bright + 40 * dim + default_rng(seed).normal(0, 9, (96, 96))
        mask = 1 * bright + 2 * dim
        mask = (3 - mask) % 3 if seed == exchanged else mask
        write_png(tmp_path / "images" / f"s{seed}.png", image.clip(0, 255))
        write_png(tmp_path / "masks" / f"s{seed}.png", mask)
    dataset, findings = look_into(tmp_path)
    told = [each for each in findings + inspect(dataset) if "exchanged" in each.problem]
    assert [each.where[-6:] for each in told] == ([] if exchanged is None else ["s3.png"])
    assert all("class_1 is here what class_2 is in most masks" in each.problem for each in told)


@pytest.mark.parametrize(
    ("left_out", "where"),
    [
        pytest.param(np.s_[:, 32:], "the last 53% along x", id="the right half"),
        pytest.param(np.s_[:32], "the first 55% along y", id="the upper half"),
    ],
)
@pytest.mark.parametrize("bright", [100, -50], ids=["bright", "dark"])
def test_an_image_of_which_one_half_is_annotated_is_told(left_out, where, bright, tmp_path):
    y, x = np.mgrid[:64, :64]
    dots = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 30
    halved = dots.copy()
    halved[left_out] = False

    def problems(folder, masks):
        for seed, mask in enumerate(masks):
            image = 90 + bright * dots + default_rng(seed).normal(0, 10, dots.shape)
            write_png(folder / "images" / f"s{seed}.png", image.clip(0, 255))
            write_png(folder / "masks" / f"s{seed}.png", mask)
        dataset, findings = look_into(folder)
        told = [each for each in findings + inspect(dataset) if "nothing is annot" in each.problem]
        return [each.problem for each in told]

    (problem,) = problems(tmp_path / "one", [halved, *[dots] * 4])
    assert problem.startswith(f"nothing is annotated at {where}, and")
    assert problems(tmp_path / "none", [dots] * 5) == []
    # where things are seen on one side alone in most images, that is how they are
    assert problems(tmp_path / "most", [halved] * 4 + [dots]) == []


@pytest.mark.parametrize(
    ("by", "which", "said"),
    [
        pytest.param(1, [2], "1 of 6 masks", id="one by a slice"),
        pytest.param(-2, [0], "1 of 6 masks", id="one by two"),
        pytest.param(1, range(6), "6 of 6 masks", id="all"),
        pytest.param(0, [], None, id="none"),
    ],
)
def test_masks_that_lie_some_slices_beside_their_volumes_are_told(by, which, said, tmp_path):
    for seed in range(6):
        rng = default_rng(seed)
        z, y, x = np.mgrid[:16, :48, :48]
        inside = np.zeros(z.shape, int)
        for number, centre in enumerate(rng.uniform((3, 6, 6), (13, 42, 42), (14, 3))):
            near = 4 * (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 49
            inside[near] = 1 + number % 2
        image = 100 + 40 * (inside == 1) - 40 * (inside == 2) + rng.normal(0, 8, inside.shape)
        mask = np.roll(inside > 0, by, 0) if seed in which else inside > 0
        for part, array in (("images", image), ("masks", mask)):
            (tmp_path / part).mkdir(exist_ok=True)
            volume = Image(array[None].astype(np.int16), spacing=(2.0, 1.0, 1.0))
            write_image(tmp_path / part / f"v{seed}.nii.gz", volume)
    dataset, findings = look_into(tmp_path)
    problems = [each.problem for each in findings + inspect(dataset)]
    told = [each for each in problems if "moved along z" in each]
    if said is None:
        assert problems == []
        return
    (problem,) = told
    slices, towards = {1: "one slice", -2: "2 slices"}[by], "first" if by > 0 else "last"
    assert problem.startswith(f"{said} fit their volumes better when they are moved along z")
    assert problem.endswith(f"this one by {slices} towards the {towards}")


def test_one_mask_that_was_saved_for_several_images_is_told(tmp_path):
    said = found(tmp_path / "two", [discs(0 if seed == 1 else seed) for seed in range(6)])
    assert [each for each in said if each.startswith("2 of 6 masks are the same to the last")]
    said = found(tmp_path / "all", [discs(50)] * 6)
    assert [each for each in said if each.startswith("6 of 6 masks are the same to the last")]


def test_one_mask_of_two_images_that_are_alike_is_no_copy_by_mistake(tmp_path):
    for name, noise in (("a", 0), ("b", 1), ("c", 2)):
        image = 60 + 100 * discs(3) + default_rng(noise).normal(0, 4, (64, 64))
        write_png(tmp_path / "images" / f"{name}.png", image.clip(0, 255))
        write_png(tmp_path / "masks" / f"{name}.png", discs(3))
    assert not [each.problem for each in inspect(look_into(tmp_path)[0]) if "saved" in each.problem]


def painted(seed, *, drawn):
    grey = 60 + 100 * discs(seed) + default_rng(seed).normal(0, 10, (64, 64))
    image = np.stack([grey.clip(0, 255).astype(np.uint8)] * 3, axis=-1)
    if drawn:
        image[10, :40] = (255, 0, 0)
    return image


def test_lines_that_somebody_drew_on_grey_pictures_are_told(tmp_path):
    for seed in range(5):
        write_png(tmp_path / "images" / f"s{seed}.png", painted(seed, drawn=seed == 2))
        write_png(tmp_path / "masks" / f"s{seed}.png", discs(seed))
    (said,) = [each for each in inspect(look_into(tmp_path)[0]) if "drawn on it" in each.problem]
    assert said.where.endswith("s2.png")


def test_colors_on_black_are_no_drawing(tmp_path):
    for seed in range(5):
        image = np.zeros((64, 64, 3), np.uint8)
        image[..., 0] = 200 * discs(seed)
        write_png(tmp_path / "images" / f"s{seed}.png", image)
        write_png(tmp_path / "masks" / f"s{seed}.png", discs(seed))
    assert not [each for each in inspect(look_into(tmp_path)[0]) if "drawn" in each.problem]
