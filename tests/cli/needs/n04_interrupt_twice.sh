# The second Ctrl-C ends at once and leaves no half file; the first one within two seconds.
command -v python3 >/dev/null || exit 0
cat >stop.py <<'END'
import glob, os, signal, subprocess, sys, time
def start(name):
    command = [os.environ["reelm"], "generate", "--seconds", "30", "-s", "1", "-t", "1", "--progress", "json", "-o", name]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    for line in child.stderr:
        if '"sample","done":' in line and int(line.split('"done":')[1].split(",")[0]) > 300:
            break
    child.send_signal(signal.SIGINT)
    return child, time.monotonic()
patience = max(1, os.getloadavg()[0] / os.cpu_count())
child, begin = start("once.mp4")
child.stderr.read()
once, code = time.monotonic() - begin, child.wait()
print(f"once: {code} after {once:.2f} s")
if code != 130 or once > 2 * patience or not os.path.getsize("once.mp4") or not os.path.exists("once.mp4.rtok"):
    sys.exit(1)
child, begin = start("twice.mp4")
child.send_signal(signal.SIGINT)
child.send_signal(signal.SIGINT)
child.stderr.read()
twice, code = time.monotonic() - begin, child.wait()
print(f"twice: {code} after {twice:.2f} s")
# the signals may reach a program that had just finished its partial file: then that is whole
whole = not os.path.exists("twice.mp4") or not subprocess.run([os.environ["reelm"], "probe", "twice.mp4"], capture_output=True).returncode
sys.exit(code != 130 or twice > 2 * patience or not whole or bool(glob.glob("twice.mp4.*tmp*")))
END
python3 stop.py
