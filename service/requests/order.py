"""What is to be done with images, settled before they are read.

An order is made from a request's options and its ``Accept`` header, held against the model, and is
plain data: a job keeps it in the database.
"""

from pydantic import BaseModel, ConfigDict

from seg.errors import ConfigError
from seg.inference import Selection
from seg.model_package import ModelCard
from seg.names import FrameAxis
from service.problems.response import Problem
from service.requests.formats import Container, choose_formats, container_asked_for, formats_for
from service.requests.options import RequestOptions, frame_in


class ArchiveOrder(BaseModel):
    """Where a job's series comes from and where its results go, by names of the operator's list.

    Which series it is stands in a file of the job, not here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | None = None
    """None where an archive sent the series itself."""
    destination: str | None = None
    """None stores nothing."""
    is_cut_off: bool = False
    """Its sender broke off, so that slices may be missing at an end."""


class Order(BaseModel):
    """Options that the model can meet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: tuple[str, ...]
    classes: tuple[str, ...] = ()
    threshold: float | None = None
    split: bool = False
    mirror: bool = False
    measurements: bool = False
    series: str | None = None
    frame: tuple[FrameAxis, int] | None = None
    """Axis and number, of a stack."""
    container: Container | None = None
    """Named by the client; several files are put into a ZIP file otherwise."""
    archive: ArchiveOrder | None = None
    """Of a job whose images come from an archive."""

    @property
    def selection(self) -> Selection:
        """What masks and maps hold."""
        return Selection(classes=self.classes, threshold=self.threshold, split=self.split)

    def container_for(self, images: int) -> Container | None:
        """What the answer to so many images comes in; None for a bare file."""
        is_bare = images == 1 and len(self.formats) == 1 and not self.measurements
        return self.container or (None if is_bare else "zip")


def order_of(options: RequestOptions, accept: str | None, card: ModelCard) -> Order:
    """What a request asks of a model.

    Raises:
        Problem: 422 for a class or a format that the model does not have, for disagreement of a
            single network, or for mirrors that would exchange left and right; 406 for an
            ``Accept`` that no format meets.
    """
    if options.frame and options.series:
        raise Problem(422, "a request is for a frame of a stack or for a series; leave one out")
    formats = choose_formats(options.format, accept, formats_for(card.input.dims))
    if not options.mirror and any(name.startswith("disagreement") for name in formats):
        raise Problem(422, "disagreement is that of mirrored passes here: add mirror=true")
    order = Order(
        formats=formats,
        classes=options.classes,
        threshold=options.threshold,
        split=options.split,
        mirror=options.mirror,
        measurements=options.measurements,
        series=options.series,
        frame=frame_in(options.frame) if options.frame else None,
        container=container_asked_for(accept),
    )
    try:
        order.selection.check(card)
        if order.mirror and not card.mirrors:
            raise ConfigError("this model must not be mirrored; leave mirror out")
    except ConfigError as error:
        raise Problem(422, str(error)) from None
    return order
