# Decoding ten times as much takes no more memory: 10 s and 100 s within 10 %.
command -v python3 >/dev/null || exit 0
for s in 10 100; do
  ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=8:duration=$s -f lavfi -i sine=440:sample_rate=16000:duration=$s -y in$s.mkv || exit 99
  $reelm encode in$s.mkv -o $s.rtok -q || exit 98
done
cat >peak.py <<'END'
import os, subprocess, sys
def peak(seconds):
    child = subprocess.Popen([os.environ["reelm"], "decode", f"{seconds}.rtok", "-o", f"{seconds}.mp4", "-q", "-t", "1"])
    _, status, usage = os.wait4(child.pid, 0)
    return usage.ru_maxrss if not status else sys.exit(f"decode ended with {status}")
short, long = peak(10), peak(100)
print(f"10 s: {short / 1024:.0f} MiB, 100 s: {long / 1024:.0f} MiB")
sys.exit(long > 1.1 * short)
END
python3 peak.py
