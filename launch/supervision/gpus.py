"""How many GPUs JAX would find here, without importing it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path


def count(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs that this process may use: those that CUDA_VISIBLE_DEVICES names, else all.

    0 where JAX_PLATFORMS excludes them, or where JAX has no plugin for CUDA.
    """
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return 0
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        return 0
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return _named(visible)
    if found := [p for p in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]:
        return len(found)
    try:  # where the devices have no files, as under WSL
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(re.findall(r"^GPU \d+:", listed.stdout, re.MULTILINE))


def _named(visible: str) -> int:
    """CUDA takes the names up to the first that it does not know, such as -1 or NoDevFiles."""
    number = 0
    for name in visible.split(","):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name.strip()):
            break
        number += 1
    return number
