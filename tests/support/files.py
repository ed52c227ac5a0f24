"""Where the repository and the recorded files are."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FRAMES = ROOT / "tests" / "frames"
DATA = ROOT / "tests" / "data"
