"""The two rules of plain English that a machine can check: docstrings open with a verb, messages are short.

CONTRIBUTING.md has the other rules. Add a new verb to `VERBS`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("hunting_pipeline", "hunting_emulator", "assets", "benchmarks", "docs", "witness")
    for path in (ROOT / folder).rglob("*.py")
)
VERBS = frozenset(
    """
    Accept Account Acquire Add Advance Allow Answer Append Apply Archive Ask Assert Assign Await Begin Bind
    Block Bound Build Calculate Call Cancel Capture Cast Charge Check Choose Claim Clear Close Collect Combine
    Commit Compare Compile Compute Configure Confirm Connect Consume Convert Copy Count Cover Create Cut Deal
    Decide Declare Decode Define Delete Derive Describe Discard Draw Drop Emit Empty Encode End Enter Estimate
    Evaluate Execute Expand Explain Export Extend Extract Fetch Fill Find Finish Fold Follow Forget Format
    Free Generate Give Group Handle Hold Identify Ignore Import Infer Inflate Insert Inspect Install
    Iterate Join Keep Launch Learn Leave Limit List Load Locate Lock Log Look Make Map Mark Match Materialize
    Measure Merge Move Name Narrow Normalize Note Observe Open Order Pack Parse Plan Point Poll Predict
    Prepare Print Produce Prove Prune Publish Pull Put Quote Raise Read Rebuild Receive Reconcile Record
    Recount Reduce Refuse Register Reject Release Remove Rename Render Renew Repair Repeat Replace Replay
    Report Request Rescue Reserve Reset Resolve Restore Resume Retry Return Reverse Rewrite Round Run Sample
    Save Say Scan Schedule Search Select Send Serialize Serve Set Settle Show Sign Skip Sleep Sort Split Stage
    Start Step Stop Store Stream Strip Subtract Sum Summarize Swap Sweep Synthesize Take Tell Terminate Test
    Trace Track Translate Trim Truncate Try Unpack Unstage Update Upload Use Validate Verify Visit Wait Walk
    Warn Widen Wrap Write Yield
    """.split()  # noqa: SIM905 # a word list reads as words
)
"""Allowed first words of a function's docstring, in the imperative."""

LONGEST = 30
"""Most words in a sentence of a message."""

_SPOKEN = re.compile(r"(?i)(warn|warning|info|error|exception|print|secho|echo|fail|complain)$")
"""Calls whose text a person reads. A person also reads the texts of a `raise` and of `_KEYWORDS`."""
_KEYWORDS = frozenset({"description", "help", "message", "reason"})


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
            "property" in ast.unparse(decorator) for decorator in node.decorator_list
        ):
            yield node


def _spoken(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield code with text for people: raised values, arguments of calls that print or log, some keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node.exc
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            yield from node.args if _SPOKEN.match(name) or name in _verdicts else ()
            yield from (keyword.value for keyword in node.keywords if keyword.arg in _KEYWORDS)


_verdicts = frozenset(
    {"Refuse", "Retry", "Split", "Wait", "Renew", "Misconfigured", "Refused", "CommitRefused"}
)


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the texts of an expression. Each value in an f-string counts as one word."""
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            yield (
                part.lineno,
                "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in part.values),
            )
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.lineno, part.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_of_functions_open_with_a_verb(path: Path) -> None:
    found = []
    for function in _functions(ast.parse(path.read_text("utf-8"))):
        words = (ast.get_docstring(function) or "Return").split()
        if words and words[0].rstrip(",:.") not in VERBS:
            found.append(f"{path.name}:{function.lineno} {function.name}: {' '.join(words[:6])} …")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_of_messages_are_short(path: Path) -> None:
    found = {
        f"{path.name}:{line} {len(sentence.split())} words: {sentence}"
        for node in _spoken(ast.parse(path.read_text("utf-8")))
        for line, text in _texts(node)
        for sentence in re.split(r"[.;:!?]\s|\n", text)
        if len(sentence.split()) > LONGEST
    }
    assert not found, "\n".join(sorted(found))
