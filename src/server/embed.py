"""Files of the web page -> one C table (src/server/page.h). embed.py OUTPUT.c FILE..."""
import gzip
import hashlib
import pathlib
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


def main(output, *paths):
    text = ['/* Made by embed.py. */\n#include "src/server/page.h"\n']
    table = []
    for i, path in enumerate(map(pathlib.Path, paths)):
        data = path.read_bytes()
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
    pathlib.Path(output).write_text("".join(text))


main(*sys.argv[1:])
