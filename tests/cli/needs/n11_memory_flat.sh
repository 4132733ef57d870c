# An extension leaves for the file window by window: six times as long takes no more memory (within
# 10 %), and no more time a second.
command -v python3 >/dev/null || exit 0
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8:duration=2 -f lavfi -i sine=440:sample_rate=16000:duration=2 -y in.mkv || exit 99
cat >peak.py <<'END'
import ctypes, os, subprocess, sys
small_pages = lambda: ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) # the kernel fills huge ones when it finds time
def run(seconds):
    child = subprocess.Popen([os.environ["reelm"], "extend", "in.mkv", "--seconds", str(seconds), "-s", "1", "-q", "-t", "1", "-o", "out.mp4"],
                             preexec_fn=small_pages)
    _, status, usage = os.wait4(child.pid, 0)
    return (usage.ru_maxrss, usage.ru_utime + usage.ru_stime) if not status else sys.exit(f"extend ended with {status}")
(short, a), (long, b) = run(5), run(30)
print(f"5 s: {short / 1024:.0f} MiB, {a:.1f} s of CPU; 30 s: {long / 1024:.0f} MiB, {b:.1f} s")
sys.exit(long > 1.1 * short or b > 6 * a * 1.25)
END
python3 peak.py
