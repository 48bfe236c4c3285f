"""Sentences for people that programs can say in another language."""

from collections.abc import Mapping

Parameter = int | float | str | tuple[float, float]
"""A number, a name, or the ends of a range."""


class Sentence(str):
    """A sentence in English, with a code that stays and what is filled in.

    Where a string is wanted it is one. What is told of by a code is always the same; the words
    may change.
    """

    __slots__ = ("code", "parameters")
    code: str
    parameters: Mapping[str, Parameter]

    def __new__(cls, text: str, code: str, **parameters: Parameter) -> "Sentence":
        """A sentence and what it tells of."""
        made = super().__new__(cls, text)
        made.code, made.parameters = code, parameters
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return _made_again, (str(self), self.code, self.parameters)


def _made_again(text: str, code: str, parameters: Mapping[str, Parameter]) -> Sentence:
    return Sentence(text, code, **parameters)


def coded(sentences: tuple[str, ...]) -> list[dict[str, object]]:
    """For JSON: of each its code and what is filled in; no code where it has none."""
    return [
        {"code": each.code, "parameters": dict(each.parameters)}
        if isinstance(each, Sentence)
        else {"code": "", "parameters": {}}
        for each in sentences
    ]
