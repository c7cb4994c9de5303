#!/usr/bin/env python3
"""Runs the public corpora through the `conformance` program and holds the results against the recorded figures.

    conformance.py --shared ../shared --program target/debug/conformance [--work DIR] [--only onnx|keras|tensorflow|tflite] [--record]

The figures stand in tests/conformance/thresholds.json: how many cases must pass, in all and of tier 1, and (below 0) how many convolutional
networks may keep a transposition at run time; nothing may be wrong, panic, crash or hang. --record writes the figures found. Needs numpy and onnx. Exit status 0 when all hold.
"""
import argparse, fnmatch, json, os, re, subprocess, sys, tarfile, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "..", "tests", "conformance", "thresholds.json")
BASE_TYPES = {"float", "int64", "int32", "bool"}
KERAS = "keras3,keras2zip,h5_k1,h5_k2,h5_k3,weights_k3"
TENSORFLOW = "saved_model,graphdef"
# Wrong by the corpus's expectation and right by the evidence of docs/conformance.md: told, and not counted as wrong.
EXPLAINED = {"channels_first/flatten_dense", "activation/softplus_big"}
TFLITE = "tflite,tflite_dr,tflite_dyn,tflite_f16,tflite_int16x8,tflite_int8,tflite_int8io"
# Plans of convolutional networks make no transposition, but for these: how many, of what, and why.
TRANSPOSES = {
    "dtype/conv_bn_float64/*": (2, "f64 has no kernels: its convolution is interpreted, with channels first"),
    "recurrent/conv_lstm_dense/*": (1, "the LSTM behind the convolution steps through time, which is brought to the front"),
    "recurrent/td_*/*": (1, "the recurrent layer behind the convolution steps through time, which is brought to the front"),
    "recurrent/convlstm*/*": (1, "the graph itself brings time to the front, to cut the images of a sequence apart"),
}


def transposes_left(log, corpus):
    """Number of convolutional networks in whose plans a transposition is left that is not argued above."""
    left = networks = 0
    for line in open(log) if os.path.exists(log) else []:
        count, convolutions, model = line.rstrip("\n").split("\t")
        name = os.path.relpath(model, corpus)
        if not int(convolutions): continue
        networks += 1
        argued = max([n for pattern, (n, _) in TRANSPOSES.items() if fnmatch.fnmatch(name, pattern)], default=0)
        if int(count) > argued:
            left += 1
            print("  %s transposes left: %s" % (count, name))
    print("  %d convolutional networks planned" % networks)
    return left


def tier_1(shared):
    """The operators of the first table of onnx-priority.md."""
    text = open(os.path.join(shared, "conformance", "onnx-priority.md"), encoding="utf-8").read()
    table = text.split("## Tier 1", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| ([A-Z]\w+) \|", table, re.M))


def unpack(archive, folder):
    if not os.path.isdir(folder):
        with tarfile.open(archive) as t:
            t.extractall(folder, filter="data")


def onnx(a, work):
    corpus, out = os.path.join(work, "onnx", "corpus"), os.path.join(work, "onnx.json")
    unpack(os.path.join(a.shared, "conformance", "onnx_corpus.tar.xz"), os.path.join(work, "onnx"))
    script, log = os.path.join(a.shared, "conformance", "run_onnx_corpus.py"), os.path.join(work, "onnx.transposes")
    if os.path.exists(log): os.remove(log)
    subprocess.run([sys.executable, script, "--corpus", corpus, "--batch", "--exact-int", "--json", out,
                    "--cmd", os.path.abspath(a.program) + " onnx --transposes " + log + " {list}"], check=True)
    found = json.load(open(out))["results"]
    rows = {r["id"]: r for r in json.load(open(os.path.join(corpus, "index.json")))["rows"]}
    ops = tier_1(a.shared)
    first = [r for r in found if set(rows[r["id"]]["ops"]) <= ops and set(rows[r["id"]]["dtypes"]) <= BASE_TYPES]
    passed = lambda rs: sum(r["result"] == "pass" for r in rs)
    bad = [r for r in found if r["result"] not in ("pass", "unsupported", "error")]
    for r in bad: print("  %s %s: %s" % (r["result"], r["id"], r["message"][:200]))
    for r in first:
        if r["result"] != "pass": print("  tier 1: %s %s: %s" % (r["result"], r["id"], r["message"][:160]))
    return {"cases": len(found), "pass": passed(found), "tier1_cases": len(first), "tier1_pass": passed(first),
            "transposes": -transposes_left(log, corpus)}, len(bad)


def keras(a, work):
    return layers(a, work, "keras", KERAS)


def tensorflow(a, work):
    return layers(a, work, "tensorflow", TENSORFLOW)


def tflite(a, work):
    return layers(a, work, "tflite", TFLITE)


def layers(a, work, name, formats):
    """Figures and number of wrong results."""
    corpus, out = os.path.join(work, "keras"), os.path.join(work, name + ".json")
    unpack(os.path.join(a.shared, "conformance", "keras_corpus.tar.xz"), corpus)
    script, log = os.path.join(a.shared, "conformance", "run_corpus.py"), os.path.join(work, name + ".transposes")
    if os.path.exists(log): os.remove(log)
    # Its exit status is 0 only when everything passes; the figures decide here.
    subprocess.run([sys.executable, script, "--corpus", corpus, "--formats", formats, "--json", out, "--show", "0",
                    "--server", os.path.abspath(a.program) + " serve --transposes " + log])
    found = json.load(open(out))["results"]
    bad = [r for r in found if r["status"] in ("wrong", "shape", "panic", "timeout", "missing")]
    for r in bad: print("  %s %s %s: %s" % (r["status"], r["case"], r["format"], r["detail"][:200]))
    bad = [r for r in bad if r["case"] not in EXPLAINED]
    found = {"cases": len(found), "pass": sum(r["status"] == "ok" for r in found), "transposes": -transposes_left(log, corpus)}
    return found, len(bad)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", required=True)
    ap.add_argument("--program", required=True)
    ap.add_argument("--work")
    ap.add_argument("--only", choices=["onnx", "keras", "tensorflow", "tflite"])
    ap.add_argument("--record", action="store_true")
    a = ap.parse_args()
    work = a.work or tempfile.mkdtemp(prefix="conformance")
    os.makedirs(work, exist_ok=True)
    wanted = json.load(open(FILE))
    ok = True
    for name, run in (("onnx", onnx), ("keras", keras), ("tensorflow", tensorflow), ("tflite", tflite)):
        if a.only not in (None, name): continue
        figures, bad = run(a, work)
        missed = [k for k, v in wanted.get(name, {}).items() if figures[k] < v]
        ok &= not bad and not missed
        print("%s: %s, %d wrong%s" % (name, figures, bad, "; below the record: %s" % missed if missed else ""))
        if a.record: wanted[name] = figures
    if a.record:
        with open(FILE, "w") as f: f.write(json.dumps(wanted, indent=1) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
