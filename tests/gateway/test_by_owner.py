"""A gateway forgets the owners of whom there is nothing left to know."""

from uuid import UUID

from services.gateway.by_owner import SWEEP_EVERY, ByOwner


def test_idle_owners_are_forgotten_once_in_so_many_takes() -> None:
    until = ByOwner[float](idle=lambda until, now: until <= now)
    for n in range(4):
        until[UUID(int=n)] = float(n)
    for _ in range(2):
        until[UUID(int=0)] = 0.0
        for _ in range(SWEEP_EVERY - 1):
            until.taken(now=2.0)
        assert UUID(int=0) in until
        until.taken(now=2.0)
        assert until == {UUID(int=3): 3.0}
