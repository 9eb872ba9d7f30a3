"""Output of `sdp verify` and `sdp push`."""

from __future__ import annotations

from collections.abc import Iterator

from sdp.shipping.push import Push
from sdp_onnx.deploy.verify_folder import FolderReport, printable


def report_lines(report: FolderReport) -> Iterator[str]:
    """Yield one line for each file or check, and the result."""
    lines = [(check.outcome, printable(check.name), printable(check.detail)) for check in report.checks]
    width = max(len(name) for _, name, _ in lines)
    for outcome, name, detail in lines:
        yield f"{outcome:8}{name:{width}}  {detail}"
    bad = [name for outcome, name, _ in lines if outcome == "failed"]
    yield f"{report.folder}: {'not as it was shipped: ' + ', '.join(bad) if bad else 'as it was shipped'}"


def push_lines(push: Push) -> Iterator[str]:
    """Yield the files of an upload or a planned upload, and its target."""
    width = max(len(file.name) for file in push.files)
    for file in push.files:
        yield f"{file.name:{width}}  {file.bytes:>15,} bytes"
    total = f"{len(push.files)} files, {sum(file.bytes for file in push.files) / 1e6:,.1f} MB"
    kind = "private" if push.private else "public"
    target = f"{push.endpoint}/{push.repository}, branch {push.revision}"
    if push.commit is None:
        yield f"would upload {total} to {target} ({kind} if it is made now); do it with --yes"
        return
    yield f"uploaded {total} to {target}: {push.commit}"
    if push.left:
        yield f"left as they were, and not of this folder: {', '.join(push.left)}"
