"""The product's main job, end to end, with real processes and Google's own client.

The same as `script/demo --once`: prints each step and, as its last line, JSON with its outcome.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    command = [sys.executable, "-m", "demo.journey", "--once"]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
