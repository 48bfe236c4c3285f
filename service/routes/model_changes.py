"""Models that come and go over the network: taken in, pinned, tried on a share, rolled back.

What is uploaded answers nobody before its golden samples agree on this machine; what does not agree
leaves nothing behind. All of it needs a key with the scope ``admin`` where keys are asked for.
"""

import errno
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seg.client.schemas import RuleChange
from seg.errors import PackageError
from seg.machine import memory_here
from seg.model_package import ModelPackage
from service.decoding.image_decoder import SHARE
from service.errors import DecodingFullError, NotReadyError
from service.models.arrival import arrived, folder_name
from service.models.folder import UNPROVEN
from service.models.registry import ModelRegistry
from service.models.rules import ServingRule, live_version, version_before
from service.models.trial import try_out
from service.models.versions import LATEST, ModelVersion, named
from service.observability.folders import without_folders
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.requests.proxies import link
from service.routes.models import Catalogue, as_json

MOST_RULE_BYTES = 64 * 1024
LONGEST_NAME = 128
"""Letters of a model's name and of a version: both stand in headers and in metrics."""
NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class ModelChanges:
    """The routes that change what answers."""

    def __init__(self, models: ModelRegistry, catalogue: Catalogue) -> None:
        self._models = models
        self._settings = models.settings
        self._entry = catalogue.entry
        self._is_busy = False

    def routes(self) -> list[Route]:
        """Below ``/models``."""
        return [
            Route("/models/{name}", self.put, methods=["PUT"]),
            Route("/models/{name}", self.patch, methods=["PATCH"]),
            Route("/models/{name}/rollback", self.rollback, methods=["POST"]),
            Route("/models/{name}/versions/{version}", self.delete, methods=["DELETE"]),
        ]

    async def put(self, request: Request) -> Response:
        """``PUT /models/{name}``: a new version, live or a candidate once it is proven."""
        root, name = self._root(), request.path_params["name"]
        share = _share_of(request.query_params)
        if self._is_busy:
            raise Problem(503, "another model is being taken in", {"Retry-After": "10"})
        self._is_busy = True
        try:
            with _writable(), tempfile.TemporaryFile(dir=root) as archive:
                async for chunk in request.stream():
                    await run_sync(archive.write, chunk)
                archive.seek(0)
                version = await run_sync(self._take_in, root, name, archive, share)
        finally:
            self._is_busy = False
        headers = {"Location": link(request.scope, "models", *_path_of(version))}
        return as_json(self._entry(name, request.scope), 201, headers)

    async def patch(self, request: Request) -> Response:
        """``PATCH /models/{name}``: pin a version, or give a share of requests to a candidate."""
        self._root()
        name = request.path_params["name"]
        changed = _rule_fields(await _rule_body(request))
        await run_sync(self._rule, name, changed)
        return as_json(self._entry(name, request.scope))

    async def rollback(self, request: Request) -> Response:
        """``POST /models/{name}/rollback``: pin the version before the one that answers."""
        self._root()
        name = request.path_params["name"]
        await run_sync(self._roll_back, name)
        return as_json(self._entry(name, request.scope))

    async def delete(self, request: Request) -> Response:
        """``DELETE /models/{name}/versions/{version}``: remove one that does not answer."""
        root = self._root()
        name, version = request.path_params["name"], request.path_params["version"]
        await run_sync(self._remove, root, name, version)
        return Response(status_code=204)

    # In threads

    def _take_in(
        self, root: Path, name: str, archive: BinaryIO, share: float | None
    ) -> ModelVersion:
        try:
            with arrived(archive, root, self._settings.max_model_bytes) as staged:
                card = ModelPackage.load(staged).card
                if card.name != name:
                    raise Problem(422, f"the package is of model {card.name[:80]!r}, not {name!r}")
                _check_names(card.name, card.version)
                target = root / folder_name(card.name, card.version)
                known = {v.key for v in self._models.versions()}
                if (target / UNPROVEN).exists():
                    raise Problem(
                        409,
                        f"the service ended while it proved version {card.version}, or is at it "
                        "still; send it as another version",
                    )
                if (card.name, card.version) in known or target.exists():
                    raise Problem(
                        409,
                        f"model {name} has a version {card.version} already; it is not replaced",
                    )
                self._try(staged.absolute(), [variant.file for variant in card.variants])
                with self._as_candidate(name, card.version, share):
                    version = self._models.adopt(staged, target)
                    if version.state != "proven":
                        self._models.remove(version)
                        raise Problem(422, f"the model is not taken: {version.reason}")
        except PackageError as error:
            raise Problem(422, without_folders(str(error), root)) from None
        return version

    @contextmanager
    def _as_candidate(self, name: str, version: str, share: float | None) -> Iterator[None]:
        """The rule under which a version is taken in; the one before where it is not taken.

        It is written first, or the version would answer everybody for a while. Where the process
        dies over it, the rule names a version that is not there (`why_not`), until the same one
        comes without a share.

        Raises:
            Problem: as of `_change`.
        """
        before = self._models.rules.of(name)
        if share is not None:
            self._change(name, {"candidate": version, "share": share})
        elif before.candidate == version:
            self._change(name, {"candidate": None})
        ours = self._models.rules.of(name)
        try:
            yield
        except NotReadyError:  # it is there, and proven later
            raise
        except BaseException:
            if ours != before:
                self._models.rules.change(name, lambda now: before if now == ours else now)
            raise

    def _try(self, staged: Path, networks: Sequence[str]) -> None:
        """Run a package once, in the room that images have; in half of the memory at most.

        Raises:
            PackageError: it takes more.
            Problem: 503, images have it now.
        """
        budget = self._models.decoder.budget
        lease = budget.lease()
        try:
            try_out(
                staged,
                networks,
                seconds=self._settings.timeout_s,
                memory=max(budget.total, memory_here() // SHARE),
                took=lambda used: lease.take(min(used, budget.total)),
                provider=self._settings.provider,
            )
        except DecodingFullError:
            raise Problem(
                503, "images leave no room to try a package now", {"Retry-After": "10"}
            ) from None
        finally:
            lease.release()

    def _rule(self, name: str, changed: dict[str, Any]) -> None:
        versions = named(f"{name}:{LATEST}", self._models.versions())
        for wanted in {changed.get("pinned"), changed.get("candidate")} - {None}:
            meant = named(f"{name}:{wanted}", versions)  # another folder may hold it once more
            version = next((v for v in meant if v.fault != "duplicate"), meant[0])
            self._models.prove(version)
            if version.state != "proven":
                raise Problem(422, f"version {wanted} cannot answer: {version.reason}")
        if changed.get("candidate") is not None:
            self._models.prove_beside(name, changed["candidate"])
        self._change(name, changed)

    def _roll_back(self, name: str) -> None:
        versions = named(f"{name}:{LATEST}", self._models.versions())
        live = self._models.live(name)
        while live is not None:
            live = version_before(versions, live)
            if live is not None:
                self._models.prove(live)
                if live.state == "proven":
                    self._change(name, {"pinned": live.card.version, "candidate": None})
                    return
        raise Problem(409, f"model {name} has no earlier version that is proven")

    def _remove(self, root: Path, name: str, version: str) -> None:
        (found, *_) = named(f"{name}:{version}", self._models.versions())
        live = self._models.live(name)
        if found is live or found.card.version in self._models.rules.of(name).names():
            raise Problem(409, f"version {found.card.version} answers requests; pin another first")
        if root.absolute() not in found.folder.parents:
            raise Problem(409, "this version is not one of SEG_MODELS")
        with _writable():
            self._models.remove(found)

    def _change(self, name: str, changed: dict[str, Any]) -> None:
        """Change the rule of a model.

        Raises:
            Problem: 422, it would be none; 409, a candidate would have no other version beside it,
                or the one before it would go live by that.
        """
        if "candidate" in changed and changed["candidate"] is None:
            changed = {**changed, "share": 0.0}

        versions = [v for v in self._models.versions() if v.card.name == name]

        def merged(before: ServingRule) -> ServingRule:
            rule = ServingRule.model_validate(before.model_dump() | changed)
            if rule.candidate is None:
                return rule
            live = live_version(versions, rule)
            if live is None:
                raise Problem(
                    409,
                    f"a candidate has a share of the requests that another version of {name} "
                    "answers, and none is proven here",
                )
            if live.card.version == before.candidate:
                raise Problem(
                    409,
                    f"version {before.candidate} is the candidate still, and would answer all "
                    "others; pin the version that shall, or let this one answer: candidate null",
                )
            return rule

        try:
            with _writable():
                self._models.rules.change(name, merged)
        except ValidationError as error:
            raise Problem(422, error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def _root(self) -> Path:
        if self._settings.models is None:
            raise Problem(
                409,
                "this service has one package and no folder of models: SEG_MODELS=DIR names one",
            )
        return self._settings.models


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise Problem(409, "the service may not write to its folder of models") from None


def _path_of(version: ModelVersion) -> tuple[str, str, str]:
    return version.card.name, "versions", version.card.version


def _check_names(name: str, version: str) -> None:
    """Both stand in addresses, as one part of a path; together, with a colon, they choose."""
    if not _is_plain(name) or ":" in name:
        raise Problem(
            422,
            f"a model's name has letters, digits and the like, {LONGEST_NAME} at most, "
            "no slash and no colon",
        )
    if not _is_plain(version) or version == LATEST:
        raise Problem(
            422,
            f"a version has letters, digits, dots and the like, {LONGEST_NAME} at most, no slash, "
            f"and is not {LATEST}",
        )


def _is_plain(text: str) -> bool:
    return (bool(text.strip(". ")) and text.isprintable() and "/" not in text) and len(
        text
    ) <= LONGEST_NAME


def _share_of(query: Any) -> float | None:
    if set(query) - {"share"}:
        raise Problem(422, "a model that is taken in has one option, share")
    if "share" not in query:
        return None
    try:
        share = float(query["share"])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Problem(422, "share is a number from 0 to 1, of the requests that name no version")
    return share


async def _rule_body(request: Request) -> bytes:
    too_long = Problem(413, "a rule is a short JSON object", {"Connection": "close"})
    return await short_body(request, MOST_RULE_BYTES, too_long)


def _rule_fields(body: bytes) -> dict[str, Any]:
    """What a client wants changed, and nothing else."""
    try:
        change = RuleChange.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Problem(422, f"{where}: {first['msg'].lower()}; a rule has {_FIELDS}") from None
    if not change.model_fields_set:
        raise Problem(422, f"nothing is changed; a rule has {_FIELDS}")
    return change.model_dump(include=change.model_fields_set)


_FIELDS = ", ".join(RuleChange.model_fields)
