"""Tests of the formats import what they share (`mutations`, `ours`) from this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
