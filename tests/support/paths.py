"""Where the tests find the project's files."""

from pathlib import Path
from sysconfig import get_path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "leadfeeder_async"
TESTS = ROOT / "tests"
CONTRACT = TESTS / "contract" / "openapi.yaml"
EXAMPLES = TESTS / "contract" / "examples"
SCRIPTS = Path(get_path("scripts"))
SNAPSHOTS = TESTS / "snapshots"
