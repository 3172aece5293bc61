"""Runs notebooks top to bottom in Jupyter and keeps their outputs: run.py PUBLISHED-VERSION PACKED-VERSION WORK-FOLDER NOTEBOOK...

A notebook names the published package. What runs is a copy that names the package just packed; the outputs go back into the notebook,
without what the kernel prints of itself: its script, the folders of packages, warnings that it and TorchSharp were built for an earlier .NET,
the same style sheet in each cell.
"""

import json
import os
import re
import subprocess
import sys
import time

KERNEL_TALK = ("dotnet-interactive-this-cell", "Installed Packages", "Loading extension")
REFERENCES = re.compile(r"\s*warning CS1701: Assuming assembly reference .*? you may need to supply runtime policy\s*")
STYLE = re.compile(r"<style>\s*\.dni-.*?</style>", re.DOTALL)


def text_of(value):
    return "".join(value) if isinstance(value, list) else value


def lines_of(text):
    return text.splitlines(True)


def tidy(outputs):
    kept = []
    for output in outputs:
        if "data" in output:
            data = {mime: text_of(value) for mime, value in output["data"].items() if mime != "application/json"}
            if any(talk in text for text in data.values() for talk in KERNEL_TALK):
                continue
            output["data"] = {mime: lines_of(STYLE.sub("", text).replace("\r\n", "\n")) for mime, text in data.items()}
        elif output["output_type"] == "stream":
            output["text"] = REFERENCES.sub("", text_of(output["text"]))
            if not output["text"]:
                continue
            if kept and kept[-1].get("name") == output["name"]:
                kept[-1]["text"] += lines_of(text_of(output["text"]))
                continue
            output["text"] = lines_of(text_of(output["text"]))
        kept.append(output)
    return kept


def run(path, published, packed, work):
    with open(path, encoding="utf-8") as file:
        notebook = json.load(file)
    copy = json.loads(json.dumps(notebook).replace(f"nuget: Influence, {published}", f"nuget: Influence, {packed}"))
    name = os.path.basename(path)
    given, executed = os.path.join(work, name), os.path.join(work, "executed-" + name)
    with open(given, "w", encoding="utf-8") as file:
        json.dump(copy, file)

    started = time.monotonic()
    log = os.path.join(work, name + ".log")
    with open(log, "w", encoding="utf-8") as output:
        ended = subprocess.run(
            ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=900",
             "--ExecutePreprocessor.startup_timeout=600", "--output", os.path.basename(executed),
             given],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False)
    if ended.returncode != 0:
        with open(log, encoding="utf-8") as output:
            print("".join(output.readlines()[-20:]), file=sys.stderr)
        sys.exit(f"{name} did not run to its end ({log})")

    with open(executed, encoding="utf-8") as file:
        ran = json.load(file)
    for cell, done in zip(notebook["cells"], ran["cells"], strict=True):
        if cell["cell_type"] == "code":
            cell["execution_count"] = done["execution_count"]
            cell["outputs"] = tidy(done["outputs"])
    aside = path + ".partial"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(notebook, file, ensure_ascii=False, indent=1, sort_keys=True)
        file.write("\n")
    os.replace(aside, path)
    print(f"{name}: {time.monotonic() - started:.0f} s, {os.path.getsize(path) / 1000:.0f} kB")


def main(arguments):
    published, packed, work, *paths = arguments
    os.makedirs(work, exist_ok=True)
    for path in paths:
        run(path, published, packed, work)


if __name__ == "__main__":
    main(sys.argv[1:])
