"""Text, dates and times of a DICOM header as the standard has them, whatever the header holds.

Archives hold names in character sets that are declared wrongly or not at all, and dates that are
none. What we write is ISO_IR 192 (UTF-8), and what no date can be made of is left empty.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

from seg.images.dicom.file import Dataset, pydicom
from seg.images.grid.codes import BACKSLASH, CONTROL, plain

CHARACTER_SET = "ISO_IR 192"

_DATE = re.compile(r"(\d{4})[.:/-]?(\d{2})[.:/-]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
_AGE = re.compile(r"\d{3}[DWMY]")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


def cleaned(header: Dataset, name: str) -> Any:
    """The value of an attribute as the standard has it; empty where that cannot be made of it."""
    try:
        element = header[name]
        value = element.value
    except KeyError:
        return ""
    except Exception:  # whatever a value makes pydicom raise, it is none
        return ""
    if value is None:
        return ""
    clean: Callable[[str], Any] = _CLEANERS.get(element.VR, plain)
    many = value if isinstance(value, (list, pydicom().multival.MultiValue)) else [value]
    values = [clean(str(each)) for each in many]
    if element.VR in _CLEANERS or len(values) == 1:
        return values[0]
    return values


def moment(header: Dataset) -> datetime:
    """Now, on the clock that the header's times are told by, or else on this machine's."""
    now = datetime.now().astimezone()
    match = _OFFSET.fullmatch(str(header.get("TimezoneOffsetFromUTC") or "").strip())
    if match is None:
        return now
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > timedelta(hours=14):
        return now
    return now.astimezone(timezone(-offset if sign == "-" else offset))


def date_of(when: datetime) -> str:
    """Value of DA."""
    return when.strftime("%Y%m%d")


def time_of(when: datetime) -> str:
    """Value of TM, with microseconds."""
    return when.strftime("%H%M%S.%f")


def offset_of(when: datetime) -> str:
    """Value of TimezoneOffsetFromUTC."""
    return when.strftime("%z")[:5]


def _date(text: str) -> str:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return ""
    try:
        year, month, day = (int(part) for part in match.groups())
        return date(year, month, day).strftime("%Y%m%d")
    except ValueError:
        return ""


def _time(text: str) -> str:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return ""
    hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
        return ""
    if fraction and seconds is None:
        return ""
    return f"{hours}{minutes or ''}{seconds or ''}{fraction or ''}"


def _age(text: str) -> str:
    return text.strip() if _AGE.fullmatch(text.strip()) else ""


def _decimal(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return ""
    return text.strip() if abs(number) < 1e15 and len(text.strip()) <= 16 else ""


def _code(text: str) -> str:
    text = text.strip().upper()
    return text if re.fullmatch(r"[A-Z0-9_ ]{0,16}", text) else ""


_CLEANERS: dict[str, Callable[[str], str]] = {
    "DA": _date,
    "TM": _time,
    "AS": _age,
    "DS": _decimal,
    "CS": _code,
    "PN": lambda text: CONTROL.sub("", text).replace("\\", BACKSLASH),
}
