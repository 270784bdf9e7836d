"""The service over HTTP, typed: what `glamm` and any other Python program may use, blocking or awaited.

What the API's operations are stands in `operations`, once for both clients.
"""

from services.cli.client.asynchronous import AsyncGlammClient
from services.cli.client.blocking import GlammClient
from services.cli.client.errors import Refused, Unreachable
from services.cli.client.operations import GROUNDED_CAPTION

__all__ = ["GROUNDED_CAPTION", "AsyncGlammClient", "GlammClient", "Refused", "Unreachable"]
