"""The text encoder that ships with Sfumato, from the published weights.

python examples/minilm.py FOLDER --out src/sfumato/models/minilm

FOLDER is a copy of huggingface.co/sentence-transformers/all-MiniLM-L6-v2: its model.safetensors and tokenizer.json,
which are accepted only if they are the very files. Matrices become int8, with a scale for every 64 numbers of a row;
norms and biases stay float32; the tokenizer is copied. The same FOLDER gives the same bytes.
"""

import argparse
import shutil
from pathlib import Path

from sfumato import files
from sfumato.condition.encoders.int8 import quantized
from sfumato.condition.encoders.minilm import LAYERS_FILE, TOKENIZER_FILE, WORDS_FILE
from sfumato.nn.text.bert import UNUSED

SOURCE = "model.safetensors"
SHA256 = {
    SOURCE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name, expected in SHA256.items():
        if (found := files.sha256(options.folder / name)) != expected:
            raise SystemExit(f"{options.folder / name} has the SHA-256 {found}, and not {expected}")
    tensors, _ = files.read_tensors(options.folder / SOURCE)
    small = quantized({name: tensor for name, tensor in tensors.items() if not UNUSED.search(name)})
    options.out.mkdir(parents=True, exist_ok=True)
    for file, wanted in ((WORDS_FILE, True), (LAYERS_FILE, False)):
        part = {name: tensor for name, tensor in small.items() if name.startswith("embeddings.") is wanted}
        files.write_tensors(options.out / file, part)
    shutil.copyfile(options.folder / TOKENIZER_FILE, options.out / TOKENIZER_FILE)
    for name in (WORDS_FILE, LAYERS_FILE, TOKENIZER_FILE):
        print(f'"{name}": "{files.sha256(options.out / name)}"')


if __name__ == "__main__":
    main()
