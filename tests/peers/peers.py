"""What the two scripts of this folder share: the evaluation before and after, and its table."""
import json
import os
import subprocess
import sys


def run(*command, data=None):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def evaluate(program, what, inputs, out, *options):
    """reelm eval, its report kept as OUT; a report that is there already is taken as it is."""
    if os.path.exists(out):
        with open(out) as f:
            return json.load(f)
    report = json.loads(run(program, "eval", what, *inputs, "--json", "-q", *options))
    with open(out, "w") as f:
        json.dump(report, f, indent=1)
    return report


def flat(name):
    """As --keep names things: without extension, '/' and '%' as '_'."""
    stem, dot, _ = name.rpartition(".")
    return (stem if dot and "/" not in _ and stem else name).replace("/", "_").replace("%", "_")


def write_bytes(folder, sizes):
    with open(os.path.join(folder, "bytes.tsv"), "w") as f:
        for name, size in sorted(sizes.items()):
            f.write(f"{name}\t{size}\n")


def table(rows, keys):
    """Markdown: one line a codec and group."""
    print("| codec | files | " + " | ".join(keys) + " |")
    print("|---" * (2 + len(keys)) + "|")
    for name, report in rows:
        parts = [("", report["measured"], report["mean"])]
        parts += [(f", {g}", v["files"], v) for g, v in sorted(report.get("groups", {}).items())]
        for group, files, mean in parts:
            cells = ["-" if mean[k] is None else f"{mean[k]:g}" for k in keys]
            print(f"| {name}{group} | {files} | " + " | ".join(cells) + " |")
