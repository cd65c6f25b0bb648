"""Shared fixtures. Eight CPU devices are forced before JAX starts: mesh tests run anywhere."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from file_server import server  # noqa: F401  # pyright: ignore[reportMissingImports]

# A shell's background job ignores SIGINT, and hands that on to the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests compile much and compute little: LLVM's slower passes are left out.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")


CODE = '''\
"""What it is."""
import os  # for the sake of it


def f(x, *, y=(1, 2)):
    "Say so."
    if x:
        return f"{x!r}" + 'a'
    return [y, {3: 4.5}]
'''


@pytest.fixture(scope="session")
def write_code() -> Callable[[Path, int], None]:
    """`write_code(folder, files)`: Python files of different lengths, with strings, a comment and
    brackets."""

    def write(folder: Path, files: int) -> None:
        for k in range(files):
            (folder / f"m{k}.py").write_text(CODE.replace("f(x", f"f{k}(x") * (k + 1))

    return write


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Each compiled program holds several mappings of memory, and Linux gives a process 65,530 of
    them: one process that compiles for all tests would end by a segmentation fault."""
    yield
    import jax  # not before its flags are set, above

    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def mlstm_data() -> Path:
    """The folder of real text that MLSTM_DATA names; the test skips where there is none."""
    folder = os.environ.get("MLSTM_DATA")
    if not folder:
        pytest.skip("MLSTM_DATA is not set: no folder of real test data on this machine")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"MLSTM_DATA={folder} is not a folder")
    return path
