"""How soon the page is on the screen: paint.py REELM [LOADS]. Prints the medians.

The page and, as the floor that the browser itself sets, the one line of text of /health from the
same server are loaded in turn: each first in a browser just started with an empty profile, then in
one that has shown both. Times are the browser's own, milliseconds from the start of navigation."""

import statistics
import sys

import browser

ASK = """const n = performance.getEntriesByType('navigation')[0], p = Object.fromEntries(
performance.getEntriesByType('paint').map((e) => [e.name, e.startTime]));
return p['first-contentful-paint'] && n.loadEventEnd ? {
  answered: n.responseEnd - n.startTime, read: n.domInteractive, ready: n.domContentLoadedEventEnd,
  loaded: n.loadEventEnd, painted: p['first-contentful-paint']} : null"""


def load(b, url):
    b.open(url)
    return browser.wait("a painted page", lambda: b.js(ASK))


def tell(what, rows):
    columns = [f"{name} {statistics.median(r[name] for r in rows):.0f}" for name in rows[0]]
    paints = sorted(r["painted"] for r in rows)
    print(f"{what}, {len(rows)} loads: {', '.join(columns)} ms "
          f"(painted {paints[0]:.0f} to {paints[-1]:.0f})", flush=True)


def main():
    programs = browser.programs()
    loads = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    with browser.server(sys.argv[1]) as (base, folder):
        urls = {"page": base + "/", "one line": base + "/health"}
        rows = {(kind, name): [] for kind in ("fresh", "warm") for name in urls}
        for _ in range(loads):
            for name, url in urls.items():
                b = browser.Browser(*programs, folder)
                rows["fresh", name].append(load(b, url))
                b.close()
        b = browser.Browser(*programs, folder)
        for turn in range(loads + 1):
            for name, url in urls.items():
                row = load(b, url)
                if turn:
                    rows["warm", name].append(row)
        b.close()
    for (kind, name), found in rows.items():
        tell(f"{kind} browser, {name}", found)


main()
