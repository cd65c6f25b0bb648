"""A training program for the tests of launch.node: it does what WORKDIR/scenario.json says.

The scenario has for each rank ("0", "1", or "*" for any) a list: what to do at the first start, at
the second, ...; the last is repeated. What to do is a list of words: "checkpoint 10", "exit 1",
"kill 9" (itself), "sleep 0.5", "meet 4" (wait until so many starts are on record), "say words",
"ignore" (SIGTERM), "grandchild", "wait" (until told to stop, then exit 42). As with JAX, a SIGTERM
to one rank is seen by all of the same attempt. Each start and each end by "exit" is a line in
WORKDIR/events.jsonl.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from launch import supervised

flags = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
workdir = Path(flags["workdir"])
rank = flags.get("process_id", "0")
stop = workdir / f"stop-{flags.get('attempt')}"


def record(what: str) -> None:
    known = {"what": what, "rank": int(rank), "pid": os.getpid(), "flags": flags}
    with (workdir / "events.jsonl").open("a") as events:
        events.write(json.dumps(known) + "\n")


def told(*_) -> None:
    stop.touch()
    record("told")


def leave(code: int) -> None:
    record(f"exit {code}")
    sys.exit(code)


def do(word: str, value: str) -> None:
    if word == "checkpoint":
        (workdir / "checkpoints" / value).mkdir(parents=True)
    elif word == "exit":
        leave(int(value))
    elif word == "kill":
        os.kill(os.getpid(), int(value))
    elif word == "sleep":
        time.sleep(float(value))
    elif word == "meet":
        while events.read_text().count('"what": "start"') < int(value):
            time.sleep(0.02)
    elif word == "say":
        print(value)
    elif word == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (workdir / "grandchild").write_text(str(child.pid))
    elif word == "wait":
        while not stop.exists():
            time.sleep(0.02)
        leave(42)


supervised.die_with_parent()
signal.signal(signal.SIGTERM, told)
scenario = json.loads((workdir / "scenario.json").read_text())
starts = scenario.get(rank) or scenario["*"]
events = workdir / "events.jsonl"
lines = events.read_text().splitlines() if events.exists() else []
before = [e for e in map(json.loads, lines) if (e["what"], e["rank"]) == ("start", int(rank))]
record("start")
for step in starts[min(len(before), len(starts) - 1)]:
    do(*step.partition(" ")[::2])
