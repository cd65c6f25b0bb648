"""How fast reviews become a corpus, in how much memory, where the time goes, and what a kill costs.

    python benchmarks/prepare.py --size=1000000000
    python benchmarks/prepare.py --size=50000000 --processes=1 --profile
    python benchmarks/prepare.py --size=200000000 --literal --cleaning=nvidia --shards=100

Reviews as JSON lines are generated, prepared by `launch.prepare`, prepared again by one that is
killed with SIGKILL half-way and begun anew, and both are compared byte for byte. MB are millions of
bytes of JSON; memory is the largest sum of the resident sets of all processes (shared pages count
once for each), asked for twenty times a second; CPU seconds are those of all processes, which say
what a machine that does nothing else would do.
"""

import argparse
import cProfile
import filecmp
import os
import pstats
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import reviews

from mlstm.corpus import prepare_texts, sources


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--text", default=sources.PYTHON_STDLIB)
    parser.add_argument("--cleaning", default="openai")
    parser.add_argument("--shards", type=int)
    parser.add_argument("--literal", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--folder", help="of the reviews; those that are there are used again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch)
        kind = "literal" if asked.literal else "json"
        text = Path(asked.folder or scratch) / f"reviews-{kind}-{asked.size}.json"
        if not text.exists():
            count = reviews.write(text, asked.size, asked.text, literal=asked.literal)
            print(f"{count:,} reviews, {text.stat().st_size:,} bytes")
        if asked.profile:
            profile(text, folder, asked)
            return
        flags = [f"--input={text}", "--lines", f"--cleaning={asked.cleaning}"]
        flags += [f"--processes={asked.processes}"]
        flags += [f"--shards={asked.shards}", "--reset=shard"] if asked.shards else []
        undisturbed(text, folder / "whole", flags)
        killed(folder / "killed", flags)
        names = sorted(os.listdir(folder / "whole"))
        same = filecmp.cmpfiles(folder / "whole", folder / "killed", names, shallow=False)
        alike = names == sorted(os.listdir(folder / "killed")) and not same[1] and not same[2]
        print("killed and begun anew:", "identical, byte for byte" if alike else f"differs: {same}")


def undisturbed(text: Path, output: Path, flags: list[str]) -> None:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = start(output, flags)
    peak, alone, joined = 0, 0, 0.0
    while child.poll() is None:
        sizes = resident(child.pid)
        peak, alone = max(peak, sum(sizes)), max([alone, *sizes])
        if not joined and any(output.parent.glob(f".{output.name}.*.partial")):
            joined = time.perf_counter() - began
        time.sleep(0.05)
    took = time.perf_counter() - began
    assert child.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    megabytes = text.stat().st_size / 1e6
    print(f"{megabytes / took:.1f} MB/s ({took:.1f} s; pieces {joined:.1f}, joining the rest)")
    print(f"{1000 * cpu / megabytes:.1f} CPU s/GB: {megabytes / cpu:.1f} MB/s for each core")
    print(f"peak memory {peak / 1e6:.0f} MB in all processes, {alone / 1e6:.0f} in the largest")


def killed(output: Path, flags: list[str]) -> None:
    child = start(output, flags)
    pattern = f".{output.name}.*.pieces/*.piece"
    expected = max(2, int(flags_size(flags) / (16 << 20)) // 2)
    while child.poll() is None and len(list(output.parent.glob(pattern))) < expected:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = len(list(output.parent.glob(pattern)))
    print(f"killed with {left} pieces made; {'no ' * (not output.exists())}corpus is there")
    began = time.perf_counter()
    assert start(output, flags).wait() == 0
    print(f"the same command again: {time.perf_counter() - began:.1f} s")


def flags_size(flags: list[str]) -> int:
    return Path(flags[0].removeprefix("--input=")).stat().st_size


def start(output: Path, flags: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "launch.prepare", f"--output={output}", *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def resident(pid: int) -> list[int]:
    """Bytes of a process and of each one below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [word for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return []
    below = [size for child in children for size in resident(int(child))]
    return [pages * os.sysconf("SC_PAGE_SIZE"), *below]


def profile(text: Path, folder: Path, asked: argparse.Namespace) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(
        prepare_texts, text, folder / "c", cleaning=asked.cleaning, shards=asked.shards
    )
    pstats.Stats(profiler).sort_stats("tottime").print_stats(18)
    shutil.rmtree(folder / "c")


if __name__ == "__main__":
    main()
