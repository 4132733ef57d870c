# stdout: ok
# The rows that hold every word are measured, and no other; the count of operations is the product's.
"$reelm" bench --quick -t 1 gemm 7168x384 forward --json >gemm.json || exit 1
"$reelm" bench --quick -t 1 lm default decode int8 --json >lm.json || exit 1
"$reelm" bench --quick -t 1 audio default >audio.txt || exit 1
# Rows are said as they are measured: the first one stands before the program has ended.
mkfifo rows && { "$reelm" bench --quick -t 1 gemm >rows & } && exec 3<rows
for _ in 1 2 3 4 5; do read -r line <&3; done
[[ "$line" == gemm* ]] && kill $! 2>/dev/null || { echo "no row yet: $line"; exit 1; }
exec 3<&-
"$reelm" bench --quick -t 1 audio default no-such-row >none.txt 2>err
[ $? -eq 2 ] && grep -q 'no row has all' err || exit 1
python3 - <<'P'
import json
gemm = json.load(open("gemm.json"))
assert gemm["threads"] == 1 and [r["name"] for r in gemm["rows"]] == ["gemm 7168x384x768 forward"], gemm
assert gemm["rows"][0]["flops"] == 4.22786e9 and gemm["rows"][0]["seconds"] > 0, gemm
assert gemm["rows"][0]["memory"] > 4 * 7168 * (384 + 768), gemm  # what goes in and comes out, at least
rows = json.load(open("lm.json"))["rows"]
assert len(rows) == 3 and all("lm default decode" in r["name"] and r["name"].endswith("int8") for r in rows), rows
assert all(r["seconds"] > 0 and r["unit"] == "tokens" and r["units"] > 0 and r["memory"] > 1e6 for r in rows), rows
assert rows[0]["memory"] < rows[1]["memory"] < rows[2]["memory"], rows  # the cache of each of a batch
lines = open("audio.txt").read().splitlines()
assert sum(line.startswith("audio default") for line in lines) == len(lines) - 4 == 2, lines
assert "ceilings" in lines[1] and "ceilings" in open("none.txt").read(), lines
assert not any(line.startswith("audio") for line in open("none.txt")), open("none.txt").read()
print("ok")
P
