"""Load one shipped folder with optimum or sentence-transformers, in an environment without sdp and its versions.

Called by optimum_load.py. Prints one line of JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import optimum.onnxruntime
import sentence_transformers
import torch
import transformers

Run = Callable[[dict[str, torch.Tensor]], torch.Tensor]


def main(folder: Path) -> None:
    """Run the golden inputs of a folder, tokenize its texts, and run the example of its README.md."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    (example,) = _examples(folder)
    options = onnxruntime.SessionOptions()
    if manifest["operator_library"]:
        options.register_custom_ops_library(str(folder / manifest["operator_library"]))
    kind = re.findall(r"ORTModelFor\w+|SentenceTransformer\b", example)[0]
    run = _sentence_transformer(folder, options) if kind == "SentenceTransformer" else _optimum(kind, folder, options)
    logits = [
        run({name: torch.tensor(value) for name, value in case["inputs"].items()}).tolist() for case in golden["cases"]
    ]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False)
    names = ("optimum", "optimum-onnx", "onnxruntime", "sentence-transformers", "transformers", "tokenizers", "torch")
    result = {
        "class": kind,
        "logits": logits,
        "same_tokens": _same_tokens(folder, golden),
        "readme_example": "runs" if done.returncode == 0 else done.stderr.strip().splitlines()[-1],
        "versions": {name: version(name) for name in names},
    }
    print(json.dumps(result))


def _optimum(kind: str, folder: Path, options: onnxruntime.SessionOptions) -> Run:
    """A function that runs one batch with optimum's class of this name."""
    model = getattr(optimum.onnxruntime, kind).from_pretrained(folder, session_options=options)
    if kind == "ORTModelForQuestionAnswering":
        # Their order is that of the columns of a shipped folder's logits.
        return lambda inputs: torch.stack(model(**inputs).to_tuple(), dim=-1)
    return lambda inputs: model(**inputs).logits


def _sentence_transformer(folder: Path, options: onnxruntime.SessionOptions) -> Run:
    """A function that runs one batch with the ONNX backend of sentence-transformers, its pooling included."""
    loading = {"file_name": "model.onnx", "provider": "CPUExecutionProvider", "session_options": options}
    model = sentence_transformers.SentenceTransformer(str(folder), backend="onnx", model_kwargs=loading)
    return lambda inputs: model(inputs)["sentence_embedding"]


def _examples(folder: Path) -> list[str]:
    """The Python blocks of the card that use either library."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "optimum" in block or "sentence_transformers" in block]


def _same_tokens(folder: Path, golden: dict[str, Any]) -> int:
    """How many texts this environment's transformers tokenizes as the folder says."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    limits = {"truncation": True, "max_length": golden["max_length"]}
    same = 0
    for case in golden["cases"]:
        text = case["text"]
        if not text:
            continue
        if golden["words"]:
            found = tokenizer(text, is_split_into_words=True, **limits)
        else:
            found = tokenizer(text[0], " ".join(text[1:]) or None, **limits)
        same += [found["input_ids"]] == case["inputs"]["input_ids"]
    return same


if __name__ == "__main__":
    main(Path(sys.argv[1]))
