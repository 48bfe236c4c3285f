"""What is made of series that are sent: the operator's rules, held against the models."""

from collections.abc import Sequence

from seg.model_package import ModelCard
from service.archives.rules import EVERYTHING, SeriesFacts, SeriesRule, read_rules, suits
from service.jobs.archived import DICOM
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.formats import formats_for
from service.requests.options import RequestOptions
from service.requests.order import ArchiveOrder, Order, order_of

BY_ANOTHER_NAME = {
    "seg": "dicom-seg",
    "labelmap": "dicom-labelmap",
    "sr": "dicom-sr",
    "sc": "dicom-sc",
}
"""As DICOM's modalities are called."""


class SeriesDecider:
    """Says what is done with a series, for every way on which one may come."""

    def __init__(self, models: ModelRegistry, destinations: Sequence[str]) -> None:
        """Read the rules.

        Raises:
            ConfigError: they cannot be read, or say what cannot be.
        """
        self._models = models
        self._rules: Sequence[SeriesRule] = read_rules(models.settings.dicom_rules, destinations)

    def may_fit(self, series: SeriesFacts) -> bool:
        """Whether a rule is about a series, whatever else comes of it."""
        return any(rule.fits(series, growing=True) for rule in self._rules)

    def decided(
        self, series: SeriesFacts, destination: str | None, *, is_cut_off: bool = False
    ) -> tuple[str, Order] | None:
        """Model and order that the first rule that fits makes of a series; None leaves it alone.

        Args:
            series: as far as it has come.
            destination: where results go unless the rule says where.
            is_cut_off: its sender broke off, and did not come back.

        Raises:
            Problem: a rule asks for what the model does not have.
            NotReadyError: its model is not there now.
        """
        for rule in self._rules:
            if not rule.fits(series):
                continue
            version = self._models.choose(rule.model)
            if self._rules is EVERYTHING and not suits(series, version.card):
                continue
            options = RequestOptions(format=formats_named(rule.format))
            order = order_of(options, None, version.card)
            check_dicom(order.formats, version.card)
            archive = ArchiveOrder(
                destination=rule.destination or destination, is_cut_off=is_cut_off
            )
            return version.label, order.model_copy(update={"archive": archive})
        return None


def formats_named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Formats by our names; ``SEG`` and ``SR`` are names too."""
    lower = [name.strip().lower() for name in names]
    return tuple(BY_ANOTHER_NAME.get(name, name) for name in lower)


def check_dicom(formats: tuple[str, ...], card: ModelCard) -> None:
    """Whether an archive can hold them.

    Raises:
        Problem: 422, one is no DICOM.
    """
    known = formats_for(card.input.dims)
    for name in formats:
        if known[name].media_type != DICOM:
            held = ", ".join(each for each in known if known[each].media_type == DICOM)
            raise Problem(422, f"an archive stores DICOM: {held}; {name} is none")
