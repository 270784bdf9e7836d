"""`python -m services.gateway`: serve the API until SIGTERM or SIGINT."""

import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError, ProgrammingError

from services.gateway.app import create_app
from services.gateway.keyring import is_loopback
from shared import access, logs
from shared.database import create_engine
from shared.errors import InvalidSettings
from shared.settings import ENV_PREFIX, Settings
from shared.starting import begin, refuse

log = logs.get_logger("gateway")


class Server(uvicorn.Server):
    """Answers what is in flight before it stops: who waits for a job gets it as it is, an upload is finished."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.gateway_host,
            port=settings.gateway_port,
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(settings.drain_seconds),
        )
        super().__init__(config)
        self.app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("process.ready", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("process.stopping")
        self.app.state.gateway.watcher.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As the base class, but not raised again at the end: a process that has finished its work exits with 0."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def main() -> None:
    settings = begin("gateway")
    if not is_loopback(settings.gateway_host) and not _has_keys(settings):
        variable = f"{ENV_PREFIX}GATEWAY_HOST"
        error = InvalidSettings(
            f"{variable}: {settings.gateway_host} can be reached from other hosts, and there is no API key.",
            field=variable,
            remedy="Make the first with `glamm keys bootstrap`, or listen on 127.0.0.1.",
        )
        refuse("gateway", error)
    Server(create_app(settings), settings).run()


def _has_keys(settings: Settings) -> bool:
    """Whether there is an API key, as far as can be told: without one nothing is answered anyhow, only less plainly."""
    engine = create_engine(settings.database_url, 1)
    try:
        with engine.connect() as connection:
            return access.any_key(connection)
    except (OperationalError, ProgrammingError) as error:
        log.warning("keys.unknown", error=str(error).splitlines()[0])
        return True
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
