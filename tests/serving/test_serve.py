"""The serving example, started by the command of its docstring, and asked over the loopback device."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sdp_onnx.deploy.predictor import Predictor
from support.card import twenty_inputs
from support.toy import ONE_THREAD

FOLDER = Path(__file__).parents[2] / "toolchain" / "serving"


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    """A server for the toy's shipped folder."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "--port", "0", "serve:app"]
    environment = {**ONE_THREAD, "MODEL": str(finished / "runs/toy/8-ship")}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=finished) as server:
        assert server.stderr is not None
        printed = ""
        try:
            for line in server.stderr:
                printed += line
                if found := re.search(r"running on (http://\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail(printed)
        finally:
            server.terminate()


def ask(address: str, texts: list[Any]) -> Any:
    body = json.dumps({"texts": texts}).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_it_answers_as_predict_does_also_many_at_once(address: str, finished: Path) -> None:
    predictor = Predictor(finished / "runs/toy/8-ship")
    texts = [text for (text,) in twenty_inputs(predictor)]
    expected = [
        {"label": answer.label, "probability": pytest.approx(answer.probability, abs=1e-5)}
        for answer in predictor.answers([(text,) for text in texts])
    ]
    with ThreadPoolExecutor(4) as clients:
        for answers in clients.map(lambda _: ask(address, texts), range(8)):
            assert answers == {"answers": expected}
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        assert json.load(answer) == {"model": "toy", "task": "classification"}


@pytest.mark.parametrize("texts", [[], [["one", "two"]], [7], ["x"] * 1000])
def test_what_the_model_does_not_take_is_refused(address: str, texts: list[Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(address, texts)
    assert caught.value.code == 422
    caught.value.close()


def test_the_example_does_what_its_docstring_states() -> None:
    text = (FOLDER / "serve.py").read_text(encoding="utf-8")
    assert "uvicorn --app-dir toolchain/serving serve:app" in text
    assert not re.search(r"^(from|import) (sdp|torch|transformers)", text, re.MULTILINE)
