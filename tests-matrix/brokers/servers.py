"""Real message brokers for tests: on loopback ports of their own, in folders of their own, ended by their pid."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from support.programs import free_port
from support.waiting import until_true

__all__ = ["RabbitMQServer", "RedisServer", "Server", "missing"]

_REDIS = "redis-server"
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the one in /usr/sbin, which insists on being root or the user rabbitmq, and on the machine's own directories."""


def missing() -> str | None:
    """Return what is to be installed, if something is."""
    if shutil.which(_REDIS) is None:
        return "there is no redis-server: apt-get install redis-server"
    if not _RABBITMQ.exists() or shutil.which("epmd") is None:
        return "there is no rabbitmq-server: apt-get install rabbitmq-server"
    return None


class Server:
    """A broker that is started, stopped and killed again and again; what it has acknowledged is on its disk."""

    url: str

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return what is to be executed."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Return its environment."""
        return os.environ

    def answers(self) -> bool:
        """Whether it can be used now."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and return when it can be used."""
        with self.log.open("ab") as log:
            # A group of its own: RabbitMQ's is a shell, with the node as its child.
            self._process = subprocess.Popen(
                list(self.command()), env=dict(self.environment()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        until_true(self._is_up, f"{type(self).__name__} answers", 60, pause=0.05)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-3_000:]
        return self.answers()

    def freeze(self) -> None:
        """Have it do nothing, while its connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL it."""
        self._signal(signal.SIGKILL)
        self._wait(10)
        # Its children may be a moment longer.
        until_true(lambda: not self.answers(), f"{type(self).__name__} is gone")

    def stop(self) -> None:
        """Ask it to end, and return when it has."""
        self._signal(signal.SIGTERM)
        self._wait(30)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _wait(self, seconds: float) -> None:
        assert self._process is not None
        self._process.wait(seconds)


class RedisServer(Server):
    """A Redis that has written what it acknowledges to its disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options

    def command(self) -> Sequence[str]:
        return [
            _REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no", *self._options,
        ]  # fmt: skip

    def answers(self) -> bool:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        with redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class RabbitMQServer(Server):
    """A RabbitMQ node, with a port mapper of its own, that knows nothing of the machine's."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "log.console = true", "log.file = false", *options]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (folder / "enabled_plugins").write_text("[].\n")

    def command(self) -> Sequence[str]:
        return [str(_RABBITMQ)]

    def environment(self) -> Mapping[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        at = str(self.folder)
        return own | {
            "HOME": at,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"sagaz{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": f"{at}/none",
            "RABBITMQ_CONFIG_FILE": f"{at}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{at}/none.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{at}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{at}/mnesia",
            "RABBITMQ_LOG_BASE": f"{at}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{at}/generated",
            "RABBITMQ_PID_FILE": f"{at}/pid",
        }

    def start(self) -> None:
        """Start the port mapper, which would otherwise outlive the node as a daemon, and then the node."""
        if self._epmd is None:
            command = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(command, env=dict(self.environment()))
        super().start()

    def answers(self) -> bool:
        """Whether a client is greeted."""
        import socket

        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

    def close(self) -> None:
        super().close()
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait(10)
            self._epmd = None
