"""How many of the facts that captions name stand in the clips a model makes of them, by the judge.

    python3 tests/peers/words.py build/src/reelm MODEL_DIR [--count 64] [--first 1000] [--seed 1]
        [--options "--cfg-scale 3"] [--keep DIR]

Captions are those of scenes of the playground's validation split (`reelm world`), in English, one
clip each; which facts a caption names is read from its words, as `reelm eval world` does.
"""
import argparse
import json
import os
import shlex
import subprocess
import tempfile

JUDGE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "../../assets/world/judge.safetensors")


def captions(program, first, count):
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([program, "world", "--split", "validation", "--seed", str(first), "--count",
                        str(count), "--no-truth", "--no-audio", "-q", "-o", d], check=True)
        with open(os.path.join(d, "metadata.jsonl")) as f:
            return [json.loads(line)["caption"] for line in f]


def measure(a, folder):
    texts = captions(a.reelm, a.first, a.count)
    names = [f"{i:04d}.mkv" for i in range(len(texts))]
    wishes, facts = os.path.join(folder, "wishes"), os.path.join(folder, "metadata.jsonl")
    with open(wishes, "w") as w, open(facts, "w") as f:
        for i, (name, text) in enumerate(zip(names, texts)):
            w.write(json.dumps({"prompt": text, "seed": a.seed + i,
                                "output": os.path.join(folder, name)}) + "\n")
            f.write(json.dumps({"file_name": name, "text": text}) + "\n")
    subprocess.run([a.reelm, "generate", "--prompts-file", wishes, "--skip-existing", "-m", a.model,
                    "-q", *shlex.split(a.options)], check=True)
    os.remove(wishes)
    made = subprocess.run([a.reelm, "eval", "world", folder, "--judge", JUDGE, "--json"],
                          check=True, stdout=subprocess.PIPE)
    tally(json.loads(made.stdout)["clips"])


def tally(clips):
    right, asked = {}, {}
    for clip in clips:
        for answer in clip["answers"]:
            for fact in (answer["fact"], "all"):
                right[fact] = right.get(fact, 0) + answer["holds"]
                asked[fact] = asked.get(fact, 0) + 1
    asked["all"] = asked.pop("all")  # last
    for fact, n in asked.items():
        print(f"{fact:10} {right[fact]} of {n}, {100 * right[fact] / n:.1f} %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("reelm")
    p.add_argument("model")
    p.add_argument("--count", type=int, default=64)
    p.add_argument("--first", type=int, default=1000, help="scene of the validation split")
    p.add_argument("--seed", type=int, default=1, help="of the first clip, counted up")
    p.add_argument("--options", default="", help="more of generate's")
    p.add_argument("--keep", help="folder for the clips")
    a = p.parse_args()
    if a.keep:
        os.makedirs(a.keep, exist_ok=True)
        return measure(a, a.keep)
    with tempfile.TemporaryDirectory() as folder:
        measure(a, folder)


if __name__ == "__main__":
    main()
