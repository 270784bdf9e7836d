"""The engine as its users meet it: batches form by themselves, and nobody pays for another's fault."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from workers.core import BatchCore
from workers.engine import Engine, urgent_places
from workers.ticket import EngineBroken, GivenBack, Ticket, TookTooLong

SECONDS = 300  # how long a test waits for what must happen; never how long it takes


class Poison(Exception):  # noqa: N818
    """What a poisonous item raises."""


class Gate:
    """A batch function around a linear layer that stands still until it is let go, and tells what it was given."""

    def __init__(self, shut: bool = False) -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
        self.batches: list[int] = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        if not shut:
            self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def expected(self, item: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.layer(item[None])[0]

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Tensor]) -> list[Tensor]:
        self.batches.append(len(batch))
        self.entered.release()
        assert self._open.wait(SECONDS)
        if any(bool(item.isnan().any()) for item in batch):
            raise Poison("not a number")
        return list(self.layer(torch.stack(list(batch))))


@pytest.fixture
def start() -> Iterator[Callable[..., Engine[Tensor, Tensor]]]:
    engines: list[Engine[Tensor, Tensor]] = []

    def start(run: Callable[[Sequence[Tensor]], Sequence[Tensor]], capacity: int = 4) -> Engine[Tensor, Tensor]:
        engines.append(Engine(BatchCore(run), capacity, "test"))
        return engines[-1]

    yield start
    for engine in engines:
        engine.drain(SECONDS)


def item(value: float) -> Tensor:
    return torch.full((4,), float(value))


def test_an_item_that_comes_alone_runs_alone(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate()
    ticket = start(gate).submit(item(1))
    torch.testing.assert_close(ticket.result(SECONDS), gate.expected(item(1)))
    assert gate.batches == [1]


def test_what_gathers_during_a_step_is_the_next_batch(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate, capacity=4)
    tickets = [engine.submit(item(0))]
    assert gate.entered.acquire(timeout=SECONDS)
    tickets += [engine.submit(item(n)) for n in range(1, 7)]
    gate.open()
    for n, ticket in enumerate(tickets):
        torch.testing.assert_close(ticket.result(SECONDS), gate.expected(item(n)))
    assert gate.batches == [1, 4, 2]


def test_only_the_poisonous_item_of_a_batch_fails(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate, capacity=8)
    engine.submit(item(0))
    assert gate.entered.acquire(timeout=SECONDS)
    values = [1.0, 2.0, float("nan"), 4.0, 5.0]
    tickets = [engine.submit(item(value)) for value in values]
    gate.open()
    for value, ticket in zip(values, tickets, strict=True):
        if value == value:
            torch.testing.assert_close(ticket.result(SECONDS), gate.expected(item(value)))
        else:
            with pytest.raises(Poison, match="not a number"):
                ticket.result(SECONDS)


def test_a_batch_that_does_not_fit_into_memory_is_halved_for_good(
    start: Callable[..., Engine[Tensor, Tensor]],
) -> None:
    gate = Gate(shut=True)

    def small_device(batch: Sequence[Tensor]) -> list[Tensor]:
        outputs = gate(batch)
        if len(batch) > 2:
            raise torch.OutOfMemoryError(f"{len(batch)} items are too many")
        return outputs

    engine = start(small_device, capacity=8)
    engine.submit(item(0))
    assert gate.entered.acquire(timeout=SECONDS)
    tickets = [engine.submit(item(n)) for n in range(8)]
    gate.open()
    for n, ticket in enumerate(tickets):
        torch.testing.assert_close(ticket.result(SECONDS), gate.expected(item(n)))
    gate.shut()
    seen = len(gate.batches)
    engine.submit(item(0))
    while not gate.entered.acquire(blocking=False) or len(gate.batches) == seen:
        time.sleep(0.001)
    later = [engine.submit(item(n)) for n in range(8)]
    gate.open()
    for ticket in later:
        ticket.result(SECONDS)
    assert max(gate.batches[seen:]) == 2


@pytest.mark.parametrize("reserve", [0, 1, 3])
def test_the_reserve_is_part_of_what_has_to_fit_into_memory(reserve: int) -> None:
    gate = Gate(shut=True)

    def small_device(batch: Sequence[Tensor]) -> list[Tensor]:
        outputs = gate(batch)
        if len(batch) > 4:
            raise torch.OutOfMemoryError(f"{len(batch)} items are too many")
        return outputs

    engine: Engine[Tensor, Tensor] = Engine(BatchCore(small_device), 8, "test", reserve)
    try:
        for _ in range(2):
            gate.shut()
            seen = len(gate.batches)
            tickets = [engine.submit(item(0))]
            while len(gate.batches) == seen:
                assert gate.entered.acquire(timeout=SECONDS)
            tickets += [engine.submit(item(n), urgent=True) for n in range(1, 20)]
            gate.open()
            for n, ticket in enumerate(tickets):
                torch.testing.assert_close(ticket.result(SECONDS), gate.expected(item(n)))
        assert max(gate.batches[seen:]) <= 4
    finally:
        engine.drain(SECONDS)


def test_an_item_that_alone_does_not_fit_fails_with_that(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    def tiny_device(batch: Sequence[Tensor]) -> list[Tensor]:
        raise torch.OutOfMemoryError("nothing fits")

    with pytest.raises(torch.OutOfMemoryError):
        start(tiny_device).submit(item(1)).result(SECONDS)


def test_a_waiting_item_that_is_cancelled_never_runs(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate)
    first = engine.submit(item(1))
    assert gate.entered.acquire(timeout=SECONDS)
    second, third = engine.submit(item(2)), engine.submit(item(3))
    assert second.cancel()
    gate.open()
    first.result(SECONDS)
    third.result(SECONDS)
    with pytest.raises(CancelledError):
        second.result(SECONDS)
    assert gate.batches == [1, 1]


def test_urgent_items_are_in_the_next_batch_and_equals_keep_their_order() -> None:
    gate = Gate(shut=True)
    order: list[float] = []

    def run(batch: Sequence[Tensor]) -> list[Tensor]:
        order.extend(float(one[0]) for one in batch)
        return gate(batch)

    engine: Engine[Tensor, Tensor] = Engine(BatchCore(run), 2, "test")
    try:
        tickets = [engine.submit(item(0))]
        assert gate.entered.acquire(timeout=SECONDS)
        tickets += [engine.submit(item(n)) for n in (1, 2, 3)]
        tickets += [engine.submit(item(n), urgent=True) for n in (4, 5, 6)]
        gate.open()
        for ticket in tickets:
            ticket.result(SECONDS)
        assert order == [0, 4, 5, 6, 1, 2, 3]
        assert [ticket.waited_steps for ticket in tickets] == [0, 2, 3, 3, 1, 1, 2]
    finally:
        engine.drain(SECONDS)


class Paced:
    """A stepping core that takes a step a `pace`, and shows who is in it. Items stay until they are told to go."""

    def __init__(self) -> None:
        self.live: dict[int, str] = {}
        self.going: set[str] = set()
        self._began = threading.Semaphore(0)
        self._may_end = threading.Semaphore(0)

    def admit(self, key: int, name: str, _urgent: bool, /) -> None:
        self.live[key] = name

    def drop(self, key: int, /) -> None:
        self.live.pop(key, None)

    def shrink(self) -> bool:
        return False

    def step(self) -> list[tuple[int, str]]:
        self._began.release()
        assert self._may_end.acquire(timeout=SECONDS)
        gone = [key for key, name in self.live.items() if name in self.going]
        return [(key, self.live.pop(key)) for key in gone]

    def names(self) -> list[str]:
        """Who is in the step that has just begun; wait for it."""
        assert self._began.acquire(timeout=SECONDS)
        return list(self.live.values())

    def pace(self, *going: str) -> list[str]:
        """End the step under way, and with it some of its items; who is in the next one."""
        self.going.update(going)
        self._may_end.release()
        return self.names()

    def let_go(self) -> None:
        self.going.update(self.live.values())
        self._may_end.release(1000)


def test_urgent_items_enter_a_full_engine_at_its_next_step_and_nobody_else_takes_their_places() -> None:
    core = Paced()
    engine: Engine[str, str] = Engine(core, 2, "test", reserve=1)
    try:
        tickets = {name: engine.submit(name) for name in ("a",)}
        assert core.names() == ["a"]
        tickets |= {name: engine.submit(name) for name in ("b", "c", "d")}
        assert core.pace() == ["a", "b"]
        assert core.pace() == ["a", "b"]
        tickets |= {name: engine.submit(name, urgent=True) for name in ("u", "v")}
        assert core.pace() == ["a", "b", "u"]
        assert core.pace() == ["a", "b", "u"]
        # A place that comes free is for whoever is urgent, and then for all only when the reserve is free again.
        assert core.pace("a") == ["b", "u", "v"]
        assert core.pace("u") == ["b", "v"]
        assert core.pace("v") == ["b", "c"]
        assert core.pace("b", "c") == ["d"]
        assert {name: ticket.waited_steps for name, ticket in tickets.items()} == {
            "a": 0,
            "b": 1,
            "c": 7,
            "d": 8,
            "u": 1,
            "v": 3,
        }
    finally:
        core.let_go()
        engine.drain(SECONDS)


def test_a_reserve_is_an_eighth_and_never_nothing() -> None:
    assert [urgent_places(capacity) for capacity in (1, 8, 15, 16, 64)] == [1, 1, 1, 2, 8]


class Steps:
    """A core whose items take so many steps each, at most `wide` of them in memory at a time."""

    def __init__(self, wide: int = 8, fits: int = 8) -> None:
        self.wide, self.fits = wide, fits
        self.left: dict[int, int] = {}
        self.widths: list[int] = []

    def admit(self, key: int, steps: int, _urgent: bool, /) -> None:
        self.left[key] = steps

    def drop(self, key: int, /) -> None:
        self.left.pop(key, None)

    def shrink(self) -> bool:
        if self.wide == 1:
            return False
        self.wide //= 2
        return True

    def step(self) -> list[tuple[int, int]]:
        time.sleep(0.001)
        self.widths.append(min(self.wide, len(self.left)))
        if self.widths[-1] > self.fits:
            raise torch.OutOfMemoryError(f"{self.widths[-1]} are too many")
        for key in list(self.left)[: self.wide]:
            self.left[key] -= 1
        finished = [key for key, left in self.left.items() if left <= 0]
        return [(key, self.left.pop(key)) for key in finished]


def test_time_spent_waiting_counts_against_no_item_and_time_spent_running_does() -> None:
    engine: Engine[int, int] = Engine(Steps(), 1, "test")
    try:
        endless = engine.submit(10**9, limit=0.2)
        patient = [engine.submit(1, limit=0.1) for _ in range(3)]
        with pytest.raises(TookTooLong):
            endless.result(SECONDS)
        assert [ticket.result(SECONDS) for ticket in patient] == [0, 0, 0]
        assert all(ticket.waited_ms > 100 for ticket in patient)
    finally:
        engine.drain(SECONDS)


def test_a_core_that_can_do_with_less_memory_does_and_fails_nobody() -> None:
    core = Steps(wide=8, fits=2)
    engine: Engine[int, int] = Engine(core, 8, "test")
    try:
        assert [ticket.result(SECONDS) for ticket in [engine.submit(3) for _ in range(8)]] == [0] * 8
        assert core.wide == 2
        assert max(core.widths[-5:]) == 2
    finally:
        engine.drain(SECONDS)


def test_an_item_that_fits_nowhere_takes_no_places_from_the_others() -> None:
    core = Steps(wide=4, fits=0)
    engine: Engine[int, int] = Engine(core, 4, "test")
    try:
        with pytest.raises(torch.OutOfMemoryError):
            engine.submit(1).result(SECONDS)
        core.fits = 8
        assert [ticket.result(SECONDS) for ticket in [engine.submit(1) for _ in range(4)]] == [0] * 4
    finally:
        engine.drain(SECONDS)


def test_a_drain_finishes_what_runs_and_gives_back_what_waits(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate)
    running = engine.submit(item(1))
    assert gate.entered.acquire(timeout=SECONDS)
    waiting = engine.submit(item(2))
    draining = threading.Thread(target=engine.drain, args=(SECONDS,))
    draining.start()
    with pytest.raises(GivenBack):
        waiting.result(SECONDS)
    with pytest.raises(GivenBack):
        engine.submit(item(3)).result(SECONDS)
    gate.open()
    draining.join(SECONDS)
    torch.testing.assert_close(running.result(SECONDS), gate.expected(item(1)))
    assert not engine.busy


def test_a_drain_does_not_wait_longer_than_it_was_told(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate)
    running = engine.submit(item(1))
    assert gate.entered.acquire(timeout=SECONDS)
    engine.drain(0)
    with pytest.raises(GivenBack):
        running.result(SECONDS)
    gate.open()


def test_a_hung_step_is_seen_and_can_be_abandoned(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate(shut=True)
    engine = start(gate)
    assert engine.stalled_for() == 0
    hung = engine.submit(item(1))
    assert gate.entered.acquire(timeout=SECONDS)
    waiting = engine.submit(item(2))
    before = engine.stalled_for()
    time.sleep(0.01)
    assert engine.stalled_for() > before > 0
    engine.abandon("no step for long")
    with pytest.raises(EngineBroken, match="no step for long"):
        hung.result(SECONDS)
    with pytest.raises(GivenBack):
        waiting.result(SECONDS)
    assert isinstance(engine.broken, EngineBroken)
    gate.open()


def test_an_idle_engine_is_not_stalled(start: Callable[..., Engine[Tensor, Tensor]]) -> None:
    gate = Gate()
    engine = start(gate)
    engine.submit(item(1)).result(SECONDS)
    while engine.busy:
        time.sleep(0.001)
    time.sleep(0.01)
    assert engine.stalled_for() == 0


def test_a_broken_device_ends_the_engine_and_blames_no_item_alone(
    start: Callable[..., Engine[Tensor, Tensor]],
) -> None:
    gate = Gate(shut=True)

    def failing_device(batch: Sequence[Tensor]) -> list[Tensor]:
        gate(batch)
        raise torch.AcceleratorError("device-side assert triggered")

    engine = start(failing_device)
    running = engine.submit(item(1))
    assert gate.entered.acquire(timeout=SECONDS)
    waiting = engine.submit(item(2))
    gate.open()
    with pytest.raises(EngineBroken, match="device-side assert"):
        running.result(SECONDS)
    with pytest.raises(GivenBack):
        waiting.result(SECONDS)
    assert isinstance(engine.broken, torch.AcceleratorError)


class Countdown:
    """A stepping core, as the language model is: an item n takes n steps; a negative one poisons the step it enters."""

    def __init__(self) -> None:
        self.live: dict[int, tuple[int, int]] = {}
        self.most = 0

    def admit(self, key: int, item: int, _urgent: bool, /) -> None:
        if item == 0:
            raise Poison("nothing to count")
        self.live[key] = (item, item)

    def step(self) -> list[tuple[int, int | Exception]]:
        self.most = max(self.most, len(self.live))
        if any(item < 0 for item, _ in self.live.values()):
            raise Poison("negative")
        self.live = {key: (item, left - 1) for key, (item, left) in self.live.items()}
        finished = [key for key, (_, left) in self.live.items() if left == 0]
        return [(key, self.live.pop(key)[0] * 10) for key in finished]

    def shrink(self) -> bool:
        return False

    def drop(self, key: int, /) -> None:
        self.live.pop(key, None)


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 5),
    reserve=st.integers(0, 2),
    items=st.lists(st.tuples(st.integers(-2, 6), st.booleans(), st.booleans()), max_size=25),
)
def test_every_item_comes_to_its_own_end(capacity: int, reserve: int, items: list[tuple[int, bool, bool]]) -> None:
    core = Countdown()
    engine = Engine[int, int](core, capacity, "countdown", reserve)
    tickets: list[tuple[int, bool, Ticket[int]]] = []
    for value, urgent, cancelled in items:
        ticket = engine.submit(value, urgent=urgent)
        tickets.append((value, cancelled and ticket.cancel(), ticket))
    for value, cancelled, ticket in tickets:
        if cancelled:
            with pytest.raises(CancelledError):
                ticket.result(SECONDS)
        elif value <= 0:
            with pytest.raises(Poison):
                ticket.result(SECONDS)
        else:
            assert ticket.result(SECONDS) == value * 10
            assert ticket.waited_ms >= 0
            assert ticket.ran_ms > 0
    engine.drain(SECONDS)
    assert core.most <= capacity + reserve
    assert core.live == {}
    assert engine.broken is None
