"""Tests of the formats import what they share, `mutations`, from this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
