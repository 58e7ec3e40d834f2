import sys
from pathlib import Path

# The tools are scripts of the checkout and in no wheel.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
