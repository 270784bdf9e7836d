"""Declared uploads: renewed by declaring them again, forgotten when their time is over."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from shared import access, uploads
from shared.objects import upload_key_of
from shared.tables import LOCAL_OWNER
from shared.uploads import Declared
from tests.storehouse import Storehouse

DAY = timedelta(days=1)
A, B = (Declared(character * 64, 10, "image/png") for character in "ab")


def declare(storehouse: Storehouse, *wanted: Declared, owner: UUID = LOCAL_OWNER, ttl: timedelta = DAY) -> None:
    storehouse.run(lambda conn: uploads.declare(conn, owner, wanted, ttl, ttl))


def find(storehouse: Storehouse, sha256: str, owner: UUID = LOCAL_OWNER) -> Declared | None:
    return storehouse.run(lambda conn: uploads.find(conn, owner, sha256))


def sweep(storehouse: Storehouse, most: int = 10) -> int:
    return storehouse.run(lambda conn: uploads.sweep(conn, storehouse.objects, most))


def test_what_was_declared_last_counts(storehouse: Storehouse) -> None:
    declare(storehouse, A, B)
    declare(storehouse, replace(A, bytes=11, media_type="image/webp"))
    assert (find(storehouse, A.sha256), find(storehouse, B.sha256)) == (
        replace(A, bytes=11, media_type="image/webp"),
        B,
    )
    declare(storehouse)


def test_a_declaration_is_its_owners(storehouse: Storehouse) -> None:
    ann = storehouse.run(lambda conn: access.ensure_owner(conn, "ann"))
    declare(storehouse, A, owner=ann)
    assert find(storehouse, A.sha256) is None
    assert storehouse.run(lambda conn: uploads.lock(conn, LOCAL_OWNER, A.sha256)) is None
    assert storehouse.run(lambda conn: uploads.lock(conn, ann, A.sha256)) == upload_key_of(A.sha256, ann)


def test_after_its_time_it_is_over_and_its_object_goes(storehouse: Storehouse) -> None:
    declare(storehouse, A, ttl=timedelta(seconds=-1))
    declare(storehouse, B)
    for one in (A, B):
        storehouse.objects.put(upload_key_of(one.sha256, LOCAL_OWNER), b"x", "image/png")
    assert find(storehouse, A.sha256) is None
    assert (sweep(storehouse), sweep(storehouse)) == (1, 0)
    assert storehouse.count("uploads") == 1
    assert list(storehouse.objects.keys()) == [upload_key_of(B.sha256, LOCAL_OWNER)]


def test_what_is_spent_is_swept_with_its_last_url_and_can_be_declared_anew(storehouse: Storehouse) -> None:
    hour = timedelta(hours=1)
    for urls_for in (hour, timedelta(seconds=-1)):
        storehouse.run(lambda conn, urls=urls_for: uploads.declare(conn, LOCAL_OWNER, [A], DAY, urls))
        storehouse.run(lambda conn: uploads.spend(conn, LOCAL_OWNER, A.sha256))
        assert find(storehouse, A.sha256) is None
        assert sweep(storehouse) == 0  # the longer URL is still good
    storehouse.change("UPDATE uploads SET urls_until = now()")
    storehouse.run(lambda conn: uploads.spend(conn, LOCAL_OWNER, A.sha256))
    assert sweep(storehouse) == 1
    declare(storehouse, A)
    assert find(storehouse, A.sha256) == A


def test_a_sweep_takes_so_many_at_a_time_and_none_twice(storehouse: Storehouse) -> None:
    declare(storehouse, *(replace(A, sha256=f"{n:064x}") for n in range(7)), ttl=timedelta(seconds=-1))
    with storehouse.engine.begin() as conn:
        assert uploads.sweep(conn, storehouse.objects, 4) == 4
        assert sweep(storehouse, 4) == 3
    assert storehouse.count("uploads") == 0


def test_the_same_may_be_declared_by_many_at_once(storehouse: Storehouse) -> None:
    many = [replace(A, sha256=f"{n:064x}") for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: declare(storehouse, *(many if n % 2 else reversed(many))), range(16)))
    assert storehouse.count("uploads") == 200
