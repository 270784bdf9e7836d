"""What an API key may be used for."""

from enum import StrEnum


class Scope(StrEnum):
    """read: see what the owner has; write: store, submit, cancel, delete; admin: make and revoke keys of all owners."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
