#!/usr/bin/env python3
"""Compare pocketnn with other engines and write the result as Markdown, SVG and JSON into benches/results/.

    benches/peers/compare.py --models-dir "$MODELS" [--models all] [--threads 1,2] [--rounds 3] [--name NAME]
    benches/peers/compare.py --from benches/results/NAME.json        # only the tables and the picture again

The driver is bench/peers.py of the shared folder (--shared, $POCKETNN_SHARED, or ../shared beside the repository); README.md beside
this file says how its engines and models are set up. Only numpy is needed, for the driver. pocketnn reads its own format, as MNN and
ncnn do: models are converted once, before anything is timed. --source gives it the ONNX file instead.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OURS = "pocketnn"
# One colour an engine, told apart in grey as well by their order.
COLOURS = {OURS: "#d6336c", "ort": "#1971c2", "ort-ext": "#74c0fc", "openvino": "#5f3dc4", "litert": "#2f9e44", "mnn": "#e8590c",
           "ncnn": "#f08c00", "ncnn-fp32": "#ffd43b", "tract": "#868e96", "rten": "#343a40"}


def find_driver(given):
    for folder in (given, os.environ.get("POCKETNN_SHARED"), os.path.join(os.path.dirname(ROOT), "shared")):
        path = folder and os.path.join(folder, "bench", "peers.py")
        if path and os.path.exists(path):
            return path
    sys.exit("no bench/peers.py: give its folder with --shared or POCKETNN_SHARED")


def convert(program, models_dir, folder, names):
    """Each model as packed .pnn, unless it is there and newer."""
    os.makedirs(folder, exist_ok=True)
    for name in names:
        source, target = os.path.join(models_dir, name + ".onnx"), os.path.join(folder, name + ".pnn")
        newest = max(os.path.getmtime(source), os.path.getmtime(program))
        if not os.path.exists(target) or os.path.getmtime(target) < newest:
            done = subprocess.run([program, "convert", source, "-o", target, "--pack", "--no-verify"], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip()}")


def models_of(models_dir, wanted):
    names = sorted(f[:-5] for f in os.listdir(models_dir) if f.endswith(".json"))
    if wanted == "everything":
        return names
    if wanted in ("all", "int8"):
        return [n for n in names if n.endswith("_int8") == (wanted == "int8")]
    return wanted.split(",")


def scrub(text, folders):
    """Results name no folder of the machine."""
    for folder in folders:
        text = text.replace(os.path.abspath(folder), ".")
    return re.sub(r"(/[\w.+-]+){3,}/", "…/", text)


# ---------------------------------------------------------------- figures
def summaries(data, threads):
    """Model -> engine -> summary, of runs whose output was right."""
    out = {}
    for name in data["models"]:
        cell = data["results"].get(name, {}).get(str(threads), {})
        out[name] = {e: v["summary"] for e, v in cell.items() if v["summary"].get("ok") and "median_ms" in v["summary"]}
    return out


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def ratios(data, threads, key):
    """Model -> (ours, best peer, its value): by the smallest value of the peers."""
    out = {}
    for name, cell in summaries(data, threads).items():
        peers = {e: key(s) for e, s in cell.items() if e != OURS}
        if OURS in cell and peers:
            best = min(peers, key=peers.get)
            out[name] = (key(cell[OURS]), best, peers[best])
    return out


def number(x):
    return f"{x:.3f}" if x < 10 else f"{x:.1f}" if x < 1000 else f"{x:.0f}"


def summary(data, metric):
    lines = ["# pocketnn and its peers", ""]
    m = data["machine"]
    lines.append(f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; {data['date']}; load average {m['loadavg_start']} at the start, "
                 f"{m.get('loadavg_end', '?')} at the end. {data['settings']['rounds']} interleaved rounds. "
                 f"Ratios are the peer's {metric} divided by pocketnn's: above 1, pocketnn is faster.")
    lines += ["", "| model | " + " | ".join(f"{t} thread{'s' * (t > 1)}, ms | best peer | ratio" for t in data["settings"]["threads"]) + " |",
              "|---|" + "---:|---|---:|" * len(data["settings"]["threads"])]
    speed = {t: ratios(data, t, lambda s: s[metric + "_ms"]) for t in data["settings"]["threads"]}
    for name in data["models"]:
        cells = []
        for t in data["settings"]["threads"]:
            ours, best, theirs = speed[t].get(name, (None, None, None))
            cells += [number(ours), f"{best} {number(theirs)}", f"**{theirs / ours:.2f}**"] if ours else ["–", "–", "–"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    means = [geometric_mean([theirs / ours for ours, _, theirs in speed[t].values()]) for t in data["settings"]["threads"]]
    lines.append("| geometric mean | " + " | ".join(f" | | **{g:.2f}**" for g in means) + " |")
    first = data["settings"]["threads"][0]
    lines += ["", f"## From the file to the first result, and peak memory ({first} thread{'s' * (first > 1)})", "",
              "| model | pocketnn load + first, ms | onnxruntime, ms | ratio | pocketnn MB | least of the peers, MB |", "|---|---:|---:|---:|---:|---:|"]
    memory = ratios(data, first, lambda s: s["peak_rss_mb"])
    for name, cell in summaries(data, first).items():
        if OURS not in cell:
            continue
        ready = lambda s: s["load_ms"] + s["first_ms"]
        ours, ort = ready(cell[OURS]), cell.get("ort") and ready(cell["ort"])
        theirs = f"{memory[name][1]} {memory[name][2]:.0f}" if name in memory else "–"
        lines.append(f"| {name} | {number(ours)} | {number(ort) if ort else '–'} | {f'{ort / ours:.1f}' if ort else '–'} | "
                     f"{cell[OURS]['peak_rss_mb']:.0f} | {theirs} |")
    return "\n".join(lines) + "\n\n"


# ---------------------------------------------------------------- the picture
def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Svg:
    def __init__(self):
        self.body = []

    def text(self, x, y, text, size=11, anchor="start", fill="#333333", weight="normal"):
        self.body.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">{escape(text)}</text>')

    def rect(self, x, y, w, h, fill):
        self.body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0.5):.1f}" height="{h:.1f}" fill="{fill}"/>')

    def line(self, x0, y0, x1, y1, stroke, dash=""):
        self.body.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{stroke}" stroke-dasharray="{dash}"/>')

    def finish(self, width, height):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
                'font-family="Helvetica, Arial, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n')
        return head + "\n".join(self.body) + "\n</svg>\n"


BAR, GAP, LABELS, PANEL, LIMIT = 8, 9, 150, 400, 5.0


def picture(data, metric):
    """Bars: the time of each engine in times of pocketnn's, model by model, one panel for each number of threads."""
    svg, threads, engines = Svg(), data["settings"]["threads"], [OURS] + [e for e in data["engines"] if e != OURS]
    width = LABELS + PANEL * len(threads) + 20
    svg.text(16, 24, "Latency in times of pocketnn's (shorter is faster)", 16, weight="bold", fill="#111111")
    m = data["machine"]
    svg.text(16, 42, f"{m['cpu']}, {data['date']}, load average {m['loadavg_start']}, {data['settings']['rounds']} rounds, {metric}", fill="#666666")
    x = 16
    for e in engines:
        svg.rect(x, 52, 10, 10, COLOURS.get(e, "#adb5bd"))
        label = f"{e} {(data['versions'].get(e) or '').split('-')[0]}".strip()
        svg.text(x + 14, 61, label)
        x += 14 + 6.4 * len(label) + 14
    top = 108
    cells = {t: summaries(data, t) for t in threads}
    shown = [n for n in data["models"] if any(OURS in cells[t][n] for t in threads)]
    rows = {n: [e for e in engines if any(e in cells[t][n] for t in threads)] for n in shown}
    bottom = top + sum(len(r) * BAR + GAP for r in rows.values())
    for i, t in enumerate(threads):
        left = LABELS + PANEL * i
        scale = (PANEL - 70) / LIMIT
        svg.text(left, top - 20, f"{t} thread{'s' * (t > 1)}", 13, weight="bold", fill="#111111")
        for tick in range(int(LIMIT) + 1):
            svg.line(left + tick * scale, top - 6, left + tick * scale, bottom, "#868e96" if tick == 1 else "#e9ecef")
            svg.text(left + tick * scale, top - 9, str(tick), 10, "middle", "#868e96")
        y = top
        for n in shown:
            if i == 0:
                svg.text(LABELS - 8, y + len(rows[n]) * BAR / 2 + 4, n, 11, "end", "#111111")
            base = cells[t][n].get(OURS, {}).get(metric + "_ms")
            for e in rows[n]:
                value = cells[t][n].get(e, {}).get(metric + "_ms")
                if base and value:
                    times = value / base
                    svg.rect(left, y, min(times, LIMIT) * scale, BAR - 1, COLOURS.get(e, "#adb5bd"))
                    label = f"{number(value)} ms" if e == OURS else f"{times:.2f}"
                    svg.text(left + min(times, LIMIT) * scale + 4, y + BAR - 1, label, 8, fill="#333333" if times <= LIMIT else "#c92a2a")
                y += BAR
            y += GAP
    return svg.finish(width, bottom + 16)


def write(data, text, out, metric):
    with open(out + ".md", "w") as f:
        f.write(summary(data, metric) + text.replace("# Peer latencies", "## All engines").replace("\n## ", "\n### ").replace("### All", "## All"))
    with open(out + ".svg", "w") as f:
        f.write(picture(data, metric))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", help="folder that holds bench/peers.py")
    ap.add_argument("--models-dir", help="folder of the models (make_models.py or fill_weights.py)")
    ap.add_argument("--models", default="all")
    ap.add_argument("--engines", default="ort,openvino,litert,mnn,ncnn,tract,rten")
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--runs", type=int, default=30)
    ap.add_argument("--min-time", type=float, default=2.0)
    ap.add_argument("--max-time", type=float, default=20.0)
    ap.add_argument("--nice", type=int, default=0)
    ap.add_argument("--metric", default="median", choices=["median", "min", "p10"])
    ap.add_argument("--program", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "pocketnn"))
    ap.add_argument("--source", action="store_true", help="pocketnn reads the ONNX file, not a converted one")
    ap.add_argument("--out", default=os.path.join(ROOT, "benches", "results"))
    ap.add_argument("--name", default="peers", help="name of the files written")
    ap.add_argument("--from", dest="src", help="only write the tables and the picture of this JSON again")
    a = ap.parse_args()
    driver = find_driver(a.shared)
    os.makedirs(a.out, exist_ok=True)
    out = os.path.join(a.out, os.path.splitext(os.path.basename(a.src))[0] if a.src else a.name)
    raw = a.src or out + ".json"
    if not a.src:
        if not a.models_dir or not os.path.exists(a.program):
            ap.error("--models-dir is needed" if not a.models_dir else f"{a.program} is missing: cargo build --release -p pocketnn-cli")
        names, converted = models_of(a.models_dir, a.models), os.path.join(a.models_dir, "conv")
        where = "" if a.source else f" --converted {converted}"
        if not a.source:
            convert(a.program, a.models_dir, converted, names)
        extra = (f"{OURS}={a.program} bench {{model}}{where} --json --threads {{threads}} --runs {{runs}} --min-time {{min_time}} "
                 "--max-time {max_time} --input {input} --output {output}")
        python = os.environ.get("PEERS_PYTHON", sys.executable)
        command = [python, driver, "--dir", a.models_dir, "--models", ",".join(names), "--engines", a.engines, "--threads", a.threads,
                   "--rounds", str(a.rounds), "--runs", str(a.runs), "--min-time", str(a.min_time), "--max-time", str(a.max_time),
                   "--nice", str(a.nice), "--extra", extra, "--json", raw]
        if subprocess.run(command).returncode:
            sys.exit("the comparison failed")
        with open(raw) as f:
            text = scrub(f.read(), [a.models_dir, ROOT])
        with open(raw, "w") as f:
            f.write(text)
    with open(raw) as f:
        data = json.load(f)
    python = os.environ.get("PEERS_PYTHON", sys.executable)
    table = subprocess.run([python, driver, "--from", raw, "--metric", a.metric], capture_output=True, text=True)
    if table.returncode:
        sys.exit(table.stderr)
    write(data, table.stdout, out, a.metric)
    print(f"wrote {os.path.relpath(out)}.json, .md, .svg")


if __name__ == "__main__":
    main()
