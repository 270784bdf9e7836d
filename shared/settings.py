"""Every setting of every process, read once from the environment (`GLAMM_*`)."""

import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import InvalidSettings

ENV_PREFIX = "GLAMM_"
SHIPPED_CHECKPOINT = Path(__file__).parent / "model" / "checkpoints" / "scenes"


def _quarter_of_lease(fields: dict[str, Any]) -> float:
    return float(fields.get("lease_seconds", 60.0)) / 4


def _as_services_reach_it(fields: dict[str, Any]) -> str:
    return str(fields.get("s3_endpoint", ""))


def _as_services_speak_to_it(fields: dict[str, Any]) -> bool:
    return bool(fields.get("s3_secure", False))


def _bucket(name: str) -> str:
    """The name, if S3 has such buckets: its client refuses others at their first use. Raises ValueError."""
    plain = re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name)
    address = re.fullmatch(r"(\d+\.){3}\d+", name)
    if not plain or address or any(pair in name for pair in ("..", ".-", "-.")):
        raise ValueError(
            f"{name!r} is no name of a bucket, which has 3 to 63 of a-z, 0-9, hyphens and single dots, a letter or "
            "digit at each end, and is no IP address"
        )
    return name


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, env_ignore_empty=True)

    database_url: str = Field(
        default="postgresql+psycopg://glamm:glamm@localhost:5432/glamm", pattern=r"^postgresql\+psycopg://"
    )
    broker_url: str = Field(default="redis://localhost:6379/0", pattern=r"^(rediss?|redis\+socket|unix)://")
    features_url: str = Field(default="redis://localhost:6380/0", pattern=r"^(rediss?|unix)://")

    s3_endpoint: str = Field(default="localhost:9000", pattern=r"^[^/]+$", description="host:port, without a scheme")
    s3_access_key: str = "glamm"
    s3_secret_key: SecretStr = SecretStr("glamm-secret")
    s3_bucket: str = "glamm"
    s3_secure: bool = False
    s3_region: str = "us-east-1"
    s3_public_endpoint: str = Field(
        default_factory=_as_services_reach_it,
        pattern=r"^[^/]+$",
        description="host:port that clients reach, for presigned URLs; s3_endpoint by default",
    )
    s3_public_secure: bool = Field(default_factory=_as_services_speak_to_it, description="s3_secure by default")

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8000, ge=0, le=65535)
    max_image_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    max_image_pixels: int = Field(default=64_000_000, gt=0)
    max_image_side: int = Field(default=16_384, gt=0)
    upload_url_seconds: int = Field(default=3600, gt=0, le=7 * 24 * 3600, description="a presigned upload may begin")
    upload_ttl_seconds: float = Field(
        default=24 * 3600.0, gt=0, description="from the declaration of an upload to its first use; then it is swept"
    )
    image_retention_days: float | None = Field(
        default=None, gt=0, description="older images are deleted once no unfinished job needs them; none: never"
    )
    max_prompt_chars: int = Field(default=4000, gt=0)
    max_boxes: int = Field(default=64, gt=0)
    max_expressions: int = Field(default=64, gt=0, description="of refseg, and phrases of ground")
    requests_per_minute: int = Field(default=60_000, gt=0, description="of an owner without a limit of its own")
    max_stored_bytes: int | None = Field(
        default=None, ge=0, description="images of an owner without a limit of its own"
    )
    max_queued_jobs: int | None = Field(default=None, ge=0, description="of an owner without a limit of its own")
    max_batch_jobs: int = Field(default=1_000_000, gt=0)
    import_buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="buckets of the object store, by commas, whose images any owner's batch may name"
    )
    max_wait_seconds: float = Field(default=60.0, ge=0, description="longest long-poll")
    max_event_streams: int = Field(default=1000, gt=0, description="of each gateway process, at any time")
    max_webhooks: int = Field(default=20, ge=0, description="of an owner")
    webhook_allow_private: bool = Field(default=False, description="also to addresses that are not public")

    checkpoint: Path = SHIPPED_CHECKPOINT
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:\d+)$")
    dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = Field(default=False, description="torch.compile for vision and pixel; makes the first job slow")
    torch_threads: int | None = Field(default=None, gt=0)

    lease_seconds: float = Field(default=60.0, gt=0)
    heartbeat_seconds: float = Field(default_factory=_quarter_of_lease, gt=0)
    max_attempts: int = Field(default=3, gt=0, description="starts a stage before the job fails")
    max_rewinds: int = Field(default=5, ge=0, description="returns to vision for features that have gone")
    watchdog_seconds: float = Field(default=300.0, gt=0, description="an engine that takes longer for a step is stuck")
    drain_seconds: float = Field(default=20.0, ge=0)

    admission_window: int = Field(default=64, gt=0, description="jobs between queued and finished at any time")
    admission_reserve: int = Field(default=16, ge=0, description="so many more, for interactive jobs alone")
    sweep_seconds: float = Field(default=5.0, gt=0)
    resend_seconds: float = Field(default=30.0, gt=0)
    job_ttl_seconds: float = Field(default=7 * 24 * 3600.0, gt=0)
    idempotency_key_seconds: float = Field(
        default=24 * 3600.0, gt=0, description="how long an answer is kept for repetitions of its request"
    )
    feature_ttl_seconds: int = Field(default=3600, gt=0)

    export_folder: Path | None = Field(
        default=None, description="for the scheduler's temporary files, which are gigabytes; none: the system's"
    )
    export_ttl_seconds: float = Field(default=7 * 24 * 3600.0, gt=0, description="an export's file is kept so long")
    export_fresh_seconds: float = Field(
        default=60.0, ge=0, description="an export of a batch that still runs is as good as a new one for so long"
    )

    vision_batch: int = Field(default=8, gt=0)
    llm_batch: int = Field(default=16, gt=0, description="answers at once; an eighth more if those are urgent")
    pixel_batch: int = Field(default=8, gt=0)
    max_new_tokens: int = Field(default=512, gt=0)

    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("import_buckets", mode="before")
    @classmethod
    def _by_commas(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("s3_bucket")
    @classmethod
    def _names_a_bucket(cls, value: str) -> str:
        return _bucket(value)

    @field_validator("import_buckets")
    @classmethod
    def _of_others(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("s3_bucket") in value:
            raise ValueError("must not name the service's own bucket, which holds every owner's images")
        return tuple(map(_bucket, value))

    @field_validator("heartbeat_seconds")
    @classmethod
    def _beats_within_the_lease(cls, value: float, info: ValidationInfo) -> float:
        if value >= info.data.get("lease_seconds", math.inf):
            raise ValueError("must be shorter than GLAMM_LEASE_SECONDS")
        return value

    @field_validator("upload_ttl_seconds")
    @classmethod
    def _outlasts_the_url(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("upload_url_seconds", 0):
            raise ValueError("must be longer than GLAMM_UPLOAD_URL_SECONDS")
        return value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process. Raises InvalidSettings naming every variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise _explained(error) from None


def _explained(error: ValidationError) -> InvalidSettings:
    found = error.errors(include_input=False)
    # Defaults that follow from others come to nothing where any is wrong; that is no fault of theirs.
    own = [fault for fault in found if fault["type"] != "default_factory_not_called"]
    faults = [(ENV_PREFIX + str(fault["loc"][0]).upper(), fault["msg"].removeprefix("Value error, ")) for fault in own]
    listed = "; ".join(f"{variable}: {message}" for variable, message in faults)
    return InvalidSettings(
        f"Invalid settings: {listed}.",
        field=faults[0][0],
        remedy=f"Correct or unset {', '.join(dict.fromkeys(variable for variable, _ in faults))}.",
    )
