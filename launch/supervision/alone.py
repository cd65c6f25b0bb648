"""The hosts of a job that has one: nobody to wait for."""

from __future__ import annotations

import secrets
import socket

from launch.supervision.attempt import Sign
from launch.supervision.codes import Verdict
from launch.supervision.settings import PORTS, Attempt, Settings


class Alone:
    """A new attempt whenever one is wanted, on a free port."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._number = 0

    def open(self) -> Attempt:
        self._number += 1
        return new_attempt(self._settings, self._number)

    def tick(self, code: int | None, why: str, stop: str | None) -> Sign:
        return Sign()

    def settle(self, verdict: Verdict) -> Verdict:
        return verdict

    def idle(self) -> None:
        pass

    def end(self, code: int, why: str) -> None:
        pass


def new_attempt(settings: Settings, number: int) -> Attempt:
    """An attempt that nobody of the one before can join: another port, another random word."""
    port = _free_port() if settings.port is None else settings.port + number % PORTS
    return Attempt(number, secrets.token_hex(8), f"{settings.host}:{port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
