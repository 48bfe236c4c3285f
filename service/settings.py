"""Every knob of the service, set by environment variables: ``SEG_`` and the field's name."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from seg.errors import ConfigError
from seg.names import AskedPrecision, Provider

PACKAGED = Path(__file__).parents[1] / "package"
"""Where a bento carries its model package; beside ``service/``."""

PREFIX = "SEG_"
PROXY = r"^(https?://)?([A-Za-z0-9._\[\]:-]+)?(/[A-Za-z0-9._~-]+)*/?$"

AE_TITLE = r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?"
"""16 letters of ASCII at most, no backslash. Source: DICOM PS3.5, 6.2."""

FRONT_ENDS = ("monailabel", "oip", "dicomweb", "label-studio", "oip-grpc")

QualityLevel = Literal["full", "balanced", "fast"]
"""The network as it was trained, variants that lose little, the fastest."""


class Settings(BaseSettings):
    """What an operator can choose.

    Usage::

        SEG_PACKAGE=runs/nuclei/package SEG_MAX_BODY_MB=500 seg serve
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    package: Path = PACKAGED
    """Folder of a model package: the one that is served, or the default of several."""
    models: Path | None = None
    """Folder of model packages, looked at again and again; None serves ``package`` alone."""
    default_model: str | None = None
    """Model that answers requests which name none; None is that of ``package``, or the only one."""
    max_models: Annotated[int, Field(ge=1)] = 4
    """Models in memory at the same time, and one more while a new version is proven."""
    max_models_mb: Annotated[float, Field(gt=0)] | None = None
    """All that lies in the folder of models, in 10⁶ bytes, beyond which none is taken in; None is
    what lies there when the service starts and half of what its disk has free then."""
    models_poll_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds between two looks at the folder of models."""
    max_model_mb: Annotated[float, Field(gt=0)] = 4000.0
    """Largest model package that is taken in, packed and unpacked, in 10⁶ bytes."""
    variant: str | None = None
    """Variant of the package to serve; None is the first one."""
    lowest_quality: QualityLevel = "full"
    """Quality below which nobody is answered, whatever the load and whatever a request asks for;
    a lower one lets the service give faster variants while it is busy."""
    max_wait_s: Annotated[float, Field(gt=0)] = 1.0
    """Expected wait above which faster variants answer, where they are allowed."""
    provider: Provider = "auto"
    """What runs the network; ``auto`` is the fastest here that agrees with the golden samples."""
    cuda_device: Annotated[int, Field(ge=0)] | None = None
    """Number of the card, of those in sight, that this process computes on; None gives each worker
    of a machine one in turn. ``seg.cuda_driver`` reads it."""
    cuda_memory_mb: Annotated[float, Field(gt=0)] | None = None
    """Most of a card's memory that one network may hold, in 10⁶ bytes; None for all of it.
    ``seg.cuda_driver`` reads it."""
    idle_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds without a request after which a model gives back the memory of its runs; it stays
    ready."""
    precision: AskedPrecision = "auto"
    """Of the network's arithmetic; ``auto`` is the fastest that the package knows to lose nothing
    worth a word, another one is taken or the model refused."""
    network_threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads that run the network; None takes all cores of this process."""
    batching: Literal["auto", "cpu", "gpu"] = "auto"
    """``cpu``: one patch a run on every core; ``gpu``: batches, one run at a time; ``auto`` follows
    the provider."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Most patches in one run; None takes what is fastest here within ``max_batch_ms``."""
    max_batch_ms: Annotated[float, Field(gt=0)] = 500.0
    """Milliseconds that a run of several patches may take, where the batch size is measured."""
    batch_wait_ms: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds that a free device waits for its batch to fill; None is a twentieth of a run."""
    max_body_mb: Annotated[float, Field(gt=0)] = 100.0
    """Largest request body, in 10⁶ bytes."""
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    """Most pixels of an image or of a slice; None is the image readers' own limit."""
    max_voxels: Annotated[int, Field(ge=1)] | None = None
    """Most voxels of a volume; None is the image readers' own limit."""
    max_decoding_mb: Annotated[float, Field(gt=0)] | None = None
    """What images of all requests and jobs may take while they are decoded and until they are
    answered, unpacked, in memory and on disk, in 10⁶ bytes; None is half of the memory that the
    container or the machine has."""
    max_decoding_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of CPU after which the decoding of an image is stopped."""
    max_requests: Annotated[int, Field(ge=1)] = 64
    """Segmentations accepted at the same time, running or waiting; more get 503."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Images decoded and held in memory at the same time; None follows the batching."""
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds for the body of a request to arrive, and again until a segmentation is stopped."""

    keys: Literal["auto", "required", "off"] = "auto"
    """``off`` asks nobody for a key, ``required`` all. ``auto`` is ``required`` where the service
    listens beyond loopback or ``proxy`` is named; else it asks whoever does not come from this
    machine, or through a proxy."""
    proxy: Annotated[str, Field(pattern=PROXY)] | None = None
    """What is in front of the service: the address under which clients reach it, such as
    ``https://seg.example/ai``, or any name of it where paths stay as they are."""
    keys_file: Path = Path("keys.json")
    """Keys, as ``python -m service.keys`` writes them."""
    oidc_issuer: str | None = None
    """An OpenID Connect provider whose tokens are taken beside keys: its issuer, as its tokens
    name it."""
    oidc_audience: str | None = None
    """For whom its tokens must be made: ``aud``."""
    oidc_claim: str = "scope"
    """Where a token says what its holder may do; dots lead into objects: ``realm_access.roles``."""
    oidc_scopes: str = ""
    """What values there mean, as ``radiology=segment+jobs,it=admin``; none are the scopes' own
    names, alone or behind ``seg:``."""
    audit_log: Path | None = None
    """File of who asked what, when, and what became of it."""
    url_allow: str = ""
    """Hosts from which images may be fetched, with commas between them, as
    ``service.requests.addresses.AllowList`` reads them; none by default."""
    cors_origins: str = ""
    """Origins whose pages may call, with commas between them; none by default."""
    max_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Requests with a body that a client may send a minute; a key may have its own number."""
    max_client_requests: Annotated[int, Field(ge=1)] = 32
    """Requests with a body, and answers that last, that a client, a key or an address, may have in
    flight; more get 429."""
    upload_idle_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds that an upload may stand still."""
    max_uploads_mb: Annotated[float, Field(gt=0)] = 4000.0
    """Bodies of all requests together, in 10⁶ bytes; more get 503."""

    frontends: str = ""
    """Contracts of other programs that are answered too, with commas between them: ``monailabel``,
    ``oip``, ``dicomweb``, ``label-studio``, ``oip-grpc``; none by
    default."""
    grpc_host: str = "127.0.0.1"
    """Address on which the front end ``oip-grpc`` listens."""
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = 8001
    """Port on which it listens."""
    grpc_tls_file: Path | None = None
    """File of its certificate and key, and of the authorities whose certificates its clients must
    show, as ``seg.dicomweb.credentials`` reads it; None speaks without TLS."""
    label_studio: str = ""
    """Where Label Studio is, whose tasks say little more of their images than a path: an entry as
    of ``url_allow``, such as ``http://127.0.0.1:8080``."""
    label_studio_token_file: Path | None = None
    """File of a token of Label Studio, which is shown to no other host; None asks without."""
    dicomweb: str = ""
    """Archives (PACS) whose series may be fetched and where results may be stored, with commas
    between them: ``NAME=http://host/dicom-web``. ``SEG_DICOMWEB_NAME_FILE`` holds the credentials
    for one of them."""
    dicomweb_retry_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds for which an archive that is away is asked again before a job fails."""
    lowest_dice: Annotated[float, Field(ge=0, le=1)] | None = None
    """Predicted Dice below which a result of an archive's series is a draft; one of which none is
    predicted is too. None lets all pass."""
    below_lowest_dice: Literal["draft", "withhold"] = "draft"
    """What becomes of it: ``draft`` stores it as a series that says so, ``withhold`` stores
    nothing."""
    dicom_rules: Path | None = None
    """File that says which series that archives send are segmented, by which model, and where
    results go, as ``service.archives.rules`` reads it; None takes every volume."""
    dicom_silence_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds without another slice after which a series that is sent counts as complete."""
    dicom_broken_s: Annotated[float, Field(gt=0)] = 60.0
    """The same where its sender broke off, or ``service.dicom`` died, and will send it again."""
    dicom_title: Annotated[str, Field(pattern=rf"^{AE_TITLE}$")] = "SEG"
    """Our own AE title in DICOM's protocol, which ``python -m service.dicom`` speaks."""
    dicom_host: str = "127.0.0.1"
    """Address on which it listens."""
    dicom_port: Annotated[int, Field(ge=1, le=65535)] = 11112
    """Port on which it listens."""
    dicom_peers: str = ""
    """Programs that may send to it and that results may be sent to, with commas between them:
    ``NAME=TITLE@HOST:PORT``, or ``NAME=TITLE@HOST:PORT/tls``."""
    dicom_tls_file: Path | None = None
    """File of our certificate and of those that we trust, as ``seg.dicomweb.credentials`` reads it;
    None speaks without TLS."""
    dicom_spool: Path = Path("received")
    """Folder of what has come and is not yet a job, at most ``max_uploads_mb``."""
    sessions: Path = Path("sessions")
    """Folder of the images that front ends keep for a while, at most ``max_uploads_mb``."""
    train_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes of a training that a front end's user may order on ``studies``, of the model that
    answers; None offers none."""
    studies: Path | None = None
    """Folder of a dataset in which a front end's users annotate; None is that of the studio."""
    studio: Path | None = None
    """Folder of a dataset that is drawn on in the studio's page; None shows no studio."""
    max_studio_mb: Annotated[float, Field(gt=0)] | None = None
    """Images of that folder and all that is drawn on them, in 10⁶ bytes; None is what lies there
    when the service starts and half of what its disk has free then."""
    max_train_disk_mb: Annotated[float, Field(gt=0)] | None = None
    """What an ordered training may write, in 10⁶ bytes, beyond which it is ended; None is half of
    what the disk has free when it begins."""
    max_train_mb: Annotated[float, Field(gt=0)] | None = None
    """Memory of an ordered training with all of its processes, in 10⁶ bytes, beyond which it is
    ended; None is three quarters of what the container or the machine has."""

    jobs_files: str = "jobs"
    """Where images and answers of jobs are kept: a folder, or a URL that fsspec knows, such as
    ``s3://bucket/jobs``."""
    jobs_database: str | None = None
    """URL of the database of jobs, for SQLAlchemy; None is SQLite in the folder of the files."""
    job_workers: Annotated[int, Field(ge=0)] = 1
    """Jobs that this process works on at the same time; 0 only takes them in."""
    max_jobs: Annotated[int, Field(ge=1)] = 100
    """Jobs that wait; more get 503."""
    max_kept_jobs: Annotated[int, Field(ge=2)] = 100_000
    """Jobs that are kept, those that are over as well, and half as many of one key; more get 507
    and 429."""
    max_job_mb: Annotated[float, Field(gt=0)] = 2000.0
    """Largest body of a job, in 10⁶ bytes."""
    max_jobs_mb: Annotated[float, Field(gt=0)] | None = None
    """Images and answers of all jobs that are kept, in 10⁶ bytes; None is half of the disk on which
    they lie, or the longest queue of the largest bodies in an object store."""
    max_client_jobs_mb: Annotated[float, Field(gt=0)] | None = None
    """The same of the jobs of one key; None is half of it."""
    job_timeout_s: Annotated[float, Field(gt=0)] = 4 * 3600.0
    """Seconds for the upload of a job, and again for its work."""
    job_keep_s: Annotated[float, Field(gt=0)] = 24 * 3600.0
    """Seconds after which a job and its files are deleted, counted from its end; one that nobody
    works on is deleted as long after its upload."""
    job_lease_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a worker that gives no sign of life has lost its job."""

    @property
    def database_url(self) -> str:
        """URL of the database of jobs.

        Raises:
            ConfigError: files are not on this machine, and no database is named.
        """
        if self.jobs_database:
            return self.jobs_database
        if "://" in self.jobs_files:
            raise ConfigError(
                "SEG_JOBS_FILES is no folder, so the jobs need a database: SEG_JOBS_DATABASE"
            )
        return f"sqlite:///{Path(self.jobs_files).absolute() / 'jobs.sqlite'}"

    @property
    def path_prefix(self) -> str:
        """What clients see before our paths, as far as ``proxy`` says it."""
        path = re.sub(r"^(https?://)?[^/]*", "", self.proxy or "")
        return path.rstrip("/")

    @property
    def drawn_folder(self) -> Path | None:
        """Where people draw, by whichever program.

        Raises:
            ConfigError: two folders are named.
        """
        if self.studio and self.studies and self.studio.absolute() != self.studies.absolute():
            raise ConfigError(
                "SEG_STUDIO and SEG_STUDIES name two folders; all draw in one: leave SEG_STUDIES "
                "out"
            )
        return self.studio or self.studies

    @field_validator("frontends")
    @classmethod
    def _front_ends_are_known(cls, names: str) -> str:
        if any(name.strip() not in (*FRONT_ENDS, "") for name in names.split(",")):
            raise ValueError(f"there is {' and '.join(FRONT_ENDS)}, with commas between them")
        return names

    @property
    def front_ends(self) -> tuple[str, ...]:
        """Names of the front ends that are on."""
        return tuple(name.strip() for name in self.frontends.split(",") if name.strip())

    @property
    def max_job_bytes(self) -> int:
        """Largest body of a job."""
        return int(self.max_job_mb * 1e6)

    @property
    def max_uploads_bytes(self) -> int:
        """Bodies of all requests together."""
        return int(self.max_uploads_mb * 1e6)

    @property
    def max_model_bytes(self) -> int:
        """Largest model package that is taken in."""
        return int(self.max_model_mb * 1e6)

    @property
    def max_models_bytes(self) -> int | None:
        """Of all that lies in the folder of models, where that is set."""
        return None if self.max_models_mb is None else int(self.max_models_mb * 1e6)

    @property
    def max_studio_bytes(self) -> int | None:
        """Of all that lies in the studio's folder, where that is set."""
        return None if self.max_studio_mb is None else int(self.max_studio_mb * 1e6)

    @property
    def single_package(self) -> Path | None:
        """The package that stands outside of the folder of models, if any."""
        return self.package if self.models is None or "package" in self.model_fields_set else None

    @property
    def max_body_bytes(self) -> int:
        """Largest request body."""
        return int(self.max_body_mb * 1e6)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is made in Python is what was given there: only ``from_environment`` looks round."""
        return (init_settings,)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process; an empty variable counts as not set.

        Raises:
            ConfigError: a variable has a value that it cannot have.
        """
        try:
            return cls(**_Variables(cls, environment)())
        except ValidationError as error:
            first = error.errors()[0]
            variable = PREFIX + str(first["loc"][0]).upper()
            raise ConfigError(
                f"{variable} cannot be {first['input']!r}: {first['msg'].lower()}"
            ) from error


class _Variables(EnvSettingsSource):
    """Variables as they are written in documents, of this process or of any mapping."""

    def __init__(self, settings: type[BaseSettings], environment: Mapping[str, str]) -> None:
        super().__init__(settings)
        self.env_vars = {
            name.lower(): value
            for name, value in environment.items()
            if name == name.upper() and (value or not self.env_ignore_empty)
        }
