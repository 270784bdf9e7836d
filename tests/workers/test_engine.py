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

from workers.engine import BatchCore, Engine, EngineBroken, GivenBack, Ticket, TookTooLong

SECONDS = 20  # how long a test waits for what must happen; never how long it takes


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


class Steps:
    """A core whose items take so many steps each, at most `wide` of them in memory at a time."""

    def __init__(self, wide: int = 8, fits: int = 8) -> None:
        self.wide, self.fits = wide, fits
        self.left: dict[int, int] = {}
        self.widths: list[int] = []

    def admit(self, key: int, steps: int, /) -> None:
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

    def admit(self, key: int, item: int, /) -> None:
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
    items=st.lists(st.tuples(st.integers(-2, 6), st.booleans()), max_size=25),
)
def test_every_item_comes_to_its_own_end(capacity: int, items: list[tuple[int, bool]]) -> None:
    core = Countdown()
    engine = Engine[int, int](core, capacity, "countdown")
    tickets: list[tuple[int, bool, Ticket[int]]] = []
    for value, cancelled in items:
        ticket = engine.submit(value)
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
    assert core.most <= capacity
    assert core.live == {}
    assert engine.broken is None
