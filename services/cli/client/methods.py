"""Methods of both clients at once: what is declared with these is blocking on one and awaited on the other.

`operation` declares one request of the API, `streamed` one whose answer is read in pieces, `composed` what takes more.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from services.cli.client.errors import Unreachable
from services.cli.client.fronts import Awaited, Blocking, Front
from services.cli.client.pieces import Cutter
from services.cli.client.requests import Body, Request, filled
from services.cli.client.steps import Send, Steps, patiently
from shared.version import VERSION

P = ParamSpec("P")
T = TypeVar("T")
Page = TypeVar("Page")
Item = TypeVar("Item")

IDEMPOTENCY_KEY = "Idempotency-Key"
"""Goes with every POST that would do something twice, so that the service can tell its repetitions."""


class Composed(Generic[P, T]):
    """A call with one answer."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self.steps = steps
        self.declared: Callable[..., Any] = steps

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaited, owner: type) -> Callable[P, Awaitable[T]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _method(self.declared, lambda *args, **kwargs: client.run(self.steps(client, *args, **kwargs)))


class Operation(Composed[P, T]):
    """A request of the API and what is read from its answer.

    method, path: as the OpenAPI document has them. query: which of the parameters go there; those in the path go into
    it, and the rest is in the body, which the declared function returns. answer: a model, bytes, or NoneType.
    """

    def __init__(
        self,
        declared: Callable[Concatenate[Any, P], Body | None],
        method: str,
        path: str,
        answer: type[T],
        query: Sequence[str],
        keyed: bool,
        patient: bool,
    ) -> None:
        super().__init__(self._steps)
        self.declared = declared
        self.method, self.path, self.answer = method, path, answer
        self.query = tuple(query)
        self.keyed, self.patient = keyed, patient
        self._body = declared
        self._signature = inspect.signature(declared)
        self.parameters = self._signature.parameters

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """The request of a call with these arguments. Of the query only what is not as by default is sent.

        A parameter `idempotency_key` is for a caller who may have to make the same call again in another process.
        """
        bound = self._signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        query = {name: given[name] for name in self.query if given[name] != self.parameters[name].default}
        key = given.get("idempotency_key") or uuid4()
        headers = {IDEMPOTENCY_KEY: f'"{key}"'} if self.keyed else {}
        return Request(self.method, filled(self.path, given), query, headers, self._body(None, *args, **kwargs))

    def answered(self, client: Front, /, *args: P.args, **kwargs: P.kwargs) -> Steps[httpx.Response]:
        """The answer as it came."""
        return self._tried(client, Send(self.request(*args, **kwargs)))

    def opened(self, client: Front, /, *args: P.args, **kwargs: P.kwargs) -> Steps[httpx.Response]:
        """The same without its body, which is still to be read."""
        return self._tried(client, Send(self.request(*args, **kwargs), streamed=True))

    def _steps(self, client: Front, /, *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        return self.read(client, (yield from self.answered(client, *args, **kwargs)))

    def _tried(self, client: Front, send: Send) -> Steps[httpx.Response]:
        return patiently(send, client.patience if self.patient else 0.0)

    def read(self, client: Front, answer: httpx.Response) -> T:
        """What the answer says. Raises Unreachable where that is something else."""
        if not issubclass(self.answer, BaseModel):
            return cast(T, answer.content if self.answer is bytes else None)
        try:
            return self.answer.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "body"
            kind = self.answer.__name__
            raise Unreachable(
                f"{client.url} answered with what is no {kind} to glamm {VERSION} ({place}: {first['msg']}).",
                field="url",
                remedy="If the service is newer, install its version here; otherwise check that --url names it.",
            ) from error


class Streamed(Generic[P, Item]):
    """A call whose answer comes in pieces, such as lines, in constant memory.

    opened: the call until the answer's body begins. operation: the one of the API that is called, if it is one of its.
    """

    def __init__(
        self,
        opened: Callable[Concatenate[Any, P], Steps[httpx.Response]],
        cutter: Callable[[], Cutter[Item]],
        operation: Operation[P, bytes] | None = None,
    ) -> None:
        self.opened, self.cutter, self.operation = opened, cutter, operation
        self.declared: Callable[..., Any] = operation.declared if operation else opened

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, client: Awaited, owner: type) -> Callable[P, AsyncIterator[Item]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _method(
            self.declared, lambda *args, **kwargs: client.stream(self.opened(client, *args, **kwargs), self.cutter())
        )


class Paged(Generic[P, Item]):
    """The entries of a list, from the first page to the last; `cursor` and `limit` are those of a page."""

    def __init__(self, page: Operation[P, Page], items: Callable[[Page], Sequence[Item]]) -> None:
        self.page: Operation[P, Any] = page
        self.items: Callable[[Any], Sequence[Item]] = items
        self.declared = page.declared

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, client: Awaited, owner: type) -> Callable[P, AsyncIterator[Item]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        def entries(*args: Any, **kwargs: Any) -> Any:
            def page(cursor: str | None) -> Steps[Any]:
                behind = {} if cursor is None else {"cursor": cursor}
                return self.page.steps(client, *args, **{**kwargs, **behind})

            return client.pages(page, self.items)

        return _method(self.declared, entries)


def operation(
    method: str,
    path: str,
    answer: type[T],
    *,
    query: Sequence[str] = (),
    keyed: bool | None = None,
    patient: bool = True,
) -> Callable[[Callable[Concatenate[Any, P], Body | None]], Operation[P, T]]:
    """One whose answer was lost is sent again: by its key, or by itself, that has no further effect.

    keyed: with an Idempotency-Key, by default every POST; the answer of one that is harmless need not be kept.

    patient: it is tried again while the service is away.
    """
    named = method == "POST" if keyed is None else keyed
    return lambda declared: Operation(declared, method, path, answer, query, named, patient)


def streamed(
    method: str, path: str, cutter: Callable[[], Cutter[Item]]
) -> Callable[[Callable[Concatenate[Any, P], Body | None]], Streamed[P, Item]]:
    """An operation of the API whose answer the cutter cuts into pieces."""

    def declare(declared: Callable[Concatenate[Any, P], Body | None]) -> Streamed[P, Item]:
        whole = Operation(declared, method, path, bytes, (), keyed=False, patient=True)
        return Streamed(whole.opened, cutter, whole)

    return declare


def composed(steps: Callable[Concatenate[Any, P], Steps[T]]) -> Composed[P, T]:
    return Composed(steps)


def _method(declared: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with the name and the docstring of what was declared."""
    return functools.wraps(declared)(call)
