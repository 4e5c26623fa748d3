"""The product's main job, end to end, with real processes and Google's own client.

The same as `script/demo --once`: prints each step and, as its last line, JSON with its outcome.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

JOURNEY = Path(__file__).resolve().parent.parent / "demo" / "journey.py"

if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, str(JOURNEY), "--once"], check=False).returncode)
