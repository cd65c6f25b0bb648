"""Attempt after attempt, until the job is done, stopped, or not worth another try."""

from __future__ import annotations

import time

from launch.supervision.alone import Alone
from launch.supervision.asked import Asked
from launch.supervision.attempt import TICK, Running
from launch.supervision.codes import CRASH, SAVED_AND_STOPPED, Ended
from launch.supervision.follower import Follower
from launch.supervision.leader import Leader
from launch.supervision.restarts import Restarts, checkpoints
from launch.supervision.settings import Settings
from launch.supervision.terminal import Terminal


def supervise(settings: Settings) -> int:
    """Run this host's part of the job to its end: the exit code."""
    name = f"node {settings.node_rank}" if settings.nodes > 1 else "node"
    with Terminal(name) as terminal, Asked() as asked:
        if settings.node_rank:
            host = Follower(settings, asked)
        elif settings.nodes > 1:
            host = Leader(settings, asked, terminal)
        else:
            host = Alone(settings)
        ended = Ended(CRASH, "the supervisor failed")
        try:
            if isinstance(host, Follower):
                _follow(settings, host, asked, terminal)
            else:
                _lead(settings, host, asked, terminal)
        except Ended as error:
            ended = error
            if error.why:
                terminal.say(error.why)
        finally:
            host.end(ended.code, ended.why)
        return ended.code


def _follow(settings: Settings, host: Follower, asked: Asked, terminal: Terminal) -> None:
    while True:
        attempt = host.join()
        terminal.say(f"attempt {attempt.number}")
        host.down(Running(settings, attempt, host, asked, terminal).run())


def _lead(settings: Settings, host: Alone | Leader, asked: Asked, terminal: Terminal) -> None:
    """Raises Ended, always."""
    restarts = Restarts(settings.max_restarts, settings.fruitless)
    if isinstance(host, Leader):
        host.gather()
    while True:
        before = checkpoints(settings.workdir)
        verdict = host.settle(Running(settings, host.open(), host, asked, terminal).run())
        if verdict.code != CRASH or verdict.stopped:
            raise Ended(verdict.code, verdict.why if verdict.code == CRASH else "")
        pause = restarts.pause(before, checkpoints(settings.workdir), verdict.why)
        if not asked.stop:
            terminal.say(f"all ranks start again in {pause:.0f} s")
        until = time.monotonic() + pause
        while time.monotonic() < until:
            asked.raise_second()
            if asked.stop:
                raise Ended(SAVED_AND_STOPPED, f"{asked.stop} while nothing ran")
            host.idle()
            time.sleep(TICK)
