"""Files of the web page -> one C table (src/server/page.h). embed.py OUTPUT.c FILE...
Style sheets go into the page itself, which then paints without waiting for a second answer. Sums of
the styles and scripts within the page are for its policy."""
import base64
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


def array(name, data):
    rows = [", ".join(str(b) for b in data[i : i + 24]) for i in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "};\n"


def inline_styles(html, styles):
    for name, text in styles.items():
        link = f'<link rel="stylesheet" href="/{name}">'
        assert link in html, f"the page does not load {name}"
        html = html.replace(link, f"<style>{text}</style>")
    return html


def sums(html, tag):
    """of what stands within the tag in the page, as a policy names them"""
    texts = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return " ".join("'sha256-" + base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() + "'"
                    for t in texts)


def main(output, *paths):
    paths = list(map(pathlib.Path, paths))
    styles = {p.name: p.read_text() for p in paths if p.suffix == ".css"}
    paths = [p for p in paths if p.suffix != ".css"]
    html = ""
    text = ['/* Made by embed.py. */\n#include "src/server/page.h"\n']
    table = []
    for i, path in enumerate(paths):
        data = path.read_bytes()
        if path.suffix == ".html":
            html = inline_styles(data.decode(), styles)
            data = html.encode()
        small = gzip.compress(data, 9, mtime=0)
        zipped = len(small) < len(data)
        text.append(array(f"file_{i}", data))
        if zipped:
            text.append(array(f"gzip_{i}", small))
        url = "/" if path.name == "index.html" else "/" + path.name
        etag = hashlib.sha256(data).hexdigest()[:16]
        table.append(
            f'    {{"{url}", "{TYPES[path.suffix]}", "\\"{etag}\\"", file_{i}, '
            f'{f"gzip_{i}" if zipped else "0"}, {len(data)}, {len(small) if zipped else 0}}},\n'
        )
    text.append("const rlm_page_file rlm_page_files[] = {\n" + "".join(table) + "};\n")
    text.append(f"const int rlm_page_count = {len(table)};\n")
    text.append(f'const char rlm_page_styles[] = "{sums(html, "style")}";\n')
    text.append(f'const char rlm_page_scripts[] = "{sums(html, "script")}";\n')
    pathlib.Path(output).write_text("".join(text))


main(*sys.argv[1:])
