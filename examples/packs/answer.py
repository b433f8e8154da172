"""Answers a pack's cases of Linear and ReLU with NumPy: `python answer.py PACK ANSWERS`.

It needs numpy and safetensors, and nothing of the suite; docs/packs.md tells what the files hold.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def linear(case, tensors):
    weight = tensors[case["state"]["weight"]]
    y = tensors[case["inputs"][0]] @ weight.T
    return y + tensors[case["state"]["bias"]] if "bias" in case["state"] else y


def relu(case, tensors):
    x = tensors[case["inputs"][0]]
    return np.where(x < 0, np.zeros_like(x), x)


LAYERS = {"Linear": linear, "ReLU": relu}


def answer_pack(pack, answers):
    answers.mkdir(exist_ok=True)
    header = {"backend": "numpy-answers", "info": {"numpy": np.__version__}}
    (answers / "answers.json").write_text(json.dumps(header))
    for item in json.loads((pack / "manifest.json").read_text())["items"]:
        outputs, unsupported = {}, {}
        layer = LAYERS.get(item["layer"]) if item["dtype"] in ("float32", "float64") else None
        tensors = load_file(pack / item["tensors"]) if layer else {}
        for case in json.loads((pack / item["calls"]).read_text()):
            if layer is None:
                unsupported[str(case["index"])] = f"{item['layer']} in {item['dtype']}"
            else:
                y = layer(case, tensors)
                outputs[case["outputs"][0]["answer"]] = y
                # What a call writes into its input: ReLU(inplace=True).
                outputs |= {tensor["answer"]: y.copy() for tensor in case["after"].values()}
        save_file(outputs, answers / f"{item['id']}.safetensors")
        (answers / f"{item['id']}.json").write_text(json.dumps({"unsupported": unsupported}))


if __name__ == "__main__":
    answer_pack(Path(sys.argv[1]), Path(sys.argv[2]))
