# Memory and time of the estimate are within 25 % of what is then measured. Time on a machine that
# others use too: the best of three pairs counts.
command -v python3 >/dev/null || exit 0
cat >pair.py <<'END'
import json, os, resource, subprocess, sys, time
args = [os.environ["reelm"], "generate", "-p", "a red ball rolls", "-s", "1", "--json",
        "--progress", "off", "-o", "a.mp4", "-t", "1"] + sys.argv[1:]
worst = {}
for attempt in range(3):
    guess = json.loads(subprocess.run(args + ["--dry-run"], capture_output=True, check=True).stdout)
    before, start = os.times(), time.monotonic()
    child = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    if status:
        sys.exit(f"generate ended with {status}")
    memory = guess["estimated_peak_bytes"] / (usage.ru_maxrss * 1024)
    seconds = guess["estimated_s"] / wall
    print(f"memory {memory:.2f} of measured, time {seconds:.2f} of {wall:.1f} s", flush=True)
    worst["memory"] = min(worst.get("memory", 9), abs(memory - 1))
    worst["time"] = min(worst.get("time", 9), abs(seconds - 1))
    if max(worst.values()) <= 0.25:
        sys.exit(0)
sys.exit(1)
END
python3 pair.py --frames 9 --size 96x96
