"""The commands of README.md are run as they stand there.

Every block of README.md is ``sh`` or ``python``, or it is ``text`` or ``yaml`` and no command. Those of
commands have an invisible line right before them, one of

    <!-- test: run -->
    <!-- test: run, with `image/emoji` for `image/emoji --set training.steps=2` -->
    <!-- test: skip, needs an hour -->

Blocks that are run share one folder, in their order, so that a later one finds what an earlier one made; at
first it holds PICTURES, a folder of captioned pictures. ``with `SHOWN` for `RUN` `` replaces what a reader
types by something quicker; it may be repeated, and what it replaces must be there. A block without such a
line fails this test, so that no command is shown that nobody ever runs.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from mmdiff.commands.demo import DEMOS
from mmdiff.recipe import builtin_names

MARK = re.compile(r"<!-- test: (?P<verb>run|skip)(?:, (?P<rest>.*))? -->", re.DOTALL)
FENCE = re.compile(
    r"(?P<mark><!-- test:(?:(?!-->).)*-->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
SWAP = re.compile(r"with `(?P<shown>[^`]+)` for `(?P<run>[^`]*)`")


@dataclass(frozen=True)
class Block:
    """One block of commands; ``skip`` is the reason why it is not run."""

    kind: str
    text: str
    skip: str | None


def blocks(readme: str) -> list[Block]:
    """The blocks of a README with their substitutions made."""
    found = []
    for match in FENCE.finditer(readme):
        if match["kind"] in ("text", "yaml"):
            continue
        assert match["kind"] in ("sh", "python"), f"README: a block of {match['kind']}, expected sh or python"
        first = match["text"].partition("\n")[0]
        mark = MARK.fullmatch((match["mark"] or "").strip())
        assert mark, f"README: no <!-- test: run --> or <!-- test: skip, WHY --> before the block {first!r}"
        text, rest = match["text"], mark["rest"] or ""
        if mark["verb"] == "skip":
            assert rest, f"README: say why the block {first!r} is skipped"
            found.append(Block(match["kind"], text, rest))
            continue
        assert not SWAP.sub("", rest).strip(" ,\n"), f"README: what does {rest!r} before {first!r} mean?"
        for swap in SWAP.finditer(rest):
            assert swap["shown"] in text, f"README: {swap['shown']!r} is not in the block {first!r}"
            text = text.replace(swap["shown"], swap["run"])
        found.append(Block(match["kind"], text, None))
    return found


def execute(block: Block, folder: Path, checkout: Path) -> None:
    """Runs a block as a reader would, ``mmdiff`` and ``python`` being those of this test."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    for name, words in {"mmdiff": "-m mmdiff ", "python": ""}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*(["bash", "-euo", "pipefail"] if block.kind == "sh" else [sys.executable]), "-c", block.text],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"README.md, this block fails:\n{block.text}\n{done.stdout}\n{done.stderr}")


@pytest.mark.slow
def test_readme_runs(tmp_path, checkout):
    found = blocks((checkout / "README.md").read_text())
    assert any(block.skip is None for block in found)
    pictures = tmp_path / "PICTURES"
    pictures.mkdir()
    for index in range(8):
        Image.new("RGB", (16, 16), (30 * index, 99, 0)).save(pictures / f"{index}.png")
        (pictures / f"{index}.txt").write_text(f"green number {index}")
    for block in found:
        if block.skip is None:
            execute(block, tmp_path, checkout)


def test_every_recipe_and_demo_is_on_the_page(checkout):
    readme = (checkout / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+/\w+)` ", readme, re.MULTILINE)) == set(builtin_names())
    assert f"mmdiff demo {' | '.join([*DEMOS, 'all'])} " in readme


EXAMPLE = """
text
<!-- test: run, with `1000` for `2` -->
```sh
echo 1000 > made
```
<!-- test: run -->
```python
print(open("made").read())
```
<!-- test: skip, needs an hour -->
```sh
false
```
```yaml
a: b
```
"""


def test_the_convention_itself(tmp_path, checkout):
    found = blocks(EXAMPLE)
    assert found == [
        Block("sh", "echo 2 > made\n", None),
        Block("python", 'print(open("made").read())\n', None),
        Block("sh", "false\n", "needs an hour"),
    ]
    for block in found[:2]:
        execute(block, tmp_path, checkout)
    assert (tmp_path / "made").read_text() == "2\n"
    with pytest.raises(pytest.fail.Exception, match=r"README\.md, this block fails:\nfalse"):
        execute(found[2], tmp_path, checkout)


@pytest.mark.parametrize(
    ("readme", "says"),
    [
        ("```sh\nls\n```", "no <!-- test: run -->"),
        ("<!-- test: run -->\n\n```sh\nls\n```", "no <!-- test: run -->"),
        ("<!-- test: skip -->\n```sh\nls\n```", "say why"),
        ("<!-- test: run, with `a` for `b` -->\n```sh\nls\n```", "is not in the block"),
        ("<!-- test: run -->\n```bash\nls\n```", "a block of bash, expected sh or python"),
        ("<!-- test: run, sometimes -->\n```sh\nls\n```", "what does"),
    ],
)
def test_what_breaks_the_convention(readme, says):
    with pytest.raises(AssertionError, match=re.escape(says)):
        blocks(readme)
