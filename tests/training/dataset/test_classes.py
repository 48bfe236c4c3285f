import numpy as np
from skimage.color import deltaE_cie76, rgb2lab

from training.dataset.classes import MOST_CLASSES, make_classes


def test_no_two_of_a_hundred_classes_look_alike():
    for count, least in ((105, 16), (MOST_CLASSES, 11)):
        classes = make_classes([f"class {n}" for n in range(count)], {})
        lab = rgb2lab(np.array([[each.color for each in classes]]) / 255)[0]
        apart = deltaE_cie76(lab[:, np.newaxis], lab[np.newaxis])
        assert (apart + 999 * np.eye(count)).min() > least
