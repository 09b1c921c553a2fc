"""python -m docs.site [FOLDER]: writes the pages; fails if anything is undocumented or dead."""

import argparse
import sys
from pathlib import Path

from docs.site.build import build


def main() -> int:
    """Builds, prints what is wrong, and says where to look."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/docs"))
    folder = parser.parse_args().folder
    warnings = build(folder)
    for sentence in sorted(set(warnings)):
        print(f"warning: {sentence}", file=sys.stderr)
    print(f"{len(list(folder.glob('*.html')))} pages in {folder}, from {folder / 'index.html'} on.")
    return bool(warnings)


if __name__ == "__main__":
    sys.exit(main())
