"""Real processes on this machine that train together, over gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> dict[str, str]:
    """The environment of a cache of compiled programs that all processes share, for speed alone."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of an untrained model of 8 units, with all that reading it needs."""
    import jax
    import jax.numpy as jnp

    from mlstm.checkpoint import Checkpoints
    from mlstm.model import language_model

    folder = tmp_path_factory.mktemp("runs") / "run"
    config = language_model.ModelConfig(embedding=4, hidden=8)
    checkpoints = Checkpoints(folder / "checkpoints")
    parameters = language_model.init_parameters(config, jax.random.key(0))
    checkpoints.save(1, {"parameters": parameters, "step": jnp.int32(1)})
    checkpoints.close()
    description = {"model": {"embedding": 4, "hidden": 8}, "vocabulary": {"kind": "bytes"}}
    (folder / "config.json").write_text(json.dumps({"format_version": 1} | description))
    return folder


@pytest.fixture
def start(compiled) -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """`start(command, processes, devices)`: a job of `processes`, each with `devices` of a CPU;
    with one, no job. Each is told its place by the flags of launch.train. What is still there at
    the end of the test is killed."""
    begun: list[subprocess.Popen] = []

    def go(command: list[str], processes: int, devices: int, **environ: str):
        port = free_port()
        flags = f"--xla_force_host_platform_device_count={devices}"
        ours = {
            "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
            "JAX_PLATFORMS": "cpu",
            **compiled,
            **environ,
        }
        of_job = []
        for process in range(processes):
            place = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={processes}"]
            place += [f"--process_id={process}", "--heartbeat=5", "--start_timeout=60"]
            of_job.append(
                subprocess.Popen(
                    [sys.executable, *command, *(place if processes > 1 else [])],
                    cwd=REPOSITORY,
                    env=os.environ | ours,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        begun.extend(of_job)
        return of_job

    yield go
    for process in begun:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def finish() -> Callable[[list[subprocess.Popen]], list[str]]:
    """`finish(job)`: what each process said, once all have ended."""

    def go(job: list[subprocess.Popen]) -> list[str]:
        return [process.communicate(timeout=TIMEOUT)[0] for process in job]

    return go
