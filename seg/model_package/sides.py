"""Classes that have a side: left and right, in the words and abbreviations of many languages.

A mirror between left and right shows the left kidney where the right one lies, under the name that
it had. A network that is trained on such patches cannot tell the sides apart.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from seg.images.grid.orientation import left_right_axis

SIDES = (
    # English, and what FreeSurfer and radiotherapy write
    "left right", "lt rt", "lh rh", "lhs rhs", "lhemi rhemi",
    # Latin
    "sinister dexter", "sinistra dextra", "sinistrum dextrum", "sinistri dextri", "sin dex",
    "sinistralis dextralis", "sin dext", "sin dx",
    # German, Dutch
    "links rechts", "linke rechte", "linker rechter", "linkes rechtes", "linken rechten", "li re",
    # French
    "gauche droite", "gauche droit", "gauches droites", "gauches droits", "gche dte", "gau dro",
    # Spanish, Catalan, Portuguese, Galician
    "izquierda derecha", "izquierdo derecho", "izq der", "izq dcha", "izq dcho", "izda dcha",
    "izdo dcho", "esquerra dreta", "esquerre dret", "esquerda direita", "esquerdo direito",
    "esq dir", "esquerda dereita", "esquerdo dereito",
    # Italian, Romanian
    "sinistra destra", "sinistro destro", "sx dx", "stanga dreapta", "stang drept", "stg dr",
    # Swedish, Danish, Norwegian, Icelandic
    "vanster hoger", "vanstra hogra", "venstre hojre", "venstre hoyre", "venstre hogre",
    "vinstri haegri",
    # Finnish, Estonian, Hungarian, Basque, Turkish
    "vasen oikea", "vasemman oikean", "vasak parem", "bal jobb", "ezker eskuin", "sol sag",
    # Polish, Czech, Slovak, Slovene, Croatian, Serbian
    "lewy prawy", "lewa prawa", "lewe prawe", "lewo prawo", "levy pravy", "leva prava",
    "leve prave", "levo pravo", "vlevo vpravo", "lavy pravy", "lava prava", "lave prave",
    "levi desni", "leva desna", "levo desno", "lijevi desni", "lijeva desna", "lijevo desno",
    # Lithuanian, Latvian
    "kairys desinys", "kaire desine", "kreisais labais", "kreisa laba",
    # Russian, Ukrainian, Bulgarian, in Cyrillic and without it
    "левый правый", "левая правая", "левое правое", "лево право", "слева справа", "лев прав",
    "лівий правий", "ліва права", "ліве праве", "ляв десен", "лява дясна", "ляво дясно",
    "levyi pravyi", "levaya pravaya", "levoe pravoe",
    # Greek
    "αριστερα δεξια", "αριστερος δεξιος", "αριστερη δεξι", "αριστερο δεξιο",
    # Arabic, Persian, Hebrew, Hindi
    "يسار يمين", "أيسر أيمن", "اليسرى اليمنى", "الأيسر الأيمن", "چپ راست", "שמאל ימין",
    "שמאלית ימנית", "שמאלי ימני", "बायां दायां", "बाएं दाएं",
    # Chinese, Japanese, Korean
    "左 右", "ひだり みぎ", "왼쪽 오른쪽", "좌 우",
    # Indonesian, Vietnamese
    "kiri kanan", "trai phai",
)  # fmt: skip
"""Words of left and of right, without accents and in lower case."""

LETTERS = ("l r", "g d", "i d", "e d")
"""English and others; French, Spanish and Portuguese: words of their own, or at an edge of a name
that has both forms."""

UNMISTAKABLE = frozenset(
    word for pair in SIDES for word in pair.split()
    if len(word) >= 4 or not word.isascii()
) | {"right"}  # fmt: skip
"""Words that mean a side even where no other class has the other one."""


def sided_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The names that say left or right, in their order.

    Those that come in pairs (``kidney_left`` and ``kidney_right``, ``lKidney`` and ``rKidney``,
    ``Niere links`` and ``Niere rechts``), and those that say a side in a word of its own: what
    lies on the other side must be told from them, whether it has a class or not.
    """
    return _sided_classes(tuple(names))


@lru_cache(maxsize=64)  # hundreds of patterns a name, and a service asks for each image
def _sided_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    plain = {name: _plain(name) for name in names}
    known = set(plain.values())
    return tuple(
        name
        for name, text in plain.items()
        if any(other in known for other in _other_side(name, text))
        or not UNMISTAKABLE.isdisjoint(_words(name))
    )


def between_sides(dims: int, orientation: str | None, stated: int | None = None) -> int | None:
    """The spatial axis that runs between left and right; None where none does.

    Axis codes know it. Without them it is the axis that somebody stated, or else the horizontal.
    """
    if orientation is not None:
        return left_right_axis(orientation)
    return dims - 1 if stated is None else stated


def in_words(names: Sequence[str], most: int = 4) -> str:
    """Some of the names, for a sentence."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _other_side(name: str, text: str) -> list[str]:
    """What the name could be on the other side."""
    names = []
    for pair in SIDES:
        first, second = pair.split()
        for word, other in ((first, second), (second, first)):
            for match in re.finditer(re.escape(word), text):
                is_short = len(word) < 3 and word.isascii()
                if not is_short or _stands_alone(text, match):
                    names.append(text[: match.start()] + other + text[match.end() :])
    words = _words(name)
    for pair in LETTERS:
        first, second = pair.split()
        for word, other in ((first, second), (second, first)):
            names += [
                " ".join((*words[:at], other, *words[at + 1 :]))
                for at, each in enumerate(words)
                if each == word
            ]
    # l and r before or behind a name without anything between: LV and RV, lkidney and rkidney
    for word, other in (("l", "r"), ("r", "l")):
        if len(text) > 1 and text.startswith(word):
            names.append(other + text[1:])
        if len(text) > 3 and text.endswith(word):
            names.append(text[:-1] + other)
    return names


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    return not before.isalpha() and not after.isalpha()


def _plain(name: str) -> str:
    """Lower case, without accents, words apart by one space."""
    return " ".join(_words(name))


def _words(name: str) -> list[str]:
    """The words of a name: ``leftKidney_2`` has three."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    parts = unicodedata.normalize("NFKD", apart.casefold())
    letters = "".join(c for c in parts if not unicodedata.combining(c))
    letters = unicodedata.normalize("NFC", letters.translate({0x131: "i", 0xF8: "o", 0x142: "l"}))
    return re.findall(r"[^\W\d_]+|\d+", letters)
