"""The whole service on one host: the servers, and the processes that the compose file runs, under one supervisor."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from pydantic import SecretStr

from deploy.embedded.folder import DataFolder
from deploy.embedded.postgres import PostgresServer
from deploy.embedded.process import Gateway, PythonProcess, require_free
from deploy.embedded.redis import RedisServer
from deploy.embedded.s3 import S3Server
from deploy.embedded.secret import write_private
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.unit import Unit
from shared import access, database
from shared.objects import ObjectStore
from shared.scopes import Scope
from shared.settings import get_settings

WORKERS = ("vision", "llm", "pixel")
BUCKET = "glamm"
DRAIN_SECONDS = 5


class Stack:
    """A running service on loopback.

    Enter it to start everything and leave it to end everything; an interrupt (SIGINT, SIGTERM, SIGHUP) at any moment in
    between ends it too. Its processes cannot outlive this one, however it ends.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        workers: Sequence[str] = WORKERS,
        environment: Mapping[str, str] | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            data_dir: keeps everything between runs; made where it is missing.
            port: the gateway's; by default a free one, and the same as last time when that is free.
            workers: one process each, as `--stages` takes them: "vision", or "vision,llm,pixel" for one with all three.
            environment: GLAMM_ settings for the service's processes beyond those of this process.
            report: told in a line what happens, from several threads; stderr by default.
        """
        self._folder = DataFolder(data_dir)
        self._port = port
        self._workers = workers
        self._environment = dict(environment or {})
        self._report = report or _to_stderr
        self._supervisor = Supervisor(self._report)
        self._signals: list[signal.Signals] = []
        self._gateway: Gateway | None = None

    @property
    def data_dir(self) -> Path:
        return self._folder.path

    @property
    def gateway_url(self) -> str:
        if self._gateway is None:
            raise RuntimeError("the stack was not started")
        return self._gateway.url

    @property
    def api_key(self) -> str:
        """With all scopes, for the owner of what was stored before there were keys. Made the first time."""
        if not self._folder.key_file.exists():
            write_private(self._folder.key_file, access.new_secret() + "\n")
        return self._folder.key_file.read_text(encoding="utf-8").strip()

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the service's processes, once they were started."""
        return dict(self._environment)

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each process that runs, by name."""
        return {unit.name: unit.pid for unit in self._supervisor.units if unit.pid is not None and unit.alive}

    def start(self) -> Self:
        """Start everything; returns when jobs are taken and worked on.

        Raises:
            EmbeddedError: something could not be started, or the data folder is in use. Nothing is left running.
            InvalidSettings: a GLAMM_ variable of this process is wrong.
        """
        self._take_signals()
        try:
            settings = get_settings()
            if self._port is not None:
                require_free(self._port)
            self._folder.acquire()
            environment = self._environment = self._start_servers() | self._environment
            database.migrate(environment["GLAMM_DATABASE_URL"])
            self._make_key(environment["GLAMM_DATABASE_URL"])
            objects = {
                "s3_endpoint": environment["GLAMM_S3_ENDPOINT"],
                "s3_access_key": environment["GLAMM_S3_ACCESS_KEY"],
                "s3_secret_key": SecretStr(environment["GLAMM_S3_SECRET_KEY"]),
                "s3_bucket": environment["GLAMM_S3_BUCKET"],
                "s3_secure": False,
            }
            ObjectStore(settings.model_copy(update=objects)).ensure_bucket()
            self._start_processes(environment)
            self._folder.publish(self.gateway_url)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything that was started. A second interrupt meanwhile ends it without waiting."""
        self._supervisor.stop()
        self._folder.release()
        self._return_signals()

    def wait(self) -> None:
        """Until an interrupt."""
        threading.Event().wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_key(self, url: str) -> None:
        engine = database.create_engine(url, 1)
        try:
            with engine.begin() as connection:
                access.ensure_key(connection, access.LOCAL_NAME, list(Scope), self.api_key, "made by the stack")
        finally:
            engine.dispose()

    def _start_servers(self) -> dict[str, str]:
        """Start the four servers; returns the settings that lead to them."""
        path, log = self._folder.path, self._folder.log
        broker = RedisServer.broker(path / "broker", log=log("broker"))
        features = RedisServer.features(path / "features", log=log("features"))
        objects = S3Server(path / "objects", log=log("objects"))
        postgres = PostgresServer(path / "postgres", log=log("postgres"))
        self._supervisor.start(broker, features, objects, postgres)
        return {
            "GLAMM_DATABASE_URL": postgres.url,
            "GLAMM_BROKER_URL": broker.url,
            "GLAMM_FEATURES_URL": features.url,
            "GLAMM_S3_ENDPOINT": objects.endpoint,
            "GLAMM_S3_ACCESS_KEY": objects.access_key,
            "GLAMM_S3_SECRET_KEY": objects.secret_key,
            "GLAMM_S3_BUCKET": BUCKET,
            "GLAMM_S3_SECURE": "false",
            "GLAMM_S3_PUBLIC_ENDPOINT": objects.endpoint,
            "GLAMM_S3_PUBLIC_SECURE": "false",
            "GLAMM_LOG_FORMAT": "json",
            "GLAMM_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "GLAMM_TORCH_THREADS": str(self._threads_a_worker()),
        }

    def _threads_a_worker(self) -> int:
        """What is set, else a fair share: threads of several workers that outnumber the cores wait for one another."""
        share = (os.cpu_count() or 1) // max(1, len(self._workers))
        return get_settings().torch_threads or max(1, share)

    def _start_processes(self, environment: Mapping[str, str]) -> None:
        log = self._folder.log
        self._gateway = Gateway(environment, log("gateway"), self._folder.path / "gateway.port", self._port)
        units: list[Unit] = [self._gateway]
        units.append(
            PythonProcess("scheduler", "scheduler", "services.scheduler", (), environment, log("scheduler")),
        )
        for stages in self._workers:
            name = f"worker-{stages.replace(',', '-')}"
            arguments = ("--stages", stages)
            units.append(PythonProcess(name, "worker", "workers", arguments, environment, log(name)))
        for unit in units:
            unit.stop_seconds = DRAIN_SECONDS + 5
        self._supervisor.start(*units)

    def _take_signals(self) -> None:
        """Let SIGTERM and a closed terminal end the stack the way Ctrl-C does."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit_on_signal)
                self._signals.append(number)

    def _return_signals(self) -> None:
        while self._signals:
            signal.signal(self._signals.pop(), signal.SIG_DFL)


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
