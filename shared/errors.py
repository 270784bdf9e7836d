"""The errors a user of the service can meet, and their one description as RFC 9457 problems.

An error is raised where it is known and translated once: by the gateway into a response, by a worker into the
`error` of a failed job.
"""

# ruff: noqa: N818 -- the names say what happened, and are the ones users of the package catch
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

PROBLEM_TYPE = "urn:glamm:problem:"


@dataclass(frozen=True)
class Problem:
    """An RFC 9457 problem; `field` is the input at fault and `remedy` what to do about it, where there is one."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None
    lines: tuple[Mapping[str, Any], ...] = ()
    """Of a manifest: which are wrong, with the `field`, `detail` and `remedy` of each."""

    def to_json(self) -> dict[str, Any]:
        members = asdict(self)
        if not self.lines:
            del members["lines"]
        return members

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Problem":
        """Members that are not a problem's are left aside: a stored failure carries more."""
        return cls(
            type=data["type"],
            title=data["title"],
            status=data["status"],
            detail=data["detail"],
            field=data.get("field"),
            remedy=data.get("remedy"),
            lines=tuple(data.get("lines", ())),
        )


class GlammError(Exception):
    """Base of every error that has a meaning outside the code that raised it."""

    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    type_slug: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.remedy = remedy

    def to_problem(self) -> Problem:
        return Problem(
            type=PROBLEM_TYPE + self.type_slug,
            title=self.title,
            status=self.status,
            detail=self.detail,
            field=self.field,
            remedy=self.remedy,
        )


class InvalidSettings(GlammError):
    """The process cannot start with the environment it was given."""

    title = "Invalid settings"
    type_slug = "invalid-settings"


class InvalidInput(GlammError):
    """The request is understood and wrong: `field` names the part at fault, `remedy` what would be accepted."""

    title = "Invalid input"
    status = 422
    type_slug = "invalid-input"

    def __init__(self, field: str, detail: str, remedy: str) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class InvalidLines(InvalidInput):
    """Lines of a manifest are wrong. more: besides those that are told of. of_list: they are entries of a list.

    The field of an entry says which one it is.
    """

    def __init__(self, faults: Sequence[tuple[int, Problem]], more: bool, *, of_list: bool = False) -> None:
        (number, first), *others = faults
        if of_list:
            where = field = str(first.field)
            what = "entries"
        else:
            where, what = f"Line {number}", "lines"
            field = f"line {number}" if first.field in (None, "line") else f"line {number}: {first.field}"
        also = f" So {'are at least' if more else 'are'} {len(others)} more." if others else ""
        super().__init__(
            field,
            f"{where} is wrong: {first.detail}{also}",
            f"{first.remedy} Or send on_invalid=skip to leave such {what} out.",
        )
        self.lines = tuple(faults)

    def to_problem(self) -> Problem:
        lines = tuple(
            {"line": number, "field": problem.field, "detail": problem.detail, "remedy": problem.remedy}
            for number, problem in self.lines
        )
        return replace(super().to_problem(), lines=lines)


class UnsupportedMedia(InvalidInput):
    """The bytes, or the content type they came with, are of a kind that is not read here."""

    title = "Unsupported media type"
    status = 415
    type_slug = "unsupported-media"


class TooLarge(InvalidInput):
    """More bytes or pixels than the service takes."""

    title = "Content too large"
    status = 413
    type_slug = "too-large"


class NotFound(GlammError):
    """There is no such thing, or it is another owner's: nothing tells the one from the other.

    what: a word of the API's, such as "job"; or one of this code's, such as "object". field: the input that names it.
    """

    title = "Not found"
    status = 404
    type_slug = "not-found"
    _where: ClassVar[Mapping[str, tuple[str, str]]] = {
        "batch": ("batch_id", "GET /batches has those that there are."),
        "conversation": ("conversation_id", "Begin one with POST /conversations."),
        "image": ("image_id", "Send the image with POST /images first."),
        "job": ("job_id", "GET /jobs has those that there are."),
        "key": ("key_id", "GET /keys has those that there are."),
        "owner": ("name", "Make the owner with its first key: POST /keys."),
        "webhook": ("webhook_id", "GET /webhooks has those that there are."),
    }
    """The field that names a thing, and where to find one, unless it is said otherwise."""

    def __init__(
        self,
        what: str,
        id: object,  # noqa: A002
        *,
        field: str | None = None,
        detail: str | None = None,
        remedy: str | None = None,
    ) -> None:
        named, where = self._where.get(what, (None, None))
        super().__init__(detail or f"There is no {what} {id}.", field=field or named, remedy=remedy or where)
        self.what = what
        self.id = id


class Conflict(GlammError):
    """The request does not fit the present state of the thing it names."""

    title = "Conflict"
    status = 409
    type_slug = "conflict"


class UnderWay(Conflict):
    """The same request is carried out this moment; `retry_after` is in seconds."""

    title = "Under way"
    type_slug = "under-way"

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "A request with this Idempotency-Key is under way.",
            field="Idempotency-Key",
            remedy=f"Send it again in {math.ceil(retry_after)} s to get its answer.",
        )
        self.retry_after = retry_after


class KeyReused(InvalidInput):
    """An Idempotency-Key stands for one request, and this is another."""

    title = "Idempotency-Key reused"
    type_slug = "idempotency-key-reused"

    def __init__(self, detail: str) -> None:
        super().__init__("Idempotency-Key", detail, "Send a key of its own with each request; a UUID serves well.")


class IdTaken(Conflict):
    """What is to be made under an id that was chosen for it is there already, or something else is."""

    type_slug = "id-taken"

    def __init__(self, what: str, id: object, *, field: str | None = None, remedy: str | None = None) -> None:  # noqa: A002
        other = "" if field is None else f", and its {field} is another"
        super().__init__(f"There is a {what} {id} already{other}.", field=field, remedy=remedy)


class Unauthenticated(GlammError):
    """No key came with the request, or one that opens nothing."""

    title = "Unauthenticated"
    status = 401
    type_slug = "unauthenticated"


class Forbidden(GlammError):
    """The key does not have the scope that the request needs."""

    title = "Forbidden"
    status = 403
    type_slug = "forbidden"


class LimitReached(GlammError):
    """The owner has as much of something as it may have."""

    title = "Limit reached"
    status = 429
    type_slug = "limit-reached"

    def __init__(self, limit: str, most: int, of_what: str, remedy: str, retry_after: float | None = None) -> None:
        super().__init__(f"The limit of {most:,} {of_what} is reached.", field=limit, remedy=remedy)
        self.limit = limit
        self.retry_after = retry_after


class Overloaded(GlammError):
    """The service takes no more for the moment; `retry_after` is in seconds."""

    title = "Overloaded"
    status = 503
    type_slug = "overloaded"

    def __init__(self, retry_after: float, detail: str = "The service has all the work it can take.") -> None:
        super().__init__(detail, remedy=f"Try again in {math.ceil(retry_after)} s.")
        self.retry_after = retry_after


class Unavailable(GlammError):
    """A server that this one leans on does not answer."""

    title = "Service unavailable"
    status = 503
    type_slug = "unavailable"

    def __init__(self, service: str, detail: str | None = None, remedy: str = "Try again shortly.") -> None:
        super().__init__(detail or f"The {service} does not answer.", remedy=remedy)
        self.service = service


class WorkerLost(GlammError):
    """Every worker that started the job stopped answering before it had finished."""

    title = "Worker lost"
    type_slug = "worker-lost"

    def __init__(self) -> None:
        super().__init__(
            "Each worker that started this stage stopped answering before it had finished.",
            remedy="Look for this job's id in the workers' logs; it may need more memory than they have.",
        )


class FeaturesLost(GlammError):
    """The features of an image went again and again before the stage that needs them could read them."""

    title = "Features lost"
    type_slug = "features-lost"

    def __init__(self, part: str) -> None:
        super().__init__(
            f"The image's features ({part}) were evicted before they could be used, time after time.",
            remedy="Enlarge the features store, or lower the admission window.",
        )


class Expired(GlammError):
    """The job was not finished in the time that it was given."""

    title = "Expired"
    status = 504
    type_slug = "expired"

    def __init__(self) -> None:
        super().__init__("The job was not finished before it expired.", remedy="Submit it again.")


class ExportFailed(GlammError):
    """A batch's dataset could not be built."""

    title = "Export failed"
    type_slug = "export-failed"


def problem_slugs(kind: type[GlammError] = GlammError) -> set[str]:
    """What the types of all problems that this version knows end with."""
    return {kind.type_slug}.union(*map(problem_slugs, kind.__subclasses__()))
