# The service says how it is: /health, and /metrics in Prometheus' text.
command -v python3 >/dev/null || exit 0
$reelm serve --port 0 -q >url 2>log &
pid=$!
trap 'kill $pid 2>/dev/null' EXIT
for _ in $(seq 600); do test -s url && break; sleep 0.1; done
python3 - "$(head -1 url)" <<'END' || exit 99
import re, sys, time, urllib.request
base = sys.argv[1].rstrip("/")
for _ in range(300):
    try:
        answer = urllib.request.urlopen(base + "/health")
        break
    except Exception:
        time.sleep(0.2)
assert answer.status == 200 and b'"ok"' in answer.read().replace(b" ", b"")
answer = urllib.request.urlopen(base + "/metrics")
assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
text = answer.read().decode()
assert text.endswith("\n") and "process_resident_memory_bytes" in text
for line in text.splitlines():
    assert re.match(r'^(# (HELP|TYPE) \S+ .+|[a-zA-Z_:][\w:]*(\{[^}]*\})? [-+.eE0-9naifNI]+)$', line), line
END
kill -TERM $pid
wait $pid
