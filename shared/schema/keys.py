"""API keys and what their owners may take."""

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, Field

from shared.schema.base import Request, Response
from shared.scopes import Scope


class KeyRequest(Request):
    """A key for an owner. Owners exist by having keys."""

    owner: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00/]+$")
    scopes: list[Scope] = Field(
        min_length=1, max_length=len(Scope), description="read: see; write: store, submit, cancel, delete; admin: keys"
    )
    name: str = Field("", max_length=200, pattern=r"^[^\x00]*$", description="to tell it from others")
    expires_at: AwareDatetime | None = None


class OwnerLimits(Request):
    """What an owner may take; null for what the service's settings say."""

    requests_per_minute: int | None = Field(None, gt=0, le=2**31 - 1, description="at all gateways together")
    stored_bytes: int | None = Field(None, ge=0, le=2**63 - 1, description="of all its images")
    queued_jobs: int | None = Field(None, ge=0, le=2**31 - 1, description="that wait at any time")


class LimitsInForce(Response):
    """The owner's own limits, and where it has none those of the service's settings; null for no limit."""

    requests_per_minute: int
    stored_bytes: int | None
    queued_jobs: int | None


class LimitsUsed(Response):
    stored_bytes: int = Field(description="of its images, and of uploads from their declaration on")
    queued_jobs: int


class Allowance(Response):
    """What an owner may take, and how much of it is taken. `own` is what was set, and can be set again."""

    owner: str
    own: OwnerLimits
    in_force: LimitsInForce
    used: LimitsUsed


class Key(Response):
    id: UUID
    owner: str
    name: str
    scopes: list[Scope]
    hint: str = Field(description="the secret's first characters")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class CreatedKey(Key):
    secret: str = Field(description="shown this once; send it as `Authorization: Bearer …`")


class Keys(Response):
    keys: list[Key]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")
