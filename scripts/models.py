#!/usr/bin/env python3
"""Runs the models of others in ../shared/data/models, in every format, and holds them against their references.

    models.py --shared ../shared --program target/release/pocketnn

The judge is check_models.py of the folder. References of four TFLite models were not made by the kernels that define the format (see
docs/conformance.md): these have to equal what tests/conformance/litert.json records of those kernels instead, integers to the last bit, and of
MNIST the accuracy over all test images. Needs numpy. Exit status 0 when all hold.
"""
import argparse, importlib.util, json, os, subprocess, sys, tempfile
import numpy as np

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "conformance", "litert.json")


def load(path):
    spec = importlib.util.spec_from_file_location("check_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(program, model, x, work):
    info = json.loads(subprocess.run([program, "inspect", model, "--json"], check=True, capture_output=True, text=True).stdout)
    first = info["inputs"][0]
    if first["dtype"] == "u8" and x.dtype.kind == "f":
        x = np.clip(np.round(x / np.float32(first["scale"])) + first["zero_point"], 0, 255).astype(np.uint8)
    source, target = os.path.join(work, "in.npz"), os.path.join(work, "out.npz")
    np.savez(source, **{first["name"]: x})
    subprocess.run([program, "run", model, "--inputs", source, "--outputs", target], check=True, capture_output=True)
    with np.load(target) as z: return z[z.files[0]]


def explained(program, folder, mnist, name, record, work):
    """What is wrong with a model by the record; empty when nothing is."""
    model, given = os.path.join(folder, name), os.path.join(folder, name + ".ref", "input.npy")
    if os.path.exists(given):
        y = outputs(program, model, np.load(given), work)
    else:
        images, labels = mnist
        y = outputs(program, model, images.reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(255), work).reshape(len(images), -1)
        accuracy = round(float((y.argmax(1) == labels).mean()), 4)
        if accuracy != record["accuracy"]: return "accuracy %.4f instead of %.4f" % (accuracy, record["accuracy"])
    want = np.array(record["outputs"])
    apart = np.abs(y.ravel()[:want.size].astype("f8") - want).max()
    return "" if apart <= record["tolerance"] else "%g apart from litert.json" % apart


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", required=True)
    ap.add_argument("--program", required=True)
    a = ap.parse_args()
    data, program = os.path.join(a.shared, "data"), os.path.abspath(a.program)
    script, records, bad = os.path.join(data, "check_models.py"), json.load(open(RECORD)), 0
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "models.json")
        subprocess.run([sys.executable, script, "--cmd", program, "--json", out], stdout=subprocess.DEVNULL)
        mnist = load(script).mnist(os.path.join(data, "mnist"), 10000)
        for name, found in json.load(open(out)).items():
            wrong = "" if found["ok"] else found["note"]
            if name in records:
                wrong = explained(program, os.path.join(data, "models"), mnist, name, records[name], work)
                found["note"] = "equals litert.json; its reference by XNNPACK: " + found["note"]
            bad += bool(wrong)
            print("%-4s %-48s %s" % ("BAD" if wrong else "ok", name, wrong or found["note"]))
    print("%d wrong" % bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
