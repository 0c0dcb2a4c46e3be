"""The tables of perf/compare."""

import math
import statistics
from collections import defaultdict


def render(records):
    """Markdown. Records with a machine say how the others, one per process, were made."""
    made = [r for r in records if "machine" in r]
    results = [r for r in records if "images_per_second" in r]
    failures = [r for r in records if "failed" in r]
    rates = defaultdict(dict)  # (recipe, peer, variant, threads) -> round -> images/s
    for r in results:
        rates[r["recipe"], r["peer"], r["variant"], r["threads"]][r["round"]] = r["images_per_second"]
    recipes = list(dict.fromkeys(key[0] for key in rates))
    threads = sorted({key[3] for key in rates})
    versions = {r["peer"]: r["version"] for r in results}
    lines = ["## Beside other frameworks", ""]
    lines += dict.fromkeys(f"`{r['command']}`, {r['date']}, on {r['machine']}." for r in made)
    lines += ["Versions: " + ", ".join(f"{name(peer)} {version}" for peer, version in sorted(versions.items())) + ".", "",
              "Images per second in steady training, median over processes (lowest to highest); a ratio is the "
              "median over the rounds of ours to theirs in the same round. The best peer is the best variant of "
              "any peer; on all cores, with the number of threads that it likes best.", ""]
    lines += summary(rates, recipes, threads) + ["", "Every peer with its best variant:", ""]
    lines += every(rates, recipes, threads, [p for p in versions if p != "ours"], failures)
    if failures:
        lines += ["", "What failed:", ""]
        lines += dict.fromkeys(f"- {name(r['peer'])} {r['variant']}, {r['recipe']}, {count(r['threads'])}: "
                               f"{r['failed']}" for r in failures)
    return "\n".join(lines) + "\n"


def summary(rates, recipes, threads):
    few, many = threads[0], threads[-1]
    rows, columns = [], defaultdict(list)
    for recipe in recipes:
        row = [f"`{recipe}`"]
        contests = [(few, (few,))] + [(many, threads)] * (many > few)
        for ours_threads, allowed in contests:
            ours = rates.get((recipe, "ours", "", ours_threads))
            key = best(rates, recipe, allowed)
            ratios = [r / rates[key][i] for i, r in ours.items() if i in rates[key]] if ours and key else []
            theirs = f"{spread(rates[key])} {name(key[1])} {key[2]}" if key else "-"
            if key and len(allowed) > 1:
                theirs += f", {count(key[3])}"
            row += [spread(ours) if ours else "-", theirs, ratio(ratios)]
            if ratios:
                columns[ours_threads].append(statistics.median(ratios))
        rows.append(row)
    if len(recipes) > 1:
        row = ["geometric mean"]
        for n in [few] + [many] * (many > few):
            row += ["", "", f"**{math.exp(statistics.fmean(map(math.log, columns[n]))):.2f}**"
                    if columns[n] else "-"]
        rows.append(row)
    head = ["recipe", f"ours, {count(few)}", f"best peer, {count(few)}", "ratio"]
    if many > few:
        head += [f"ours, {count(many)}", "best peer, any", "ratio"]
    return table(head, rows)


def every(rates, recipes, threads, peers, failures):
    """One column per peer and number of threads."""
    failed = {(r["recipe"], r["peer"], r["threads"]) for r in failures}
    columns = [(peer, n) for peer in peers for n in threads]
    rows = []
    for recipe in recipes:
        row = [f"`{recipe}`"]
        for peer, n in columns:
            key = best(rates, recipe, (n,), peer)
            none = "failed" if (recipe, peer, n) in failed else "-"
            row.append(f"{figure(middle(rates[key]))} {key[2]}" if key else none)
        rows.append(row)
    return table(["recipe", *(f"{name(peer)}, {count(n)}" for peer, n in columns)], rows)


def accuracies(records):
    """Of complete trainings, in per cent of the test samples; no early stopping in the peers."""
    cells = defaultdict(dict)
    for r in records:
        cells[r["recipe"]][r["peer"]] = "failed" if "failed" in r else f"{100 * r['test_accuracy']:.2f}"
    peers = list(dict.fromkeys(peer for row in cells.values() for peer in row))
    rows = [[f"`{recipe}`", *(row.get(peer, "-") for peer in peers)] for recipe, row in cells.items()]
    return "\n".join(table(["recipe", *map(name, peers)], rows))


def best(rates, recipe, threads, peer=None):
    """The fastest of those that were measured as often as any with as many threads: one that was left
    out after the first round cannot be it."""
    keys = [k for k in rates if k[0] == recipe and k[3] in threads and k[1] != "ours" and peer in (None, k[1])]
    rounds = defaultdict(int)
    for key in keys:
        rounds[key[3]] = max(rounds[key[3]], len(rates[key]))
    stayed = [k for k in keys if len(rates[k]) == rounds[k[3]]]
    return max(stayed, key=lambda k: middle(rates[k]), default=None)


def middle(rounds):
    return statistics.median(rounds.values())


def spread(rounds):
    return f"{figure(middle(rounds))} ({figure(min(rounds.values()))}-{figure(max(rounds.values()))})"


def ratio(ratios):
    if not ratios:
        return "-"
    return f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


def figure(rate):
    """Three figures."""
    digits = max(0, int(math.log10(rate)) - 2) if rate > 0 else 0
    return f"{round(rate, -digits):,.0f}"


def count(threads):
    return f"{threads} thread{'s' * (threads > 1)}"


def name(peer):
    return {"ours": "threadcount", "jax": "JAX", "torch": "PyTorch", "keras": "Keras"}.get(peer, peer)


def table(head, rows):
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
