import pytest

from seg.model_package import ModelPackage, sides
from seg.model_package.sides import between_sides, sided_classes


@pytest.mark.parametrize(
    "names",
    [
        ("kidney_left", "kidney_right"),
        ("left kidney", "right kidney"),
        ("LEFT_LUNG", "RIGHT_LUNG"),
        ("leftkidney", "rightkidney"),
        ("hip_l", "hip_r"),
        ("L_hip", "R_hip"),
        ("hip.L", "hip.R"),
        ("KidneyL", "KidneyR"),
        ("LKidney", "RKidney"),
        ("lkidney", "rkidney"),
        ("LV", "RV"),
        ("Parotid_Lt", "Parotid_Rt"),
        ("ctx-lh-insula", "ctx-rh-insula"),
        ("rib_left_1", "rib_right_1"),
        ("femur_sin", "femur_dex"),
        ("Niere links", "Niere rechts"),
        ("linke Niere", "rechte Niere"),
        ("rein gauche", "rein droit"),
        ("rein_g", "rein_d"),
        ("riñón izquierdo", "riñón derecho"),
        ("rene_sx", "rene_dx"),
        ("rim esquerdo", "rim direito"),
        ("vänster njure", "höger njure"),
        ("venstre nyre", "høyre nyre"),
        ("lewa nerka", "prawa nerka"),
        ("левая почка", "правая почка"),
        ("sol böbrek", "sağ böbrek"),
        ("左腎", "右腎"),
        ("왼쪽 신장", "오른쪽 신장"),
        ("الكلية اليسرى", "الكلية اليمنى"),
    ],
)
def test_paired_names_have_a_side_whatever_the_language(names):
    assert sided_classes(("liver", *names, "tumour")) == names


@pytest.mark.parametrize("name", ["left atrium", "Femur rechts", "rightLung"])
def test_a_side_without_its_other_one_must_be_told_from_it_all_the_same(name):
    assert sided_classes(("liver", name)) == (name,)


@pytest.mark.parametrize(
    "names",
    [
        ("liver", "spleen", "tumour"),
        ("cell", "nucleus"),
        ("class 1", "class 2"),
        ("L1", "L2", "L3", "T12"),
        ("leftover", "copyright"),
        ("lamp", "road"),
        ("gland", "duct"),
        ("",),
    ],
)
def test_other_names_have_none(names):
    assert sided_classes(names) == ()


def test_the_axis_between_sides_is_that_of_the_axis_codes_or_stated_or_the_horizontal():
    assert between_sides(3, "RAS") == 2
    assert between_sides(3, "SPL") == 0
    assert between_sides(2, "AS") is None
    assert between_sides(3, None) == 2
    assert between_sides(2, None) == 1
    assert between_sides(2, None, stated=0) == 0
    assert between_sides(2, "LP", stated=0) == 1


def test_hundreds_of_patterns_are_tried_once_a_package_and_not_once_an_image(
    tiny_package, monkeypatch
):
    package = ModelPackage.load(tiny_package)
    first = package.card.sided, package.made_by

    def again(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(sides, "_other_side", again)
    monkeypatch.setattr("seg.model_package.folder.hashlib.sha256", again)
    assert (package.card.sided, package.made_by) == first
