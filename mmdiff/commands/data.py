"""``mmdiff data audit``: every file, used or rejected and why."""

import argparse
import json
from pathlib import Path

from mmdiff.commands.progress import shown
from mmdiff.commands.verb import Verb, share
from mmdiff.naming import choose


def audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder or tar")
    parser.add_argument(
        "--modality", default="image", metavar="NAME", help="what to read it as (default: image)"
    )
    parser.add_argument(
        "--captions",
        default="text",
        metavar="COLUMN",
        help="the metadata column with captions (default: text)",
    )
    parser.add_argument(
        "--max-bad",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="share of unusable files allowed (default: 0.05)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")


def run_audit(args: argparse.Namespace) -> int:
    from mmdiff.data.audit import audit, refuse_if_too_bad, table
    from mmdiff.modalities import MODALITIES

    modality = choose(MODALITIES, args.modality, "modality")()
    with shown("file") as progress:
        found = audit(args.path, modality, args.max_bad, captions=args.captions, progress=progress)
    print(json.dumps(found.as_dict(), indent=1) if args.json else table(found))
    refuse_if_too_bad(found)
    return 0


VERB = Verb(
    summary="look at training data before using it",
    verbs={
        "audit": Verb(
            summary="decode every file and say which can be used, and why the others cannot",
            examples="""\
examples:
  mmdiff data audit holiday-pictures
  mmdiff data audit emoji.tar --max-bad 0 --json
  mmdiff data audit recordings --modality audio
  mmdiff data audit birds.tar --captions description

exit code: 0 when it can be used, 2 when more than the allowed share would be lost
""",
            options=audit_options,
            work=run_audit,
        )
    },
)
