"""Makes MODEL/words.table: a vector for each piece of a model's vocabulary, from the model itself and without training.

    python models/static.py [--model models/all-MiniLM-L6-v2] [--width 256]

Each piece is read alone, between the marks of the model; its own state in the last layer, centred over the vocabulary and
turned to the principal components, is its vector, of unit length. Marks and unused pieces have none. A text is the sum over
its words, weighted by whoever asks; the space is the table's own and not that of the model.

The file is little-endian: `CAIRNTAB`, then the version 1, the number of pieces and the width as 32-bit numbers; the scale of
each piece as a 32-bit float; then for each piece its vector in signed bytes, to be multiplied by the scale. The same model
gives the same vectors up to rounding; the last bits depend on the machine's linear algebra.
"""

import argparse
import struct
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

RUN = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path(__file__).resolve().parent / "all-MiniLM-L6-v2"
    parser.add_argument("--model", type=Path, default=default, help="folder with model.onnx and tokenizer.json")
    parser.add_argument("--width", type=int, default=256, help="components that are kept (default 256)")
    options = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    session = onnxruntime.InferenceSession(options.model / "model.onnx", providers=["CPUExecutionProvider"])
    marks = tokenizer.encode("").ids
    if len(marks) != 2:
        raise SystemExit("the model does not put one mark before a text and one behind")
    states = read_alone(session, tokenizer.get_vocab_size(), marks)

    centred = states - states.mean(0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component has no meaning; the largest entry shall be positive.
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    vectors = centred @ components[: options.width].T
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    for piece, number in tokenizer.get_vocab().items():
        if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            vectors[number] = 0
    scales = np.maximum(np.abs(vectors).max(1), 1e-9) / 127
    codes = np.clip(np.round(vectors / scales[:, None]), -127, 127).astype(np.int8)

    out = options.model / "words.table"
    head = b"CAIRNTAB" + struct.pack("<III", 1, *vectors.shape)
    out.write_bytes(head + scales.astype("<f4").tobytes() + codes.tobytes())
    print(f"{out}: {len(vectors)} pieces, {options.width} wide, {out.stat().st_size} bytes")


def read_alone(session, n_pieces, marks):
    """The last state of every piece, each between the marks."""
    states = []
    names = {node.name for node in session.get_inputs()}
    for first in range(0, n_pieces, RUN):
        pieces = np.arange(first, min(first + RUN, n_pieces))
        ids = np.stack([np.full_like(pieces, marks[0]), pieces, np.full_like(pieces, marks[1])], 1).astype(np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (hidden,) = session.run(None, {name: value for name, value in inputs.items() if name in names})[:1]
        states.append(hidden[:, 1])
    return np.concatenate(states)


if __name__ == "__main__":
    main()
