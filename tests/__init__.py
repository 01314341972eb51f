"""Let Python keep compiled modules. Container images often forbid it, and then each new Python compiles all modules."""

from __future__ import annotations

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
